//! The log in the data file, and readers that follow it.
//!
//! Entries of all partitions are in one table by their [place](entries). What this process has just appended is
//! handed to followers [from memory](recent::Recent); a follower that is further behind reads it from the file, and so does
//! one to whose log another process has appended, such as a cancel.

mod entries;
mod recent;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{ENTRY_LIMIT_BYTES, Error, LogEntry, LogReader, RunLog, clock};
use longshore_proto::{Event, Incarnation, Partition, Seq, decode, encode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::entries::Stored;
use self::recent::Recent;
use super::Access;
use super::failure::Failure;
use super::store::Store;

/// How many entries a reader gets at once at most: a few milliseconds of decoding.
const CHUNK_ENTRIES: usize = 1_000;

/// How many bytes a reader gets at once, unless one entry alone has more.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How many entries are trimmed in one transaction, so that appends never wait long behind a trim.
const TRIM_ENTRIES: u64 = 10_000;

/// Interval at which a reader looks for entries of other processes, which cannot notify it. Each time it reads one row.
const FOREIGN_POLL: Duration = Duration::from_millis(100);

/// What an entry adds to its body in the file, roughly; keeps groups of tiny entries bounded as well.
const ENTRY_OVERHEAD_BYTES: usize = 32;

/// All logs of a data directory.
pub(super) struct Log {
    store: Arc<Store>,
    recent: Arc<Recent>,
    access: Access,
}

impl Log {
    pub(super) fn new(store: Arc<Store>, access: Access) -> Self {
        Self { store, recent: Arc::new(Recent::default()), access }
    }

    /// Ends every reader that waits.
    pub(super) fn close(&self) {
        self.recent.close();
    }
}

#[async_trait]
impl RunLog for Log {
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
        let durable = move |stored: Vec<Stored>| {
            let places = stored.iter().map(|entry| entry.seq).collect();
            recent.push(partition, stored);
            places
        };
        self.store.write_then(bytes, append, durable).await.map_err(|failure| failure.when(doing()))
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
        let news = self.store.writer.is_some().then(|| self.recent.follow(partition, extent.tail));
        let (store, recent) = (Arc::clone(&self.store), Arc::clone(&self.recent));
        let has_others = self.access != Access::ReadWrite;
        Ok(Box::new(Reader { store, recent, partition, next, news, has_others, look_at: Instant::now() }))
    }

    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error> {
        loop {
            let trim = move |connection: &_| entries::trim(connection, partition, below, TRIM_ENTRIES);
            let trimmed = self.store.write(ENTRY_OVERHEAD_BYTES, trim).await;
            let doing = || format!("trim the log of partition {partition} below {below}");
            if trimmed.map_err(|failure| failure.when(doing()))? == entries::Trimmed::All {
                return Ok(());
            }
        }
    }
}

fn encode_all(events: &[Event]) -> Result<Vec<Vec<u8>>, Failure> {
    let encode_one = |event| {
        let body = encode(event).map_err(|error| Failure::Refused(error.to_string()))?;
        match body.len() {
            0..=ENTRY_LIMIT_BYTES => Ok(body),
            bytes => Err(Failure::Refused(format!(
                "an entry of {bytes} bytes is larger than {ENTRY_LIMIT_BYTES}: keep its large values as blobs"
            ))),
        }
    };
    events.iter().map(encode_one).collect()
}

struct Reader {
    store: Arc<Store>,
    recent: Arc<Recent>,
    partition: Partition,
    next: Seq,
    /// The tail as this process appends; nothing if it does not.
    news: Option<watch::Receiver<Seq>>,
    /// Other processes may append as well.
    has_others: bool,
    /// When the file is looked at next. Kept here, so that a caller that gives up again and again does not put it off.
    look_at: Instant,
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, max: usize) -> Result<Vec<LogEntry>, Error> {
        let stored = self.load(max.clamp(1, CHUNK_ENTRIES)).await;
        let doing = || format!("read the log of partition {} from {}", self.partition, self.next);
        let stored = stored.map_err(|failure| failure.when(doing()))?;
        // Nothing is awaited from here on: a caller that gives up has not moved the reader.
        if let Some(last) = stored.last() {
            self.next = last.seq.next();
        }
        Ok(stored.into_iter().map(entry).collect())
    }
}

impl Reader {
    async fn load(&mut self, max: usize) -> Result<Vec<Stored>, Failure> {
        self.wait().await?;
        match self.recent.take(self.partition, self.next, max) {
            Some(stored) => Ok(stored),
            None => self.load_from_file(max).await,
        }
    }

    /// Waits until the entry at `next` is durable.
    async fn wait(&mut self) -> Result<(), Failure> {
        let (partition, next) = (self.partition, self.next);
        if let Some(news) = &mut self.news
            && !self.has_others
        {
            return news.wait_for(|tail| *tail >= next).await.map(|_| ()).map_err(|_| Failure::Closed);
        }
        loop {
            if let Some(news) = &mut self.news {
                match timeout_at(self.look_at, news.wait_for(|tail| *tail >= next)).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(_)) => return Err(Failure::Closed),
                    Err(_) => {}
                }
            }
            let read = self.store.read(move |connection| Ok(entries::extent(connection, partition)?)).await;
            if read?.tail >= next {
                return Ok(());
            }
            self.look_at = Instant::now() + FOREIGN_POLL;
            if self.news.is_none() {
                sleep_until(self.look_at).await;
            }
        }
    }

    async fn load_from_file(&self, max: usize) -> Result<Vec<Stored>, Failure> {
        let (partition, next) = (self.partition, self.next);
        self.store.read(move |connection| entries::load(connection, partition, next, max, CHUNK_BYTES)).await
    }
}

fn entry(stored: Stored) -> LogEntry {
    LogEntry { seq: stored.seq, at: stored.at, events: vec![decode(&stored.body)], body: stored.body }
}
