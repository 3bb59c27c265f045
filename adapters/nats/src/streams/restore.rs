//! Makes streams again that are gone while the process runs.
//!
//! NATS may come back without its store, and an operator may delete a stream. What was in it is lost; the process goes on
//! with an empty one, as a process that is started then would. Leaders notice by the incarnation of their log.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::{Layout, MadeStreams, ensure, missing};
use crate::connection::Connection;

/// How often to look for streams that are gone: one request for all of them.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long to try at a time.
const TRY_FOR: Duration = Duration::from_secs(30);

/// Looks for streams that are gone, after each reconnect and now and then, until the connection is closed. Adds to `restored`
/// the streams that this process made; another scheduler that looks at the same time makes and counts the others.
pub(crate) async fn restore(connection: Connection, layout: Layout, restored: watch::Sender<u64>) {
    let mut connected = connection.connected();
    loop {
        tokio::select! {
            changed = connected.changed() => if changed.is_err() { return },
            () = sleep(LOOK_EVERY) => {}
        }
        match missing(&connection.context, layout).await {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                error!(
                    streams = names.join(", "),
                    "streams are gone, and what was in them is lost: NATS lost its store, or they were deleted; \
                     making them again"
                );
                let made = make_again(&connection, layout).await;
                if made > 0 {
                    restored.send_modify(|restored| *restored += made);
                }
            }
            Err(error) => debug!(%error, "cannot look for missing streams; looking again later"),
        }
    }
}

/// Makes the missing streams. Returns how many this process made.
async fn make_again(connection: &Connection, layout: Layout) -> u64 {
    let made = MadeStreams::default();
    match ensure(&connection.context, layout, Instant::now() + TRY_FOR, &made).await {
        Ok(()) => info!("all streams are there again"),
        Err(error) => warn!(%error, "cannot make the missing streams; trying again later"),
    }
    let names: Vec<String> = made.into_names().into_iter().collect();
    if !names.is_empty() {
        info!(streams = names.join(", "), "this scheduler made streams again, empty");
    }
    names.len() as u64
}
