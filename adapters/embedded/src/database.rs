//! The file itself: `<dir>/longshore.db`, its format, and how connections to it are set up.
//!
//! A file is ours by its `application_id`, and readable by its `user_version`; anything else is refused before a
//! byte of it is changed. Who may write is decided by the [locks](super::lock) before this is asked.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::OpenError;
use super::directory::DataDirectory;

/// "LoSh": marks an SQLite file as ours, also for `file(1)`.
const APPLICATION_ID: i32 = 0x4C6F_5368;

/// The format that this code writes, and the newest it reads.
const VERSION: i32 = 1;

/// What format 1 looks like.
const SCHEMA: &str = include_str!("schema.sql");

/// Time limit for the write lock. One process writes at a time, at most 8 MiB in a transaction, which takes a fifth of a second
/// on a slow disk. SQLite has no fair queue, so with some dozens of writers one may wait for seconds. A write that then fails
/// is transient: a leader repeats it until it succeeds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// When the write-ahead log is copied into the file: 4,000 pages are 16 MiB. Rare enough that pages which change
/// with every append are copied once for many; small enough to copy in a fraction of a second.
const WAL_CHECKPOINT_PAGES: u32 = 4_000;

/// What the write-ahead log shrinks to after a burst, in bytes; below it the space is used again.
const WAL_KEPT_BYTES: u32 = 64 * 1024 * 1024;

/// More than all statements of the adapters together, so that each is prepared once.
const PREPARED_STATEMENTS: usize = 64;

/// Opens the file for the one writer of this process, and fills it if it is empty. The directory is [prepared](DataDirectory::prepare),
/// so SQLite creates no database file with rights of its own choice.
pub(super) fn open_writer(directory: &DataDirectory) -> Result<Connection, OpenError> {
    let path = &directory.database();
    let broken = |source| broken(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = connect(&directory.resolved_database(), flags).map_err(broken)?;
    let fresh = identify(path, &connection)? == Identity::Fresh;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(broken)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned() });
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES).map_err(broken)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES).map_err(broken)?;
    if fresh {
        create(&connection).map_err(broken)?;
    }
    Ok(connection)
}

/// Opens the file for reading, after [`check`] or [`open_writer`] found it good. The path has no links in it.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Whether a file that is there is one that this code can read.
pub(super) fn check(directory: &DataDirectory) -> Result<(), OpenError> {
    directory.check_database()?;
    let path = &directory.database();
    let connection = open_reader(&directory.resolved_database()).map_err(|source| broken(path, source))?;
    match identify(path, &connection)? {
        Identity::Ours => Ok(()),
        Identity::Fresh => Err(OpenError::Absent { path: path.to_owned() }),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Every connection is used by one thread at a time, so SQLite need not lock for itself.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(connection)
}

#[derive(Debug, Eq, PartialEq)]
enum Identity {
    Fresh,
    Ours,
}

fn identify(path: &Path, connection: &Connection) -> Result<Identity, OpenError> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(|e| broken(path, e));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let found = number("PRAGMA user_version")?;
    match number("PRAGMA application_id")? {
        APPLICATION_ID if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        APPLICATION_ID => Ok(Identity::Ours),
        0 if found == 0 && tables == 0 => Ok(Identity::Fresh),
        _ => Err(OpenError::NotOurs { path: path.to_owned() }),
    }
}

/// All or nothing: a process that dies in here leaves a file without a table, which the next one fills.
fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO store (incarnation) VALUES (lower(hex(randomblob(16))))", [])?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn broken(path: &Path, source: rusqlite::Error) -> OpenError {
    match source.sqlite_error_code() {
        // Also for reading, the directory must be writable unless its shared memory is there: somebody else's.
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            OpenError::Denied { path: path.to_owned() }
        }
        Some(ErrorCode::NotADatabase) => OpenError::NotOurs { path: path.to_owned() },
        _ => OpenError::Database { path: path.to_owned(), source: Box::new(source) },
    }
}
