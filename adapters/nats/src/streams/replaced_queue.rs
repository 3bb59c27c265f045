//! Detects that the stream of jobs was deleted and created again, by this scheduler or another one.
//!
//! The jobs in it are lost, and only leaders have them: each publishes its outstanding jobs again. Without that they would
//! wait until the next takeover of their partition.

use std::time::Duration;

use longshore_proto::Incarnation;
use longshore_proto::subject::JOBS_STREAM;
use tokio::sync::watch::Sender;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::definitions::incarnation;
use super::stream_info;
use crate::connection::Connection;

/// Interval between two checks of the stream.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Adds one to `replacements` whenever the stream of jobs has another incarnation than before. Checks after each reconnect and every
/// [`CHECK_INTERVAL`], until the connection is closed.
pub(crate) async fn watch(connection: Connection, replacements: Sender<u64>) {
    let mut connected = connection.connected();
    let mut known: Option<Incarnation> = None;
    loop {
        match stream_info(&connection.context, JOBS_STREAM).await {
            Ok(info) => {
                let found = incarnation(&info);
                if known.as_ref().is_some_and(|known| *known != found) {
                    warn!("the stream {JOBS_STREAM} was created again; queueing the outstanding jobs again");
                    replacements.send_modify(|count| *count += 1);
                }
                known = Some(found);
            }
            Err(error) => debug!(%error, "cannot read the state of the stream of jobs; trying again later"),
        }
        tokio::select! {
            changed = connected.changed() => if changed.is_err() { return },
            () = sleep(CHECK_INTERVAL) => {}
        }
    }
}
