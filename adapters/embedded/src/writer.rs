//! The writer thread. It makes all waiting changes in one transaction, with one fsync.
//!
//! While a group is written, the next one gathers in the inbox; a single change does not wait for others. A change that
//! fails is rolled back to its own savepoint and does not affect the others. If the transaction fails, every caller of
//! the group gets the error, nothing of the group is stored, and the next group starts a new transaction.

use std::thread::{Builder, JoinHandle};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::StoreError;

/// Changes that may wait for the writer. Further callers wait for room. As many as one group has, so that the next
/// group is complete when the disk is ready.
const INBOX_CHANGES: usize = GROUP_CHANGES;

/// Maximum number of changes of a transaction: with more, the fsync is no longer most of the cost of a change.
const GROUP_CHANGES: usize = 1_000;

/// Maximum number of bytes of a transaction: half of the write-ahead log between two checkpoints, and what a slow disk
/// (40 MB/s) writes in a fifth of a second.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A handle of the writer thread. The thread ends after [`Writer::stop`], or when this is dropped.
pub(super) struct Writer {
    inbox: mpsc::Sender<WriterMessage>,
}

enum WriterMessage {
    Change(Box<dyn Change>),
    Stop,
}

impl Writer {
    /// Starts the thread. It calls `release`, which releases the locks, after its last transaction.
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
    /// `change` runs inside the transaction. `on_durable` runs on the writer thread right after the commit, in the
    /// order of the changes, whether or not the caller still waits.
    pub(super) async fn write<T: Send + 'static, R: Send + 'static>(
        &self,
        bytes: usize,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        on_durable: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        let (reply, answer) = oneshot::channel();
        let pending =
            PendingChange { bytes, change: Some(change), result: Err(StoreError::Closed), on_durable, reply };
        self.inbox.send(WriterMessage::Change(Box::new(pending))).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Ends the writer after it has completed the waiting changes.
    pub(super) async fn stop(&self) {
        // An error means that the writer has ended already.
        let _ = self.inbox.send(WriterMessage::Stop).await;
    }
}

/// A change that is made inside the transaction, and answered when the result of the transaction is known.
trait Change: Send {
    fn bytes(&self) -> usize;

    /// Makes the change. Fails only if the whole transaction is lost.
    fn make(&mut self, connection: &Connection) -> rusqlite::Result<()>;

    /// Sends the caller the result of its change, or that of the failed transaction.
    fn answer(self: Box<Self>, transaction: Result<(), StoreError>);
}

/// A [`Change`] with its caller's functions and reply channel.
struct PendingChange<M, D, T, R> {
    bytes: usize,
    change: Option<M>,
    result: Result<T, StoreError>,
    on_durable: D,
    reply: oneshot::Sender<Result<R, StoreError>>,
}

impl<M, D, T, R> Change for PendingChange<M, D, T, R>
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
        let Some(change) = self.change.take() else { return Ok(()) };
        run(connection, "SAVEPOINT change")?;
        match change(connection) {
            Ok(value) => self.result = Ok(value),
            // After some errors SQLite has rolled the transaction back, and the savepoint is gone.
            Err(error) if connection.is_autocommit() => return Err(error),
            Err(error) => {
                run(connection, "ROLLBACK TO change")?;
                self.result = Err(error.into());
            }
        }
        run(connection, "RELEASE change")
    }

    fn answer(self: Box<Self>, transaction: Result<(), StoreError>) {
        let result = transaction.and(self.result).map(self.on_durable);
        // The caller may have stopped waiting.
        let _ = self.reply.send(result);
    }
}

fn write_until_stopped(
    mut requests: mpsc::Receiver<WriterMessage>,
    connection: Connection,
    release: impl FnOnce(),
) {
    while let Some(mut group) = gather(&mut requests) {
        let result = commit(&connection, &mut group);
        for change in group {
            change.answer(result.clone());
        }
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "cannot close the data file cleanly; nothing is lost");
    }
    release();
}

