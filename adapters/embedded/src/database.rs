//! The database file `<dir>/longshore.db`: its format, and the setup of connections to it.
//!
//! The `application_id` identifies a file of Longshore, and the `user_version` its format. Any other file is refused
//! before a byte of it is changed. The caller has taken the [locks](super::lock) before.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::directory::DataDirectory;
use super::open_error::OpenError;

/// "LoSh": identifies an SQLite file of Longshore, also for `file(1)`.
const APPLICATION_ID: i32 = 0x4C6F_5368;

/// The format that this code writes, and the newest it reads.
const VERSION: i32 = 1;

/// The tables of format 1.
const SCHEMA: &str = include_str!("schema.sql");

/// Time limit for the write lock. One process writes at a time, at most 8 MiB in a transaction, which takes a fifth of
/// a second on a slow disk. SQLite has no fair queue, so with some dozens of writers one may wait for seconds. A write
/// that then fails is transient: a leader repeats it until it succeeds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(20);

/// Size at which the write-ahead log is copied into the file: 4,000 pages are 16 MiB. Rare enough that pages which
/// change with every append are copied once for many appends, and small enough to copy in a fraction of a second.
const WAL_CHECKPOINT_PAGES: u32 = 4_000;

/// Size in bytes to which the write-ahead log is truncated after a burst. Smaller files are reused as they are.
const WAL_KEPT_BYTES: u32 = 64 * 1024 * 1024;

/// More than all statements of the adapters together, so that each is prepared once.
const PREPARED_STATEMENTS: usize = 64;

/// Opens the file for the writer of this process, and creates the tables if it is empty. The directory is
/// [prepared](DataDirectory::prepare), so SQLite does not create the file with permissions of its own choice.
pub(super) fn open_writer(directory: &DataDirectory) -> Result<Connection, OpenError> {
    let path = &directory.database();
    let broken = |source| broken(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = connect(&directory.resolved_database(), flags).map_err(broken)?;
    let is_fresh = identify(path, &connection)? == FileIdentity::Fresh;
    let mode: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(broken)?;
    if mode != "wal" {
        return Err(OpenError::NoWriteAheadLog { path: path.to_owned() });
    }
    connection.pragma_update(None, "synchronous", "FULL").map_err(broken)?;
    connection.pragma_update(None, "wal_autocheckpoint", WAL_CHECKPOINT_PAGES).map_err(broken)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES).map_err(broken)?;
    if is_fresh {
        create(&connection).map_err(broken)?;
    }
    Ok(connection)
}

/// Opens the file for reading, after [`check`] or [`open_writer`] accepted it. The path has no links in it.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Fails unless the file exists and this code can read it.
pub(super) fn check(directory: &DataDirectory) -> Result<(), OpenError> {
    directory.check_database()?;
    let path = &directory.database();
    let connection = open_reader(&directory.resolved_database()).map_err(|source| broken(path, source))?;
    match identify(path, &connection)? {
        FileIdentity::Longshore => Ok(()),
        FileIdentity::Fresh => Err(OpenError::Absent { path: path.to_owned() }),
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // One thread at a time uses a connection, so SQLite needs no mutex.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(connection)
}

/// The accepted origins of a file.
#[derive(Debug, Eq, PartialEq)]
enum FileIdentity {
    /// The file is empty.
    Fresh,
    /// Longshore wrote the file, in a known format.
    Longshore,
}

fn identify(path: &Path, connection: &Connection) -> Result<FileIdentity, OpenError> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i32>(0)).map_err(|e| broken(path, e));
    let tables = number("SELECT count(*) FROM sqlite_schema")?;
    let found = number("PRAGMA user_version")?;
    match number("PRAGMA application_id")? {
        APPLICATION_ID if found > VERSION => {
            Err(OpenError::Newer { path: path.to_owned(), found, known: VERSION })
        }
        APPLICATION_ID => Ok(FileIdentity::Longshore),
        0 if found == 0 && tables == 0 => Ok(FileIdentity::Fresh),
        _ => Err(OpenError::NotOurs { path: path.to_owned() }),
    }
}

/// Creates the tables in one transaction: a process that is killed meanwhile leaves an empty file, which the next one
/// fills.
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
        // Also a reader needs write permission for the directory, unless another process has created the shared memory
        // file.
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
            OpenError::Denied { path: path.to_owned() }
        }
        Some(ErrorCode::NotADatabase) => OpenError::NotOurs { path: path.to_owned() },
        _ => OpenError::Database { path: path.to_owned(), source: Box::new(source) },
    }
}
