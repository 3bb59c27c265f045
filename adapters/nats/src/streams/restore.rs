//! Creates streams again that vanish while the process runs.
//!
//! NATS may restart without its store, and an operator may delete a stream. Its contents are lost, and the process
//! continues with an empty stream, like a process that starts at that time. Leaders notice by the incarnation of their
//! log.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::created::CreatedStreams;
use super::{StreamLayout, ensure, missing};
use crate::connection::Connection;

/// Interval of the search for missing streams: one request for all of them.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Time limit of one attempt to create the missing streams.
const CREATE_LIMIT: Duration = Duration::from_secs(30);

/// Looks for missing streams after each reconnect and every [`CHECK_INTERVAL`], until the connection is closed. Adds to
/// `restored` the number of streams that this process created. Another scheduler may create, and count, the others at
/// the same time.
pub(crate) async fn restore(connection: Connection, layout: StreamLayout, restored: watch::Sender<u64>) {
    let mut connected = connection.connected();
    loop {
        tokio::select! {
            changed = connected.changed() => if changed.is_err() { return },
            () = sleep(CHECK_INTERVAL) => {}
        }
        match missing(&connection.context, layout).await {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                error!(
                    streams = names.join(", "),
                    "streams are gone with their contents: NATS lost its store, or they were deleted; creating them \
                     again"
                );
                let created = create_missing(&connection, layout).await;
                if created > 0 {
                    restored.send_modify(|restored| *restored += created);
                }
            }
            Err(error) => debug!(%error, "cannot look for missing streams; looking again later"),
        }
    }
}

/// Creates the missing streams. Returns the number that this process created.
async fn create_missing(connection: &Connection, layout: StreamLayout) -> u64 {
    let created = CreatedStreams::default();
    match ensure(&connection.context, layout, Instant::now() + CREATE_LIMIT, &created).await {
        Ok(()) => info!("all streams exist again"),
        Err(error) => warn!(%error, "cannot create the missing streams; trying again later"),
    }
    let names: Vec<String> = created.into_names().into_iter().collect();
    if !names.is_empty() {
        info!(streams = names.join(", "), "this scheduler created streams again, empty");
    }
    names.len() as u64
}
