//! The fold of a partition's log: entry after entry into the machine, each with what the machine needs for it.
//!
//! The same fold runs under a leader ([`Driver`](crate::driver::Driver)), which performs what follows, and for
//! somebody who only looks ([`Observed`](crate::observed::Observed)), who drops it. It reads ports and writes none. Asking
//! a port again is for this and the driver, and happens nowhere else.

mod log_time;

use std::sync::Arc;
use std::time::Duration;

use longshore_machine::{Effects, Machine, Refused};
use longshore_ports::{Backend, LogEntry, LogReader, clock, outage};
use longshore_proto::{Digest, Event, Partition, Record, Seq, Timestamp, WireError};
use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::log_time::LogTime;
use crate::checks::on_blocking_thread;
use crate::nodes::{VALUE_NODES, check_json};
use crate::recovery::{Position, Recovered};

/// Entries taken at once, and about as many events: what follows from them is appended and published together, and a
/// batch of small records stays within a few megabytes.
pub(crate) const BATCH: usize = 512;

/// First and longest pause before a port is asked again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Large values held between two batches, as bytes of JSON text: enough for a run that passes some around, and a
/// bound for the process.
const VALUES_HELD_BYTES: usize = 64 * 1024 * 1024;

/// Why the log of a partition could not be followed, or its leader not go on.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// A port is broken for good.
    #[error(transparent)]
    Backend(#[from] longshore_ports::Error),
    /// The log has a hole.
    #[error("the log of partition {partition} jumps from {applied} to {found}: entries are missing")]
    Gap {
        /// The partition.
        partition: Partition,
        /// The last entry applied.
        applied: Seq,
        /// The next one the log gave.
        found: Seq,
    },
    /// A newer version has written to the log.
    #[error(
        "entry {seq} of the log has format version {found}, which this version of longshore cannot read: upgrade it"
    )]
    Newer {
        /// The entry.
        seq: Seq,
        /// Its format.
        found: u8,
    },
    /// The machine's state cannot be written down.
    #[error("the state cannot be written: {0}")]
    State(#[from] WireError),
}

/// A machine, and how far it has come in its log.
pub(crate) struct Fold {
    pub(crate) backend: Backend,
    pub(crate) partition: Partition,
    pub(crate) machine: Machine,
    pub(crate) position: Position,
    time: LogTime,
    /// Bytes of large values the machine holds.
    values_held: usize,
}

impl Fold {
    /// Begins at the newest checkpoint, with the plans of every run that is live in it.
    pub(crate) async fn begin(
        backend: Backend,
        partition: Partition,
        from: Recovered,
    ) -> Result<Self, DriverError> {
        let Recovered { machine, position, .. } = from;
        let time = LogTime::new(clock::now(), Instant::now());
        let mut fold = Self { backend, partition, machine, position, time, values_held: 0 };
        fold.learn_plans().await?;
        Ok(fold)
    }

    /// Goes on to an entry that the log has. What follows has been done, or is for somebody else to do; of the entries
    /// beyond `told` it is returned, for the news in it.
    pub(crate) async fn replay(
        &mut self,
        reader: &mut dyn LogReader,
        until: Seq,
        told: Seq,
    ) -> Result<Effects, DriverError> {
        let mut effects = Effects::new();
        while self.position.seq < until {
            for entry in reader.next(BATCH).await? {
                let is_told = entry.seq <= told;
                self.apply(entry, &mut effects).await?;
                if is_told {
                    effects.clear();
                }
            }
            self.make_room();
        }
        Ok(effects)
    }

    /// What time it is for timers.
    pub(crate) fn now(&self) -> Timestamp {
        self.time.at(Instant::now())
    }

    /// Lets go of large values once they are many; what needs one again asks again.
    pub(crate) fn make_room(&mut self) {
        if self.values_held > VALUES_HELD_BYTES {
            self.machine.forget_blobs();
            self.values_held = 0;
        }
    }

    /// Applies one entry, having brought what the machine needs for it.
    pub(crate) async fn apply(&mut self, entry: LogEntry, effects: &mut Effects) -> Result<(), DriverError> {
        let LogEntry { seq, at, body, events } = entry;
        self.time.read(at, Instant::now());
        if seq != self.position.seq.next() {
            return Err(DriverError::Gap {
                partition: self.partition,
                applied: self.position.seq,
                found: seq,
            });
        }
        // Passing over what a newer version wrote would lose it for good once a checkpoint has moved past it.
        let newer = events.iter().find_map(|event| match event {
            Err(WireError::Version { found }) => Some(*found),
            _ => None,
        });
        if let Some(found) = newer {
            return Err(DriverError::Newer { seq, found });
        }
        for (part, event) in (0..).zip(events) {
            match event {
                Ok(event) => self.apply_record(Record { seq, part, at, event }, effects).await?,
                Err(error) => {
                    warn!(partition = %self.partition, %seq, part, %error, "event passed over: it cannot be read");
                    self.machine.pass(seq, part, at);
                }
            }
        }
        self.position.before = self.position.hash;
        self.position.hash = self.position.hash.extend(seq, at, &body);
        self.position.seq = seq;
        Ok(())
    }

