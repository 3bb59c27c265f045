//! What the logs of a cluster say: which runs were submitted, which outcomes were reported for their steps, and when.
//!
//! The log is the only truth there is, so this is read from the streams themselves and from nobody's view of them. Of
//! several reports about one step the first counts, in the order of the log; the rest is kept to be compared.

#![expect(clippy::expect_used, reason = "a log that cannot be read has failed the test")]

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_proto::{Event, NodeId, Outcome, Partition, RunId, Seq, Settlement};
use longshore_tls::TlsFiles;

use crate::cluster::PARTITIONS;

/// Entries read at once.
const CHUNK: usize = 512;

/// How long the broker of a test is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// A report about a step.
#[derive(Clone, Debug)]
pub struct Report {
    /// When the log took it, in milliseconds since 1970.
    pub at: u64,
    /// What became of the step.
    pub outcome: Outcome,
    /// Who says so.
    pub worker: NodeId,
}

/// Somebody who leads a partition from a moment on.
#[derive(Clone, Debug)]
pub struct Leader {
    /// What it leads.
    pub partition: Partition,
    /// When the log took its word, in milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub node: NodeId,
}

/// Everything the logs say.
#[derive(Debug, Default)]
pub struct Ledger {
    /// When each run was submitted first, in milliseconds since 1970.
    pub submitted: BTreeMap<RunId, u64>,
    /// Final reports by `<run>/<path>`, in the order of the log.
    pub reports: BTreeMap<String, Vec<Report>>,
    /// Who led, in the order of each log.
    pub leaders: Vec<Leader>,
    /// Entries in all.
    pub entries: usize,
}

/// A client of a cluster's broker, with the ports of Longshore.
///
/// # Panics
/// When it does not connect.
pub async fn connect(url: String) -> Nats {
    let config = NatsConfig {
        urls: vec![url],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "ledger".to_owned(),
        replicas: 1,
        partitions: PARTITIONS,
        connect_deadline: DEADLINE,
    };
    Nats::join(config).await.expect("connects to NATS")
}

impl Ledger {
    /// Reads the logs of the broker at this address.
    ///
    /// # Panics
    /// When one of them cannot be read in full.
    pub async fn read(url: String) -> Self {
        let nats = connect(url).await;
        let log = nats.log();
        let mut ledger = Self::default();
        for partition in (0..PARTITIONS).map(Partition) {
            let tail = log.tail(partition).await.expect("a tail");
            let mut reader = log.read(partition, Seq(1)).await.expect("a reader");
            let mut seen = Seq::ZERO;
            while seen < tail {
                for entry in reader.next(CHUNK).await.expect("entries") {
                    seen = entry.seq;
                    ledger.entries += 1;
                    for event in entry.events.into_iter().flatten() {
                        ledger.note(partition, entry.at.as_millis(), event);
                    }
                }
            }
        }
        nats.close().await;
        ledger
    }

    fn note(&mut self, partition: Partition, at: u64, event: Event) {
        match event {
            Event::Submitted { run, .. } => _ = self.submitted.entry(run).or_insert(at),
            Event::Settled { job, settlement: Settlement::Done(outcome), worker, .. } => {
                let reports = self.reports.entry(format!("{}/{}", job.run, job.step)).or_default();
                reports.push(Report { at, outcome, worker });
            }
            Event::LeaderAnnounced { node, .. } => self.leaders.push(Leader { partition, at, node }),
            _ => {}
        }
    }

    /// When the outcome of a step was recorded, by `<run>/<path>`.
    pub fn recorded_at(&self, key: &str) -> Option<u64> {
        self.reports.get(key).and_then(|reports| reports.first()).map(|report| report.at)
    }
}
