//! Creates streams again that vanish while the process runs.
//!
//! NATS may restart without its store, and an operator may delete a stream. Its contents are lost, and the process
//! continues with an empty stream, like a process that starts at that time. Leaders notice by the incarnation of their
//! log. What the loss means depends on the stream: [`StreamKind::loss`].

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_proto::subject::{self, WORKFLOWS_STREAM};
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

/// Numbers of streams that this process created again, by kind.
pub type RestoredStreams = BTreeMap<StreamKind, u64>;

/// A kind of stream, by its contents.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum StreamKind {
    /// A log of a partition.
    Log,
    /// Published submits that no scheduler has taken in.
    Submits,
    /// The work queue.
    Jobs,
    /// Large values and texts of workflows.
    Blobs,
    /// The registry of workflows.
    Workflows,
    /// Refused submits.
    DeadLetters,
}

impl StreamKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Log, Self::Submits, Self::Jobs, Self::Blobs, Self::Workflows, Self::DeadLetters];

    /// Returns the name of the stream; of logs, the name without the number of the partition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Log => "LS_LOG",
            Self::Submits => subject::SUBMIT_STREAM,
            Self::Jobs => subject::JOBS_STREAM,
            Self::Blobs => subject::BLOBS_STREAM,
            Self::Workflows => WORKFLOWS_STREAM,
            Self::DeadLetters => subject::DEAD_LETTER_STREAM,
        }
    }

    /// Returns the kind of a stream by its name.
    fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|kind| *kind != Self::Log && kind.as_str() == name).unwrap_or(Self::Log)
    }

    /// Returns what is lost with a stream, and what to do.
    const fn loss(self) -> &'static str {
        match self {
            Self::Log => {
                "all runs of its partition, also ended ones; see docs/recovery.md before anything else"
            }
            Self::Submits => {
                "published submits that no scheduler had taken in, although they were acknowledged: their senders may publish \
                 them again with the same ids"
            }
            Self::Jobs => "nothing: the leaders queue the jobs again",
            Self::Blobs => {
                "large values, so runs that read one fail, and the texts of workflows: push them again (`longshore workflows push`)"
            }
            Self::Workflows => {
                "the registry of workflows: push them again (`longshore workflows push`); runs continue"
            }
            Self::DeadLetters => "the refused submits that were kept for `longshore dlq`",
        }
    }
}

/// Looks for missing streams after each reconnect and every [`CHECK_INTERVAL`], until the connection is closed. Adds to
/// `restored` the number of streams that this process created. Another scheduler may create, and count, the others at
/// the same time.
pub(crate) async fn restore(
    connection: Connection,
    layout: StreamLayout,
    restored: watch::Sender<RestoredStreams>,
) {
    let mut connected = connection.connected();
    loop {
        tokio::select! {
            changed = connected.changed() => if changed.is_err() { return },
            () = sleep(CHECK_INTERVAL) => {}
        }
        match missing(&connection.context, layout).await {
            Ok(names) if names.is_empty() => {}
            Ok(names) => {
                log_losses(&names);
                let created = create_missing(&connection, layout).await;
                if !created.is_empty() {
                    restored.send_modify(|restored| {
                        created.iter().for_each(|kind| *restored.entry(*kind).or_default() += 1);
                    });
                }
            }
            Err(error) => debug!(%error, "cannot look for missing streams; looking again later"),
        }
    }
}

/// Logs missing streams, with a line for each kind.
fn log_losses(names: &[String]) {
    let mut by_kind: BTreeMap<StreamKind, Vec<&str>> = BTreeMap::new();
    for name in names {
        by_kind.entry(StreamKind::of(name)).or_default().push(name);
    }
    for (kind, names) in by_kind {
        error!(
            streams = names.join(", "),
            lost = kind.loss(),
            "streams are gone with their contents: NATS lost its store, or they were deleted; creating them again"
        );
    }
}

/// Creates the missing streams. Returns the kinds of those that this process created, one for each.
async fn create_missing(connection: &Connection, layout: StreamLayout) -> Vec<StreamKind> {
    let created = CreatedStreams::default();
    match ensure(&connection.context, layout, Instant::now() + CREATE_LIMIT, &created).await {
        Ok(()) => info!("all streams exist again"),
        Err(error) => warn!(%error, "cannot create the missing streams; trying again later"),
    }
    let names: Vec<String> = created.into_names().into_iter().collect();
    if !names.is_empty() {
        info!(streams = names.join(", "), "this scheduler created streams again, empty");
    }
    names.iter().map(|name| StreamKind::of(name)).collect()
}

#[cfg(test)]
mod tests {
    use longshore_proto::Partition;

    use super::*;

    #[test]
    fn every_stream_has_a_kind() {
        for kind in StreamKind::ALL {
            assert_eq!(StreamKind::of(kind.as_str()), kind);
        }
        assert_eq!(StreamKind::of(&subject::log_stream(Partition(7))), StreamKind::Log);
    }
}
