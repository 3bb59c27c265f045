//! The log in the data file, and readers that follow it.
//!
//! The entries of all partitions are in one table, see [`entries`]. A reader gets what this process has just appended
//! [from memory](recent::RecentEntries). If it is further behind, or if another process has appended, such as a cancel,
//! it reads the file.

mod entries;
mod recent;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{ENTRY_LIMIT_BYTES, Error, LogEntry, LogReader, RunLog, clock};
use longshore_proto::{Event, Incarnation, Partition, Seq, decode_events, encode_event};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::entries::StoredEntry;
use self::recent::RecentEntries;
use super::directory::Access;
use super::failure::StoreError;
use super::store::DataFile;

/// Maximum number of entries that a reader returns at once: a few milliseconds of decoding.
const CHUNK_ENTRIES: usize = 1_000;

/// Maximum number of bytes that a reader returns at once, unless one entry alone has more.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of entries that one transaction trims, so that appends never wait long.
const TRIM_ENTRIES: u64 = 10_000;

/// Interval at which a reader looks for entries of other processes, which cannot notify it. Each time it reads one row.
const FOREIGN_POLL: Duration = Duration::from_millis(100);

/// Approximate bytes of an entry in the file beside its body, so that groups of tiny entries are bounded as well.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// The logs of a data directory.
pub(super) struct PartitionLogs {
    store: Arc<DataFile>,
    recent: Arc<RecentEntries>,
    access: Access,
}

impl PartitionLogs {
    pub(super) fn new(store: Arc<DataFile>, access: Access) -> Self {
        Self { store, recent: Arc::new(RecentEntries::default()), access }
    }

    /// Ends waiting readers with an error.
    pub(super) fn close(&self) {
        self.recent.close();
    }
}

#[async_trait]
impl RunLog for PartitionLogs {
    async fn incarnation(&self, _: Partition) -> Result<Incarnation, Error> {
        let read = self.store.read(|connection| Ok(entries::incarnation(connection)?)).await;
        read.map_err(|failure| failure.when("read the incarnation of the log"))
    }

    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let doing = || format!("append to the log of partition {partition}");
        let bodies = encode_all(events).map_err(|failure| failure.when(doing()))?;
        let bytes = bodies.iter().map(|body| body.len() + ENTRY_OVERHEAD_BYTES).sum();
        let recent = Arc::clone(&self.recent);
        let append = move |connection: &_| entries::append(connection, partition, bodies, clock::now());
        let on_durable = move |stored: Vec<StoredEntry>| {
            let sequences = stored.iter().map(|entry| entry.seq).collect();
            recent.push(partition, stored);
            sequences
        };
        self.store.write_then(bytes, append, on_durable).await.map_err(|failure| failure.when(doing()))
    }

    async fn tail(&self, partition: Partition) -> Result<Seq, Error> {
        let read = self.store.read(move |connection| Ok(entries::extent(connection, partition)?)).await;
        let extent =
            read.map_err(|failure| failure.when(format!("read the tail of partition {partition}")))?;
        Ok(extent.tail)
    }

    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error> {
        let doing = || format!("read the log of partition {partition} from {from}");
        let next = from.max(Seq(1));
        let read = self.store.read(move |connection| Ok(entries::extent(connection, partition)?)).await;
        let extent = read.map_err(|failure| failure.when(doing()))?;
        if next < extent.head {
            return Err(entries::trimmed(next, extent).when(doing()));
        }
        let tail = self.store.writer.is_some().then(|| self.recent.follow(partition, extent.tail));
        let (store, recent) = (Arc::clone(&self.store), Arc::clone(&self.recent));
        let has_others = self.access != Access::ReadWrite;
        Ok(Box::new(PartitionReader {
            store,
            recent,
            partition,
            next,
            tail,
            has_others,
            check_at: Instant::now(),
        }))
    }

    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error> {
        loop {
            let trim = move |connection: &_| entries::trim(connection, partition, below, TRIM_ENTRIES);
            let trimmed = self.store.write(ENTRY_OVERHEAD_BYTES, trim).await;
            let doing = || format!("trim the log of partition {partition} below {below}");
            if trimmed.map_err(|failure| failure.when(doing()))? == entries::TrimProgress::Complete {
                return Ok(());
            }
        }
    }
}

fn encode_all(events: &[Event]) -> Result<Vec<Vec<u8>>, StoreError> {
    let encode_one = |event| {
        let body = encode_event(event).map_err(|error| StoreError::Refused(error.to_string()))?;
        match body.len() {
            0..=ENTRY_LIMIT_BYTES => Ok(body),
            bytes => Err(StoreError::Refused(format!(
                "an entry of {bytes} bytes is larger than {ENTRY_LIMIT_BYTES}: store its large values as blobs"
            ))),
        }
    };
    events.iter().map(encode_one).collect()
}

/// A position in the log of a partition.
struct PartitionReader {
    store: Arc<DataFile>,
    recent: Arc<RecentEntries>,
    partition: Partition,
    next: Seq,
    /// The tail, as this process appends. `None` if it does not append.
    tail: Option<watch::Receiver<Seq>>,
    /// True if other processes may append as well.
    has_others: bool,
    /// Time of the next check of the file. It is a field, so that calls that are cancelled again and again do not
    /// postpone it.
    check_at: Instant,
}

#[async_trait]
impl LogReader for PartitionReader {
    async fn next(&mut self, max: usize) -> Result<Vec<LogEntry>, Error> {
        let stored = self.load(max.clamp(1, CHUNK_ENTRIES)).await;
        let doing = || format!("read the log of partition {} from {}", self.partition, self.next);
        let stored = stored.map_err(|failure| failure.when(doing()))?;
        // Nothing is awaited from here on, so a cancelled call has not moved the reader.
        if let Some(last) = stored.last() {
            self.next = last.seq.next();
        }
        Ok(stored.into_iter().map(entry).collect())
    }
}

impl PartitionReader {
    /// Waits for the next entry, and loads it with those behind it.
    async fn load(&mut self, max: usize) -> Result<Vec<StoredEntry>, StoreError> {
        self.wait().await?;
        match self.recent.take(self.partition, self.next, max) {
            Some(stored) => Ok(stored),
            None => self.load_from_file(max).await,
        }
    }

    /// Waits until the entry at `next` is durable.
    async fn wait(&mut self) -> Result<(), StoreError> {
        let (partition, next) = (self.partition, self.next);
        if let Some(tail) = &mut self.tail
            && !self.has_others
        {
            return tail.wait_for(|tail| *tail >= next).await.map(|_| ()).map_err(|_| StoreError::Closed);
        }
        loop {
            if let Some(tail) = &mut self.tail {
                match timeout_at(self.check_at, tail.wait_for(|tail| *tail >= next)).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(_)) => return Err(StoreError::Closed),
                    Err(_) => {}
                }
            }
            let read = self.store.read(move |connection| Ok(entries::extent(connection, partition)?)).await;
            if read?.tail >= next {
                return Ok(());
            }
            self.check_at = Instant::now() + FOREIGN_POLL;
            if self.tail.is_none() {
                sleep_until(self.check_at).await;
            }
        }
    }

    async fn load_from_file(&self, max: usize) -> Result<Vec<StoredEntry>, StoreError> {
        let (partition, next) = (self.partition, self.next);
        self.store.read(move |connection| entries::load(connection, partition, next, max, CHUNK_BYTES)).await
    }
}

fn entry(stored: StoredEntry) -> LogEntry {
    let events = decode_events(&stored.body);
    LogEntry { seq: stored.seq, lost: 0, at: stored.at, events, body: stored.body }
}
