//! The events in the logs of a cluster: submitted runs, reported outcomes of their steps, and leaders, with their times.
//!
//! They are read from the streams themselves and not from a scheduler. The first report about a step counts, in the order of
//! the log; later reports are kept for comparison.

#![expect(clippy::expect_used, reason = "a log that cannot be read has failed the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_proto::{Event, NodeId, Outcome, Partition, RunId, Seq, Settlement};
use longshore_tls::TlsFiles;

use crate::cluster::PARTITIONS;

/// Entries read at once.
const CHUNK: usize = 512;

/// The limit for a connection to the broker.
const DEADLINE: Duration = Duration::from_secs(30);

/// A worker's report of a step's outcome.
#[derive(Clone, Debug)]
pub struct OutcomeReport {
    /// The time of the log entry, in milliseconds since 1970.
    pub at: u64,
    /// The outcome.
    pub outcome: Outcome,
    /// The worker.
    pub worker: NodeId,
}

/// A scheduler's announcement that it leads a partition.
#[derive(Clone, Debug)]
pub struct LeaderAnnouncement {
    /// The partition.
    pub partition: Partition,
    /// The time of the log entry, in milliseconds since 1970.
    pub at: u64,
    /// The scheduler.
    pub node: NodeId,
}

/// The events of all logs.
#[derive(Debug, Default)]
pub struct ClusterLog {
    /// The time of the first submit of each run, in milliseconds since 1970.
    pub submitted: BTreeMap<RunId, u64>,
    /// Final reports by `<run>/<path>`, in the order of the log.
    pub reports: BTreeMap<String, Vec<OutcomeReport>>,
    /// Announcements of leaders, in the order of each log.
    pub leaders: Vec<LeaderAnnouncement>,
    /// The number of entries.
    pub entries: usize,
}

/// Connects to the broker of a cluster, as the processes of Longshore do.
///
/// # Panics
/// When there is no connection in time.
pub async fn connect(url: String) -> Nats {
    let config = NatsConfig {
        urls: vec![url],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "cluster-log".to_owned(),
        replicas: 1,
        partitions: PARTITIONS,
        connect_deadline: DEADLINE,
    };
    Nats::join(config).await.expect("connects to NATS")
}

impl ClusterLog {
    /// Reads the logs of the broker at this address.
    ///
    /// # Panics
    /// When one of them cannot be read completely.
    pub async fn read(url: String) -> Self {
        let nats = connect(url).await;
        let log = nats.log();
        let mut events = Self::default();
        for partition in (0..PARTITIONS).map(Partition) {
            let tail = log.tail(partition).await.expect("a tail");
            let mut reader = log.read(partition, Seq(1)).await.expect("a reader");
            let mut seen = Seq::ZERO;
            while seen < tail {
                for entry in reader.next(CHUNK).await.expect("entries") {
                    seen = entry.seq;
                    events.entries += 1;
                    for event in entry.events.into_iter().flatten() {
                        events.note(partition, entry.at.as_millis(), event);
                    }
                }
            }
        }
        nats.close().await;
        events
    }

    fn note(&mut self, partition: Partition, at: u64, event: Event) {
        match event {
            Event::Submitted { run, .. } => _ = self.submitted.entry(run).or_insert(at),
            Event::Settled { job, settlement: Settlement::Done(outcome), worker, .. } => {
                let reports = self.reports.entry(format!("{}/{}", job.run, job.step)).or_default();
                reports.push(OutcomeReport { at, outcome, worker });
            }
            Event::LeaderAnnounced { node, .. } => {
                self.leaders.push(LeaderAnnouncement { partition, at, node })
            }
            _ => {}
        }
    }

    /// Returns the time of the first report about a step, by `<run>/<path>`.
    pub fn recorded_at(&self, key: &str) -> Option<u64> {
        self.reports.get(key).and_then(|reports| reports.first()).map(|report| report.at)
    }
}
