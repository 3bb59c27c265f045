//! The data directory and the files in it: opened without following symbolic links, and private to their owner.
//!
//! A data directory may hold files that another person prepared, such as those of a cloned repository. Names are
//! therefore looked up relative to the descriptor of the directory, anything but a regular file is refused, and
//! permissions are checked and changed on opened descriptors. SQLite opens its own files; it does so without following
//! links, and gives its write-ahead log the permissions of the database file, which is created here before.

use std::fmt::Write as _;
use std::fs::{DirBuilder, File};
use std::io::{Error as IoError, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use longshore_proto::Partition;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use tracing::warn;

use super::open_error::OpenError;

/// The access of a process to a data directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Write access to the whole directory: no other process may write. Creates the directory and the file if absent.
    ReadWrite,
    /// Write access to partitions, each of which is [held](crate::Embedded::hold) before it is led, beside other processes.
    /// Creates the directory and the file if absent.
    Shared,
    /// Read access, beside other processes or without one. Every change is refused.
    ReadOnly,
}

/// Name of the lock file.
pub(super) const LOCK_FILE: &str = "lock";

/// Name of the file that is locked while the directory is prepared.
pub(super) const SETUP_LOCK_FILE: &str = "lock-setup";

/// Returns the name of the file that is locked by the process that executes the runs of a partition.
pub(super) fn partition_lock_file(partition: Partition) -> String {
    format!("{LOCK_FILE}-{partition}")
}

/// Name of the database file.
pub(super) const DATABASE_FILE: &str = "longshore.db";

/// Every file that this program or SQLite creates in a data directory, apart from the locks of partitions.
const FILES: [&str; 6] = [
    LOCK_FILE,
    SETUP_LOCK_FILE,
    DATABASE_FILE,
    "longshore.db-wal",
    "longshore.db-shm",
    "longshore.db-journal",
];

/// Permissions of a directory: all for its owner, none for others.
const PRIVATE_DIRECTORY: u32 = 0o700;

/// Permissions of a file: read and write for its owner, none for others.
const PRIVATE_FILE: u32 = 0o600;

/// Permissions of group and others.
const PERMISSIONS_OF_OTHERS: u32 = 0o077;

/// A data directory, held by its descriptor.
pub(super) struct DataDirectory {
    handle: File,
    /// The path as the user wrote it, for messages.
    path: PathBuf,
    /// The same directory with every link in its path resolved: SQLite refuses all others.
    resolved: PathBuf,
}

/// Files and directories whose permissions were too wide, or that belong to another user.
#[derive(Default)]
struct PrivacyReport {
    /// `name (0644)`, for each whose permissions for others were removed.
    tightened: Vec<String>,
    /// `name (0644)`, for each that others can still read or write.
    still_wide: Vec<String>,
    /// `name (user 1001)`, for each that belongs to another user.
    foreign: Vec<String>,
}

impl DataDirectory {
    /// Opens the directory. For writing it is created if it is absent, and the permissions of others are removed.
    pub(super) fn open(dir: &Path, access: Access) -> Result<Self, OpenError> {
        // A slash at the end would make the system follow a link.
        let path: PathBuf = dir.components().collect();
        let handle = match (open_directory(&path), access) {
            (Err(Errno::NOENT), Access::ReadOnly) => {
                return Err(OpenError::Absent { path: path.join(DATABASE_FILE) });
            }
            (Err(Errno::NOENT), Access::ReadWrite | Access::Shared) => {
                create(&path).map_err(|source| OpenError::unreachable(&path, &path, source))?;
                open_directory(&path)
            }
            (opened, _) => opened,
        };
        let handle = handle.map_err(|error| refused(&path, &path, error))?;
        let resolved = std::fs::canonicalize(&path)
            .map_err(|source| OpenError::Directory { path: path.clone(), source })?;
        Ok(Self { handle, path, resolved })
    }