    async fn apply_record(&mut self, record: Record, effects: &mut Effects) -> Result<(), DriverError> {
        self.learn(&record.event).await?;
        if let Err(refused) = self.machine.handle(&record, effects) {
            debug!(partition = %self.partition, seq = %record.seq, %refused, "record changes nothing");
            debug_assert!(refused != Refused::Unprepared, "everything needed was brought");
        }
        Ok(())
    }

    /// Whether no entry is applied in part, as it may be where following was stopped.
    pub(crate) fn is_whole(&self) -> bool {
        self.machine.applied() == self.position.seq
    }

    /// Brings the plans of every live run.
    async fn learn_plans(&mut self) -> Result<(), DriverError> {
        for digest in self.machine.missing_plans() {
            self.learn_plan(digest).await?;
        }
        Ok(())
    }

    /// Brings whatever the machine needs for an event. Twice, because a plan tells which values it reads.
    async fn learn(&mut self, event: &Event) -> Result<(), DriverError> {
        loop {
            let needs = self.machine.needs(event);
            if needs.is_empty() {
                return Ok(());
            }
            for digest in needs.plans {
                self.learn_plan(digest).await?;
            }
            for digest in needs.blobs {
                self.learn_blob(digest).await?;
            }
        }
    }

    /// Brings a large value, or says why it cannot be had: that ends the runs that read it, and no others.
    async fn learn_blob(&mut self, digest: Digest) -> Result<(), DriverError> {
        let bytes = insist("fetch a value", || self.backend.blobs.get(digest)).await?;
        self.values_held += bytes.as_ref().map_or(0, Vec::len);
        let value = match bytes {
            None => Err(format!("the large value {} is gone", digest.short())),
            Some(bytes) => on_blocking_thread(move || read_value(&bytes))
                .await
                .map_err(|why| format!("the large value {} cannot be read: {why}", digest.short())),
        };
        if let Err(why) = &value {
            warn!(partition = %self.partition, %digest, why, "a run may come to its end for want of a value");
        }
        self.machine.learn_blob(digest, value);
        Ok(())
    }

    async fn learn_plan(&mut self, digest: Digest) -> Result<(), DriverError> {
        let bytes = insist("fetch a workflow", || self.backend.blobs.get(digest)).await?;
        let plan = match bytes.map(String::from_utf8) {
            None => Err(format!("the text of workflow {} is gone", digest.short())),
            Some(Err(_)) => Err(format!("the text of workflow {} is no text", digest.short())),
            Some(Ok(text)) => {
                let compiled = on_blocking_thread(move || longshore_workflow::compile(&text)).await;
                compiled.map(Arc::new).map_err(|problems| {
                    format!("workflow {} does not compile with this version: {problems}", digest.short())
                })
            }
        };
        self.machine.learn_plan(digest, plan);
        Ok(())
    }
}

/// Reads a large value, or says why that is not possible.
fn read_value(text: &[u8]) -> Result<Arc<Value>, String> {
    check_json(text, VALUE_NODES).map_err(|error| error.to_string())?;
    serde_json::from_slice(text).map(Arc::new).map_err(|_| "it is no JSON".to_owned())
}

/// Asks a port until it answers, or says that asking again is no use.
pub(crate) async fn insist<T, F>(what: &str, ask: impl Fn() -> F) -> Result<T, DriverError>
where
    F: Future<Output = Result<T, longshore_ports::Error>>,
{
    let ((mut pause, longest), mut has_failed) = (BACKOFF, false);
    loop {
        match ask().await {
            Ok(answer) => {
                if has_failed && let Some(lasted) = outage::record_success(what) {
                    info!(?lasted, "works again: {what}");
                }
                return Ok(answer);
            }
            Err(error) if error.retryable => {
                has_failed = true;
                if outage::record_failure(what) {
                    warn!(%error, "cannot {what}; trying again until it works");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(longest);
            }
            Err(error) => return Err(error.into()),
        }
    }
}
