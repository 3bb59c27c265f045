//! The durable history of runs: the only truth there is.

use async_trait::async_trait;
use longshore_proto::{Event, Incarnation, Partition, Seq, Timestamp, WireError};

use crate::Error;

/// How large an entry may be, in bytes: what a NATS server takes in one message by default (1 MiB), less 64 KiB for
/// its subject and headers. Every adapter refuses more, so that what works alone works on a cluster.
pub const ENTRY_LIMIT_BYTES: usize = (1024 - 64) * 1024;

/// One log for each partition, holding every input of its runs in one order.
///
/// Contract:
/// - An append that returned is durable and will be read, at the sequences it returned, by every reader.
/// - Sequences of a partition are dense: 1, 2, 3, ... An entry holds one event, or several that were appended at the same
///   time. The events of one call stand in their order, though others may come between them.
/// - An event of more than [`ENTRY_LIMIT_BYTES`] is refused for good, with the others of its call.
/// - An append that failed may still have happened. Appending the same events again is right: whoever applies the
///   log ignores what it has seen.
/// - A reader sees every entry from where it began, in order, without gaps, and then waits for more.
#[async_trait]
pub trait RunLog: Send + Sync {
    /// Which life of the log this is.
    async fn incarnation(&self, partition: Partition) -> Result<Incarnation, Error>;

    /// Adds events at the end and returns their places, once they are durable. Many callers at once share one
    /// durable write.
    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error>;

    /// The place of the last entry; zero if there is none.
    async fn tail(&self, partition: Partition) -> Result<Seq, Error>;

    /// How full it is, in per cent of what it may hold. Zero where nothing but the disk is its bound.
    async fn fullness(&self, _partition: Partition) -> Result<u64, Error> {
        Ok(0)
    }

    /// Reads from `from` on, and then follows. Fails if `from` lies below what was trimmed.
    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error>;

    /// Forgets every entry below `below`; numbers go on from the tail. A reader that is not past `below` fails when
    /// it gets to what is gone, and never skips it. Only for what two verified snapshots have made superfluous.
    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error>;
}

/// A reader of one partition's log.
#[async_trait]
pub trait LogReader: Send {
    /// The next entries, at least one and at most `max` (zero counts as one); waits until there is one. Entries of several
    /// events are fewer, so that whoever asks is not given many times more to do.
    ///
    /// Safe to cancel: an entry is either returned or still to come.
    async fn next(&mut self, max: usize) -> Result<Vec<LogEntry>, Error>;
}

/// An entry as it was stored.
#[derive(Debug)]
pub struct LogEntry {
    /// Its place.
    pub seq: Seq,
    /// When the log took it.
    pub at: Timestamp,
    /// Its bytes, for the rolling hash.
    pub body: Vec<u8>,
    /// What the bytes say, in order; at least one. What cannot be read is counted, kept and passed over, by everybody
    /// alike.
    pub events: Vec<Result<Event, WireError>>,
}