    /// Returns the path as the user wrote it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the database file, for messages.
    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE_FILE)
    }

    /// Returns the path of the database file, for SQLite.
    pub(super) fn resolved_database(&self) -> PathBuf {
        self.resolved.join(DATABASE_FILE)
    }

    /// Opens a lock file, and creates it if it is absent. Its text does not change.
    pub(super) fn lock_file(&self, name: &str) -> Result<File, OpenError> {
        self.file(name, OFlags::RDWR | OFlags::CREATE)
    }

    /// Opens a lock file for reading, if it exists.
    pub(super) fn existing_lock_file(&self, name: &str) -> Result<Option<File>, OpenError> {
        match self.file(name, OFlags::RDONLY) {
            Ok(file) => Ok(Some(file)),
            Err(OpenError::Absent { .. }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Checks that the database file exists, is a regular file and can be read. It is not opened: closing it again
    /// would drop the locks that SQLite has on it in this process.
    pub(super) fn check_database(&self) -> Result<(), OpenError> {
        let denied = |error| refused(&self.path, &self.database(), error);
        self.check_regular(DATABASE_FILE)?;
        fs::accessat(&self.handle, DATABASE_FILE, fs::Access::READ_OK, AtFlags::empty()).map_err(denied)
    }

    /// Prepares the directory for SQLite: refuses links in the place of files, removes permissions of others, and
    /// creates the database file. Only for a process that holds `lock-setup`, or the whole directory.
    ///
    /// A database file that is private already is not opened: closing it again would drop the locks that SQLite has on
    /// it in this process.
    pub(super) fn prepare(&self) -> Result<(), OpenError> {
        let mut report = PrivacyReport::default();
        report.check(&self.handle, &self.path.display().to_string(), PRIVATE_DIRECTORY);
        for name in FILES {
            match self.check_regular(name) {
                Ok(about) if is_private(&about) => continue,
                Ok(_) => {}
                Err(OpenError::Absent { .. }) => continue,
                Err(refusal) => return Err(refusal),
            }
            match self.file(name, OFlags::RDONLY) {
                Ok(file) => report.check(&file, name, PRIVATE_FILE),
                // A file that cannot be read cannot be checked; SQLite reports it if it matters.
                Err(OpenError::Denied { .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        report.warn(&self.path);
        match self.check_regular(DATABASE_FILE) {
            Err(OpenError::Absent { .. }) => {
                self.file(DATABASE_FILE, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL).map(drop)
            }
            checked => checked.map(drop),
        }
    }

    fn check_regular(&self, name: &str) -> Result<Stat, OpenError> {
        let path = self.path.join(name);
        let found = fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| refused(&self.path, &path, error))?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Ok(found),
            FileType::Symlink => Err(OpenError::SymbolicLink { path }),
            _ => Err(OpenError::NotAFile { path }),
        }
    }

    /// Opens a regular file of the directory, with private rights if it is created.
    fn file(&self, name: &str, flags: OFlags) -> Result<File, OpenError> {
        let path = self.path.join(name);
        // Without NONBLOCK, opening a named pipe would wait for a process at its other end.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = fs::openat(&self.handle, name, flags, Mode::from_raw_mode(PRIVATE_FILE));
        let file = File::from(opened.map_err(|error| refused(&self.path, &path, error))?);
        let about = file.metadata().map_err(|source| OpenError::unreachable(&self.path, &path, source))?;
        if about.is_file() { Ok(file) } else { Err(OpenError::NotAFile { path }) }
    }
}

impl PrivacyReport {
    /// Removes the permissions of others from a file, and records what was found.
    fn check(&mut self, file: &File, name: &str, private: u32) {
        let Ok(about) = file.metadata() else { return };
        let mode = about.mode() & 0o7777;
        let named = || format!("{name} ({mode:04o})");
        let is_own = about.uid() == rustix::process::geteuid().as_raw();
        if !is_own {
            self.foreign.push(format!("{name} (user {})", about.uid()));
        }
        if mode & PERMISSIONS_OF_OTHERS == 0 {
            return;
        }
        let mut permissions = about.permissions();
        permissions.set_mode(mode & private);
        if is_own && file.set_permissions(permissions).is_ok() {
            self.tightened.push(named());
        } else {
            self.still_wide.push(named());
        }
    }

    /// Logs one line for each kind of finding.
    fn warn(&self, path: &Path) {
        let path = path.display();
        if !self.tightened.is_empty() {
            let names = joined(&self.tightened);
            warn!("other users had rights on the data directory {path}: {names}; now only its owner has");
        }
        if !self.still_wide.is_empty() {
            let names = joined(&self.still_wide);
            warn!(
                "other users have rights on the data directory {path}: {names}; take them away with chmod -R go= {path}"
            );
        }
        if !self.foreign.is_empty() {
            let (names, user) = (joined(&self.foreign), rustix::process::geteuid().as_raw());
            warn!(
                "the data directory {path} is not only of user {user}, who runs this: {names}; an owner can read and change \
                 everything in it"
            );
        }
    }
}

/// Returns true if the file belongs to this user and other users have no rights on it.
fn is_private(about: &Stat) -> bool {
    about.st_uid == rustix::process::geteuid().as_raw() && about.st_mode & PERMISSIONS_OF_OTHERS == 0
}

fn joined(names: &[String]) -> String {
    let mut text = String::new();
    for name in names {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{name}");
    }
    text
}

fn open_directory(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(CWD, path, flags, Mode::empty()).map(File::from)
}

/// Creates the directory, for its owner alone: it holds inputs and results of runs.
fn create(dir: &Path) -> Result<(), IoError> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIRECTORY).create(dir)?;
    // SQLite syncs the directory of its files, but not the parent of that directory.
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Returns the error for a name that cannot be opened. With NOFOLLOW, the system reports a link as a loop or as no
/// directory.
fn refused(dir: &Path, path: &Path, error: Errno) -> OpenError {
    let is_link = || path.symlink_metadata().is_ok_and(|found| found.is_symlink());
    if matches!(error, Errno::LOOP | Errno::NOTDIR) && is_link() {
        return OpenError::SymbolicLink { path: path.to_owned() };
    }
    let source = IoError::from(error);
    if source.kind() == ErrorKind::IsADirectory {
        return OpenError::NotAFile { path: path.to_owned() };
    }
    OpenError::unreachable(dir, path, source)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, create_dir, read_to_string, set_permissions, write};
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Embedded;

    fn mode(path: &Path) -> u32 {
        path.metadata().expect("exists").mode() & 0o777
    }

    async fn opened(dir: &Path, access: Access) -> Result<(), OpenError> {
        Embedded::open(dir, access).await?.close().await;
        Ok(())
    }

    #[tokio::test]
    async fn link_in_place_of_a_file_is_refused_and_its_target_is_unchanged() {
        for name in FILES {
            let folder = tempfile::tempdir().expect("a folder");
            let target = folder.path().join("precious.txt");
            write(&target, "precious").expect("writes");
            let dir = folder.path().join("data");
            create_dir(&dir).expect("creates");
            symlink(&target, dir.join(name)).expect("links");
            let refusal = opened(&dir, Access::ReadWrite).await.expect_err("refused");
            assert!(
                matches!(&refusal, OpenError::SymbolicLink { path } if *path == dir.join(name)),
                "{refusal:?}"
            );
            assert_eq!(read_to_string(&target).expect("reads"), "precious", "{name}");
        }
    }

    #[tokio::test]
    async fn link_to_a_missing_file_creates_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in FILES {
            let dir = folder.path().join(format!("{name}-data"));
            create_dir(&dir).expect("creates");
            let target = folder.path().join("made");
            symlink(&target, dir.join(name)).expect("links");
            assert!(opened(&dir, Access::ReadWrite).await.is_err(), "{name}");
            assert!(!target.exists(), "{name}");
        }
    }

    #[tokio::test]
    async fn link_in_place_of_the_directory_is_refused_and_its_target_is_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let target = folder.path().join("elsewhere");
        create_dir(&target).expect("creates");
        set_permissions(&target, Permissions::from_mode(0o755)).expect("sets");
        symlink(&target, folder.path().join("data")).expect("links");
        for dir in [folder.path().join("data"), folder.path().join("data/")] {
            for access in [Access::ReadWrite, Access::ReadOnly] {
                let refusal = opened(&dir, access).await.expect_err("refused");
                assert!(matches!(refusal, OpenError::SymbolicLink { .. }), "{refusal:?}");
            }
        }
        assert_eq!((mode(&target), target.read_dir().expect("reads").count()), (0o755, 0));
    }

    #[tokio::test]
    async fn directory_below_a_link_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        create_dir(folder.path().join("real")).expect("creates");
        symlink(folder.path().join("real"), folder.path().join("link")).expect("links");
        opened(&folder.path().join("link/data"), Access::ReadWrite).await.expect("opens");
        opened(&folder.path().join("link/data"), Access::ReadOnly).await.expect("opens");
    }

    #[tokio::test]
    async fn directory_and_files_are_private_whatever_their_permissions_were() {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("a/b");
        let store = Embedded::open(&dir, Access::ReadWrite).await.expect("opens");
        let wal = dir.join("longshore.db-wal");
        assert_eq!([mode(&dir), mode(&wal), mode(&dir.join(DATABASE_FILE))], [0o700, 0o600, 0o600]);
        assert_eq!(mode(&dir.join(LOCK_FILE)), 0o600);
        store.close().await;
        for name in [LOCK_FILE, DATABASE_FILE] {
            set_permissions(dir.join(name), Permissions::from_mode(0o644)).expect("sets");
        }
        set_permissions(&dir, Permissions::from_mode(0o755)).expect("sets");
        opened(&dir, Access::ReadWrite).await.expect("opens");
        assert_eq!(mode(&dir), 0o700);
        assert_eq!([mode(&dir.join(LOCK_FILE)), mode(&dir.join(DATABASE_FILE))], [0o600, 0o600]);
    }

    #[tokio::test]
    async fn pipe_in_place_of_a_file_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::mknodat(CWD, folder.path().join(LOCK_FILE), FileType::Fifo, Mode::RWXU, 0).expect("makes");
        let refusal = opened(folder.path(), Access::ReadWrite).await.expect_err("refused");
        assert!(matches!(refusal, OpenError::NotAFile { .. }), "{refusal:?}");
    }

    #[tokio::test]
    async fn foreign_text_of_a_lock_file_is_not_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join(LOCK_FILE);
        write(&lock, "notes of the owner").expect("writes");
        opened(folder.path(), Access::ReadWrite).await.expect("opens");
        assert_eq!(read_to_string(&lock).expect("reads"), "notes of the owner");
    }
}
