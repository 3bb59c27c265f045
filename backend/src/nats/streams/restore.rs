//! Makes streams again that are gone while the process runs.
//!
//! NATS may come back without its store, and an operator may delete a stream. What was in it is lost; the process goes on
//! with an empty one, as a process that is started then would. Leaders notice by the incarnation of their log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::{Layout, ensure, missing};
use crate::nats::connection::Connection;

/// How often to look for streams that are gone: one request for all of them.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long to try at a time.
const TRY_FOR: Duration = Duration::from_secs(30);

/// Looks for streams that are gone, after each reconnect and now and then, until the connection is closed. Adds to `restored`
/// the streams that were missing and are there again; another scheduler may have made some of them.
pub(in crate::nats) async fn restore(connection: Connection, layout: Layout, restored: Arc<AtomicU64>) {
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
                if make_again(&connection, layout).await {
                    restored.fetch_add(names.len() as u64, Ordering::Relaxed);
                }
            }
            Err(error) => debug!(%error, "cannot look for missing streams; looking again later"),
        }
    }
}

/// Makes the missing streams. Returns true if all streams are there.
async fn make_again(connection: &Connection, layout: Layout) -> bool {
    match ensure(&connection.context, layout, Instant::now() + TRY_FOR).await {
        Ok(()) => {
            info!("streams were made again");
            true
        }
        Err(error) => {
            warn!(%error, "cannot make the missing streams; trying again later");
            false
        }
    }
}
