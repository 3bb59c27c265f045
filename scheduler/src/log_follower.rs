//! Follower of a partition's log: reads, decodes, fetches the plans that the machine needs, and applies.
//!
//! A leader ([`Driver`](crate::driver::Driver)) performs the effects, and a read-only reader
//! ([`PartitionReader`](crate::partition_reader::PartitionReader)) drops them. The follower reads ports and writes none.

mod log_time;

use std::sync::Arc;

use longshore_machine::{Effects, Machine, RecordIgnored};
use longshore_ports::{Backend, ErrorCause, LogEntry, LogReader, clock, on_blocking_thread, outage};
use longshore_proto::{Digest, Event, EventError, Partition, Record, Semantics, Seq, Timestamp, WireError};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use self::log_time::LogTime;
use crate::recovery::{LogPosition, Recovered};
use crate::retry::retry;
use crate::run_metrics;

/// Maximum number of entries of a batch, which have about as many events. Their effects are appended and published together,
/// and a batch of small records takes a few megabytes.
pub(crate) const BATCH_ENTRIES: usize = 512;

/// Reason why a log cannot be followed, or its leader cannot continue.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A port failed, and a retry cannot help.
    #[error(transparent)]
    Backend(#[from] longshore_ports::Error),
    /// Entries are missing in the log.
    #[error("the log of partition {partition} jumps from {applied} to {found}: entries are missing")]
    Gap {
        /// The partition.
        partition: Partition,
        /// The last applied entry.
        applied: Seq,
        /// The next entry that was read.
        found: Seq,
    },
    /// The log has lost entries, and the leader has not announced that it has lost records.
    #[error("the log of partition {partition} has lost {} since this scheduler took it over", lost_entries(*first, *count))]
    LostEntries {
        /// The partition.
        partition: Partition,
        /// The first of them.
        first: Seq,
        /// Their number.
        count: u64,
    },
    /// A newer version of Longshore wrote to the log.
    #[error(
        "entry {seq} of the log has format version {found}, which this version of longshore cannot read: upgrade it"
    )]
    Newer {
        /// The entry.
        seq: Seq,
        /// Its format version.
        found: u8,
    },
    /// A newer version of Longshore submitted a run.
    #[error(
        "entry {seq} of the log submits a run with version {found} of the language's rules, and this version of longshore knows {known}: \
         upgrade it",
        known = Semantics::NEWEST
    )]
    NewerSemantics {
        /// The entry.
        seq: Seq,
        /// Its version of the rules.
        found: Semantics,
    },
    /// The state of the machine cannot be encoded.
    #[error("the state cannot be written: {0}")]
    State(#[from] WireError),
}

impl DriverError {
    /// Returns the class of the cause, for metrics and readiness.
    pub(crate) fn cause(&self) -> ErrorCause {
        match self {
            Self::Backend(error) => error.cause,
            Self::Gap { .. } | Self::LostEntries { .. } => ErrorCause::Damaged,
            Self::Newer { .. } | Self::NewerSemantics { .. } | Self::State(_) => ErrorCause::Other,
        }
    }
}

/// A machine and its position in the log.
pub(crate) struct LogFollower {
    pub(crate) backend: Backend,
    pub(crate) partition: Partition,
    pub(crate) machine: Machine,
    pub(crate) position: LogPosition,
    time: LogTime,
    /// Entries before this one that the log has lost are passed over, because a later record says that records are lost.
    passes_over_lost_before: Seq,
}

impl LogFollower {
    /// Starts at a recovered state, and provides the plans of all live runs in it.
    pub(crate) async fn start(
        backend: Backend,
        partition: Partition,
        from: Recovered,
    ) -> Result<Self, DriverError> {
        let Recovered { machine, position, .. } = from;
        let time = LogTime::new(clock::now(), Instant::now());
        let passes_over_lost_before = Seq::ZERO;
        let mut follower = Self { backend, partition, machine, position, time, passes_over_lost_before };
        for digest in follower.machine.missing_plans() {
            follower.provide_plan(digest).await?;
        }
        follower.machine.join_plans();
        Ok(follower)
    }

    /// Passes over entries before `seq` that the log has lost. Without that they are an error: a grant that is lost must not
    /// be given again, so the leader has to announce first that records are lost.
    pub(crate) fn pass_over_lost_before(&mut self, seq: Seq) {
        self.passes_over_lost_before = seq;
    }

    /// Returns the sequence number before which lost entries are passed over.
    pub(crate) fn passes_over_lost_before(&self) -> Seq {
        self.passes_over_lost_before
    }

    /// Applies entries up to `until`, which the log must have. Returns the effects of entries after `published`, for the run
    /// updates among them. All other effects were performed before, or are for the leader.
    pub(crate) async fn replay(
        &mut self,
        reader: &mut dyn LogReader,
        until: Seq,
        published: Seq,
    ) -> Result<Effects, DriverError> {
        let mut effects = Effects::new();
        while self.position.seq < until {
            for entry in reader.next(BATCH_ENTRIES).await? {
                let is_published = entry.seq <= published;
                self.apply(entry, &mut effects).await?;
                if is_published {
                    effects.clear();
                }
            }
        }
        Ok(effects)
    }

