//! The one thread that writes: whatever waits for it is written in one transaction, with one fsync.
//!
//! While a group is on its way to the disk, the next one gathers in the inbox; a lone write waits for nobody. A
//! change that fails is undone to its own savepoint and spoils no other. When the transaction itself fails,
//! everybody in the group is told why, nothing of it is kept, and the next group begins afresh.

use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;

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
    /// Starts the thread. It calls `release`, which gives the locks back, once its last transaction is closed.
    pub(super) fn start(
        connection: Connection,
        release: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (inbox, requests) = mpsc::channel(INBOX_CHANGES);
        let thread = Builder::new()
            .name("longshore-writer".to_owned())
            .spawn(move || write_until_stopped(requests, connection, release))?;
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

fn write_until_stopped(
    mut requests: mpsc::Receiver<Message>,
    connection: Connection,
    release: impl FnOnce(),
) {
    while let Some(mut group) = gather(&mut requests) {
        let fate = commit(&connection, &mut group);
        for change in group {
            change.answer(fate.clone());
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the data file was not closed cleanly; nothing is lost");
    }
    release();
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
    // A commit that failed leaves the transaction open.
    if !connection.is_autocommit()
        && let Err(error) = run(connection, "ROLLBACK")
    {
        tracing::error!(%error, "a failed group of writes could not be rolled back; the next one tries again");
    }
    fate
}

fn transact(connection: &Connection, group: &mut [Box<dyn Change>]) -> rusqlite::Result<()> {
    if !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::Access;
    use crate::directory::DataDirectory;
    use crate::lock::Lock;

    fn directory(dir: &tempfile::TempDir) -> DataDirectory {
        DataDirectory::open(dir.path(), Access::ReadWrite).expect("opens")
    }

    /// A writer on a table of numbers, and a connection to look at it.
    fn numbers(dir: &tempfile::TempDir) -> (Writer, JoinHandle<()>, Connection) {
        let open = || Connection::open(dir.path().join("numbers")).expect("opens");
        let connection = open();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE numbers (n CHECK (n > 0))")
            .expect("SQL");
        let lock = Lock::whole(&directory(dir)).expect("free");
        let (writer, thread) = Writer::start(connection, move || drop(lock)).expect("starts");
        (writer, thread, open())
    }

    fn insert(n: i64) -> impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send + 'static {
        move |connection| connection.execute("INSERT INTO numbers VALUES (?1)", [n]).map(|_| n)
    }

    /// Hands over 1, `odd` and 2 as one group: they come while the writer is at work on another one.
    async fn write_together(
        writer: &Writer,
        odd: impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send + 'static,
    ) -> [Result<i64, Failure>; 3] {
        let (started, has_started) = oneshot::channel();
        let (work, end_of_work) = sync_channel::<()>(0);
        let before =
            writer.write(0, move |_| Ok(started.send(()).is_ok() && end_of_work.recv().is_err()), |ok| ok);
        let together = async {
            has_started.await.expect("starts");
            let (first, odd, second, ()) = tokio::join!(
                writer.write(0, insert(1), |n| n),
                writer.write(0, odd, |n| n),
                writer.write(0, insert(2), |n| n),
                async { drop(work) },
            );
            [first, odd, second]
        };
        tokio::join!(before, together).1
    }

    fn stored(connection: &Connection) -> Vec<i64> {
        let mut query = connection.prepare("SELECT n FROM numbers ORDER BY n").expect("SQL");
        query.query_map([], |row| row.get(0)).expect("reads").map(|n| n.expect("a number")).collect()
    }

    #[tokio::test]
    async fn a_change_that_fails_spoils_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, _thread, connection) = numbers(&dir);
        let half_done = |connection: &Connection| {
            insert(77)(connection)?;
            insert(-1)(connection)
        };
        let [first, odd, second] = write_together(&writer, half_done).await;
        assert_eq!((first.ok(), second.ok()), (Some(1), Some(2)));
        assert!(matches!(odd, Err(Failure::Refused(_))), "{odd:?}");
        assert_eq!(stored(&connection), [1, 2], "nothing of the odd one is left");
    }

    #[tokio::test]
    async fn a_transaction_that_is_lost_is_told_to_everybody_in_it_and_the_next_one_goes_on() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, _thread, connection) = numbers(&dir);
        // What SQLite does on its own when a disk fails in the middle of a transaction.
        let lose = |connection: &Connection| {
            connection.execute_batch("ROLLBACK")?;
            insert(-1)(connection)
        };
        let written = write_together(&writer, lose).await;
        assert!(written.iter().all(Result::is_err), "{written:?}");
        assert!(stored(&connection).is_empty());
        assert_eq!(writer.write(0, insert(3), |n| n).await.expect("goes on"), 3);
        assert_eq!(stored(&connection), [3]);
    }

    #[tokio::test]
    async fn a_stopped_writer_finishes_what_waits_and_gives_the_lock_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, thread, connection) = numbers(&dir);
        let (written, ()) = tokio::join!(writer.write(0, insert(1), |n| n), writer.stop());
        assert_eq!(written.expect("it was there first"), 1);
        thread.join().expect("ends");
        assert!(matches!(writer.write(0, insert(2), |n| n).await, Err(Failure::Closed)));
        assert_eq!(stored(&connection), [1]);
        Lock::whole(&directory(&dir)).expect("it is free");
    }
}
