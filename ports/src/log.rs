//! The durable logs of events, from which all other state is derived.

use async_trait::async_trait;
use longshore_proto::{Event, EventError, Incarnation, Partition, Seq, Timestamp};

use crate::Error;

/// The largest log entry, in bytes: the default payload limit of NATS (1 MiB) less 64 KiB for subject and headers. All
/// adapters have the same limit, so that a workflow that runs on one runs on the others.
pub const ENTRY_LIMIT_BYTES: usize = (1024 - 64) * 1024;

/// The used share of a log, in per cent, at which submits start to be refused. The rest is a reserve for the results of runs
/// that were admitted.
pub const ADMISSION_LIMIT_PERCENT: u64 = 70;

/// The logs of all partitions. A log holds the events of a partition's runs in one order.
///
/// Contract:
/// - Events are durable when `append` returns. Every reader gets them at the returned sequence numbers.
/// - The sequence numbers of a partition are dense: 1, 2, 3, ... An entry holds one event, or several that were appended at
///   the same time. The events of one call keep their order; events of other callers may come between them.
/// - An event of more than [`ENTRY_LIMIT_BYTES`] is a permanent error for all events of the call.
/// - The events of an append that failed may be in the log. The caller may append them again, since readers ignore events
///   that they have applied.
/// - A reader gets every entry from its start in order, without gaps, and then waits for new ones. A store that has lost
///   entries between others says so by [`LogEntry::lost`]. An entry that the store has and does not deliver is an error.
/// - A store that knows the [role](longshore_proto::WriterRole) of a writer delivers an event that this role may not write as
///   [`EventError::Forbidden`].
#[async_trait]
pub trait RunLog: Send + Sync {
    /// Returns the incarnation of a log.
    async fn incarnation(&self, partition: Partition) -> Result<Incarnation, Error>;

    /// Appends events, waits until they are durable, and returns their sequence numbers. Concurrent callers share durable
    /// writes.
    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error>;

    /// Returns the sequence number of the last entry, or zero if there is none.
    async fn tail(&self, partition: Partition) -> Result<Seq, Error>;

    /// Returns the used share of the log's size limit, in per cent. Zero if only the disk limits it.
    async fn fullness(&self, _partition: Partition) -> Result<u64, Error> {
        Ok(0)
    }

    /// Returns true if the store has lost entries between `from` and the tail. False for stores that lose a whole log or
    /// nothing.
    async fn has_lost_entries(&self, _partition: Partition, _from: Seq) -> Result<bool, Error> {
        Ok(false)
    }

    /// Returns a reader that starts at `from` and follows the log. Fails if that entry was trimmed.
    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error>;

    /// Deletes all entries before `below`. Sequence numbers continue after the tail. A reader that reaches a deleted entry
    /// fails instead of skipping it. Only entries that two verified snapshots cover may be deleted.
    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error>;
}

/// A reader of one partition's log.
#[async_trait]
pub trait LogReader: Send {
    /// Waits for the next entries and returns at least one and at most `max` of them (zero counts as one). Returns fewer
    /// entries if they hold several events each, so that the number of events stays of the order of `max`.
    ///
    /// Cancel-safe: an entry that was not returned is returned by the next call.
    async fn next(&mut self, max: usize) -> Result<Vec<LogEntry>, Error>;
}

/// An entry of a log.
#[derive(Debug)]
pub struct LogEntry {
    /// Sequence number of the entry.
    pub seq: Seq,
    /// Number of entries directly before this one that the store has lost.
    pub lost: u64,
    /// Time at which the log stored the entry.
    pub at: Timestamp,
    /// Stored bytes, for the rolling hash.
    pub body: Vec<u8>,
    /// Events that the bytes encode, in order; at least one. An event that cannot be decoded names its run if it can.
    pub events: Vec<Result<Event, EventError>>,
}