    /// Returns the time for timers, by the log's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.time.at(Instant::now())
    }

    /// Fetches the plans that the machine needs for an entry, and applies the entry.
    pub(crate) async fn apply(&mut self, entry: LogEntry, effects: &mut Effects) -> Result<(), DriverError> {
        let LogEntry { seq, lost, at, body, events } = entry;
        self.time.note_record(at, Instant::now());
        if lost > 0 {
            self.pass_over_lost(seq, lost)?;
        }
        if seq.0 != self.position.seq.next().0.saturating_add(lost) {
            return Err(DriverError::Gap {
                partition: self.partition,
                applied: self.position.seq,
                found: seq,
            });
        }
        // An event of a newer version that is skipped would be lost for good once a checkpoint covers it.
        let newer = events.iter().find_map(|event| match event {
            Err(EventError::Unreadable { source: WireError::Version { found }, .. }) => Some(*found),
            _ => None,
        });
        if let Some(found) = newer {
            return Err(DriverError::Newer { seq, found });
        }
        let semantics = events.iter().flatten().filter_map(|event| match event {
            Event::Submitted { semantics, .. } => Some(*semantics),
            _ => None,
        });
        if let Some(found) = semantics.max().filter(|found| *found > Semantics::NEWEST) {
            return Err(DriverError::NewerSemantics { seq, found });
        }
        for (part, event) in (0..).zip(events) {
            match event {
                Ok(event) => self.apply_record(Record { seq, part, at, event }, effects).await?,
                Err(error) => {
                    self.machine.skip(seq, part, at);
                    self.report_skipped(seq, part, &error);
                    if let EventError::Unreadable { run: Some(run), .. } = error {
                        self.machine.note_unreadable(
                            run,
                            format!("entry {seq} of its log cannot be read"),
                            effects,
                        );
                    }
                }
            }
        }
        self.position.before = self.position.hash;
        self.position.hash = self.position.hash.extend(seq, at, &body);
        self.position.seq = seq;
        Ok(())
    }

    /// Reports an event that is not applied. One that its writer may not write changes nothing, so it is logged once a minute.
    fn report_skipped(&self, seq: Seq, part: u32, error: &EventError) {
        let partition = self.partition;
        if matches!(error, EventError::Unreadable { .. }) {
            return warn!(%partition, %seq, part, %error, "cannot read an event");
        }
        run_metrics::count_forbidden_events(partition, 1);
        if outage::record_failure(&format!("forbidden events of partition {partition}")) {
            warn!(
                %partition, %seq, part, %error,
                "ignoring an event of the log that its writer may not write: a user of NATS forges events, or has permissions that its \
                 role does not need. Compare the users with deploy/nats/accounts.conf. Further such events are counted, and logged \
                 once a minute"
            );
        }
    }

    /// Reports the entries before `seq` that the log has lost. Fails if the leader has not announced that records are lost.
    fn pass_over_lost(&self, seq: Seq, count: u64) -> Result<(), DriverError> {
        let (partition, first) = (self.partition, Seq(seq.0.saturating_sub(count)));
        if seq > self.passes_over_lost_before {
            return Err(DriverError::LostEntries { partition, first, count });
        }
        error!(
            %partition, seq = %first, count,
            "NATS has lost {} of the log; passing over what is lost: unsafe calls of runs that have not ended are in doubt",
            lost_entries(first, count)
        );
        run_metrics::count_lost_entries(partition, count);
        Ok(())
    }

    async fn apply_record(&mut self, record: Record, effects: &mut Effects) -> Result<(), DriverError> {
        let missing = self.machine.missing_plan(&record.event);
        if let Some(digest) = missing.or_else(|| self.machine.unavailable_plan(&record.event)) {
            self.provide_plan(digest).await?;
        }
        if let Err(reason) = self.machine.apply(&record, effects) {
            debug!(partition = %self.partition, seq = %record.seq, %reason, "record ignored");
            debug_assert!(reason != RecordIgnored::Unprepared, "the plan was provided");
        }
        Ok(())
    }

    /// Returns true unless an entry is applied in part, which is possible after a stop.
    pub(crate) fn is_between_entries(&self) -> bool {
        self.machine.applied() == self.position.seq
    }

    async fn provide_plan(&mut self, digest: Digest) -> Result<(), DriverError> {
        let bytes = retry("fetch a workflow", || self.backend.blobs.get(digest)).await?;
        let plan = match bytes.map(String::from_utf8) {
            None => Err(format!("the text of workflow {} is gone", digest.short())),
            Some(Err(_)) => Err(format!("the text of workflow {} is not valid UTF-8", digest.short())),
            Some(Ok(text)) => {
                let loaded = on_blocking_thread(move || longshore_workflow::load(&text)).await;
                loaded.map(Arc::new).map_err(|problems| {
                    format!("workflow {} does not compile with this version: {problems}", digest.short())
                })
            }
        };
        self.machine.provide_plan(digest, plan);
        Ok(())
    }
}

/// Describes entries that a log has lost.
fn lost_entries(first: Seq, count: u64) -> String {
    match count {
        1 => format!("entry {first}"),
        _ => format!("{count} entries from {first} on"),
    }
}