/// Waits for a change, and takes those that wait behind it. `None` after the writer was stopped and all changes are
/// made.
fn gather(requests: &mut mpsc::Receiver<WriterMessage>) -> Option<Vec<Box<dyn Change>>> {
    let mut group = Vec::new();
    let mut bytes = 0;
    let mut message = Some(requests.blocking_recv()?);
    while let Some(next) = message {
        match next {
            WriterMessage::Stop => requests.close(),
            WriterMessage::Change(change) => {
                bytes += change.bytes();
                group.push(change);
            }
        }
        let is_full = group.len() >= GROUP_CHANGES || bytes >= GROUP_BYTES;
        message = if is_full { None } else { requests.try_recv().ok() };
    }
    Some(group)
}

fn commit(connection: &Connection, group: &mut [Box<dyn Change>]) -> Result<(), StoreError> {
    if group.is_empty() {
        return Ok(());
    }
    let result = transact(connection, group).map_err(StoreError::from);
    // A failed commit leaves the transaction open.
    if !connection.is_autocommit()
        && let Err(error) = run(connection, "ROLLBACK")
    {
        tracing::error!(%error, "cannot roll back a failed group of writes; the next group tries again");
    }
    result
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
    use crate::lock::FileLock;

    fn directory(dir: &tempfile::TempDir) -> DataDirectory {
        DataDirectory::open(dir.path(), Access::ReadWrite).expect("opens")
    }

    /// Returns a writer on a table of numbers, and a connection to read it.
    fn numbers(dir: &tempfile::TempDir) -> (Writer, JoinHandle<()>, Connection) {
        let open = || Connection::open(dir.path().join("numbers")).expect("opens");
        let connection = open();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE numbers (n CHECK (n > 0))")
            .expect("SQL");
        let lock = FileLock::whole(&directory(dir)).expect("free");
        let (writer, thread) = Writer::start(connection, move || drop(lock)).expect("starts");
        (writer, thread, open())
    }

    fn insert(n: i64) -> impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send + 'static {
        move |connection| connection.execute("INSERT INTO numbers VALUES (?1)", [n]).map(|_| n)
    }

    /// Writes 1, `odd` and 2 as one group: they arrive while the writer works on another one.
    async fn write_together(
        writer: &Writer,
        odd: impl FnOnce(&Connection) -> rusqlite::Result<i64> + Send + 'static,
    ) -> [Result<i64, StoreError>; 3] {
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
    async fn failed_change_does_not_affect_the_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, _thread, connection) = numbers(&dir);
        let half_done = |connection: &Connection| {
            insert(77)(connection)?;
            insert(-1)(connection)
        };
        let [first, odd, second] = write_together(&writer, half_done).await;
        assert_eq!((first.ok(), second.ok()), (Some(1), Some(2)));
        assert!(matches!(odd, Err(StoreError::Refused(_))), "{odd:?}");
        assert_eq!(stored(&connection), [1, 2], "nothing of the odd one is stored");
    }

    #[tokio::test]
    async fn failed_transaction_is_an_error_of_every_caller_and_the_next_one_succeeds() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, _thread, connection) = numbers(&dir);
        // SQLite does the same when a disk fails in the middle of a transaction.
        let lose = |connection: &Connection| {
            connection.execute_batch("ROLLBACK")?;
            insert(-1)(connection)
        };
        let written = write_together(&writer, lose).await;
        assert!(written.iter().all(Result::is_err), "{written:?}");
        assert!(stored(&connection).is_empty());
        assert_eq!(writer.write(0, insert(3), |n| n).await.expect("the next one succeeds"), 3);
        assert_eq!(stored(&connection), [3]);
    }

    #[tokio::test]
    async fn stopped_writer_completes_waiting_changes_and_releases_the_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let (writer, thread, connection) = numbers(&dir);
        let (written, ()) = tokio::join!(writer.write(0, insert(1), |n| n), writer.stop());
        assert_eq!(written.expect("it was sent first"), 1);
        thread.join().expect("ends");
        assert!(matches!(writer.write(0, insert(2), |n| n).await, Err(StoreError::Closed)));
        assert_eq!(stored(&connection), [1]);
        FileLock::whole(&directory(&dir)).expect("it is free");
    }
}
