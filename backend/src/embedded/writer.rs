//! The one thread that writes: whatever waits for it is written in one transaction, with one fsync.
//!
//! While a group is on its way to the disk, the next one gathers in the inbox; a lone write waits for nobody. A
//! change that fails is undone to its own savepoint and spoils no other. When the transaction itself fails,
//! everybody in the group is told why, nothing of it is kept, and the next group begins afresh.

use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::lock::Lock;

/// How many changes may wait for the writer; whoever comes next waits for room. As many as one group takes, so
/// that the next group is complete when the disk is ready for it.
const INBOX_CHANGES: usize = GROUP_CHANGES;

/// How many changes share a transaction at most: past this, an fsync is no longer what a change costs.
const GROUP_CHANGES: usize = 1_000;

/// How many bytes share a transaction at most: half of what the write-ahead log holds between two checkpoints, and
/// no more than a slow disk (40 MB/s) takes in a fifth of a second.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The way to the writer. The thread ends after [`Writer::stop`], or when this is dropped.
pub(super) struct Writer {
    inbox: mpsc::Sender<Message>,
}

enum Message {
    Change(Box<dyn Change>),
    Stop,
}

impl Writer {
    /// Starts the thread. It holds the lock until its last transaction is closed.
    pub(super) fn start(connection: Connection, lock: Lock) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (inbox, requests) = mpsc::channel(INBOX_CHANGES);
        let thread = Builder::new()
            .name("longshore-writer".to_owned())
            .spawn(move || write_until_stopped(requests, connection, lock))?;
        Ok((Self { inbox }, thread))
    }

    /// Makes a change and waits until it is durable.
    ///
    /// `make` runs inside the transaction; `durable` runs on the writer's thread right after the commit, in the
    /// order of the changes, whether or not the caller still waits.
    pub(super) async fn write<T: Send + 'static, R: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        durable: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let (reply, answer) = oneshot::channel();
        let change = Pending { bytes, make: Some(make), made: Err(Failure::Closed), durable, reply };
        self.inbox.send(Message::Change(Box::new(change))).await.map_err(|_| Failure::Closed)?;
        answer.await.unwrap_or(Err(Failure::Closed))
    }

    /// Lets the writer finish what waits, and then end.
    pub(super) async fn stop(&self) {
        // A writer that is gone already has nothing left to finish.
        let _ = self.inbox.send(Message::Stop).await;
    }
}

/// A change in two halves: made inside the transaction, answered once the fate of the transaction is known.
trait Change: Send {
    fn bytes(&self) -> usize;

    /// Fails only if the whole transaction is lost.
    fn make(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    fn answer(self: Box<Self>, fate: Result<(), Failure>);
}

struct Pending<M, D, T, R> {
    bytes: usize,
    make: Option<M>,
    made: Result<T, Failure>,
    durable: D,
    reply: oneshot::Sender<Result<R, Failure>>,
}

impl<M, D, T, R> Change for Pending<M, D, T, R>
where
    M: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    D: FnOnce(T) -> R + Send,
    T: Send,
    R: Send,
{
    fn bytes(&self) -> usize {
        self.bytes
    }

    fn make(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Some(make) = self.make.take() else { return Ok(()) };
        run(connection, "SAVEPOINT change")?;
        match make(connection) {
            Ok(made) => self.made = Ok(made),
            // Some errors make SQLite give up the transaction; then there is no savepoint to go back to.
            Err(error) if connection.is_autocommit() => return Err(error),
            Err(error) => {
                run(connection, "ROLLBACK TO change")?;
                self.made = Err(error.into());
            }
        }
        run(connection, "RELEASE change")
    }

    fn answer(self: Box<Self>, fate: Result<(), Failure>) {
        let result = fate.and(self.made).map(self.durable);
        // A caller that went away does not need the answer.
        let _ = self.reply.send(result);
    }
}

fn write_until_stopped(mut requests: mpsc::Receiver<Message>, connection: Connection, lock: Lock) {
    while let Some(mut group) = gather(&mut requests) {
        let fate = commit(&connection, &mut group);
        for change in group {
            change.answer(fate.clone());
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the data file was not closed cleanly; nothing is lost");
    }
    drop(lock);
}

/// Waits for a change and takes whatever else is there. Nothing once the writer was stopped and all is done.
fn gather(requests: &mut mpsc::Receiver<Message>) -> Option<Vec<Box<dyn Change>>> {
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut message = Some(requests.blocking_recv()?);
    while let Some(next) = message {
        match next {
            Message::Stop => requests.close(),
            Message::Change(change) => {
                bytes += change.bytes();
                group.push(change);
            }
        }
        let full = group.len() >= GROUP_CHANGES || bytes >= GROUP_BYTES;
        message = if full { None } else { requests.try_recv().ok() };
    }
    Some(group)
}

fn commit(connection: &Connection, group: &mut [Box<dyn Change>]) -> Result<(), Failure> {
    if group.is_empty() {
        return Ok(());
    }
    let fate = transact(connection, group).map_err(Failure::from);
    if let Err(failure) = &fate {
        tracing::error!(%failure, changes = group.len(), "a group of writes failed");
        // A commit that failed leaves the transaction open.
        if !connection.is_autocommit()
            && let Err(error) = run(connection, "ROLLBACK")
        {
            tracing::error!(%error, "a failed group of writes could not be rolled back");
        }
    }
    fate
}

fn transact(connection: &Connection, group: &mut [Box<dyn Change>]) -> rusqlite::Result<()> {
    run(connection, "BEGIN IMMEDIATE")?;
    for change in group {
        change.make(connection)?;
    }
    run(connection, "COMMIT")
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([])?;
    Ok(())
}
