//! Records of servers files, in files of `longshore/` in the user's state directory. The file `trusted` lists those that the
//! user trusts, `warned` those whose warnings the user has seen.
//!
//! Each line has the digest of path and content, and the path. The file is read only if it is a regular file of this user
//! that no other user can write. It is replaced as a whole, so that a link in its place is never followed.

use std::fs::{DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use longshore_proto::Digest;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tempfile::NamedTempFile;

/// Number of records, more than a user has projects. The oldest are removed.
const MAX_RECORDS: usize = 1_000;

/// Number of bytes that are read: [`MAX_RECORDS`] of the longest usual paths take less than a quarter.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Permission bits for writing by group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Result of the search for a servers file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RecordMatch {
    /// There is a record with this content at this path.
    Same,
    /// There is a record with another content at this path.
    OtherContent,
    /// There is no record for this path.
    None,
}

/// A file of records.
pub(super) struct ServersFileRecords {
    folder: PathBuf,
    name: &'static str,
}

impl ServersFileRecords {
    /// Returns the records of the user; `None` if the environment does not define the state directory.
    pub(super) fn of_user(name: &'static str, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        // The specification ignores relative paths; one would lead into the current directory.
        let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
        Some(Self { folder: state.join("longshore"), name })
    }

    /// Searches the record of a file. The error is a sentence for the user.
    pub(super) fn look_up(&self, path: &Path, digest: Digest) -> Result<RecordMatch, String> {
        let (digest, place) = (digest.to_string(), line_of(path));
        let lines = self.lines().map_err(|error| self.unusable("read", &error))?;
        let found = lines.iter().filter_map(|line| line.split_once(' ')).find(|(_, known)| *known == place);
        Ok(match found {
            Some((known, _)) if known == digest => RecordMatch::Same,
            Some(_) => RecordMatch::OtherContent,
            None => RecordMatch::None,
        })
    }

    /// Adds a record, which replaces one with an earlier content of the file.
    pub(super) fn add(&self, path: &Path, digest: Digest) -> Result<(), String> {
        self.replace(&line_of(path), digest).map_err(|error| self.unusable("write", &error))
    }

    fn replace(&self, place: &str, digest: Digest) -> io::Result<()> {
        let mut lines = self.lines()?;
        lines.retain(|line| line.split_once(' ').is_some_and(|(_, known)| known != place));
        lines.push(format!("{digest} {place}"));
        let first = lines.len().saturating_sub(MAX_RECORDS);
        let text: String = lines.iter().skip(first).map(|line| format!("{line}\n")).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // A temporary file has the permissions 0600, and the rename replaces a link instead of following it.
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(self.file())?;
        Ok(())
    }

    fn lines(&self) -> io::Result<Vec<String>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::open(self.file(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Vec::new()),
            Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link")),
            Err(error) => return Err(error.into()),
        };
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(io::Error::other("another user owns it or can write to it"));
        }
        let mut text = String::new();
        file.take(FILE_LIMIT_BYTES).read_to_string(&mut text)?;
        Ok(text.lines().map(ToOwned::to_owned).collect())
    }

    fn file(&self) -> PathBuf {
        self.folder.join(self.name)
    }

    fn unusable(&self, doing: &str, error: &io::Error) -> String {
        format!("cannot {doing} {}, which lists servers files: {error}", self.file().display())
    }
}

/// Returns a path in one line.
fn line_of(path: &Path) -> String {
    path.display().to_string().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn records(folder: &tempfile::TempDir) -> ServersFileRecords {
        ServersFileRecords { folder: folder.path().join("state/longshore"), name: "trusted" }
    }

    #[test]
    fn record_of_a_path_is_replaced_by_a_new_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let (records, place) = (records(&folder), Path::new("/project/.mcp.json"));
        let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
        assert_eq!(records.look_up(place, old), Ok(RecordMatch::None));
        records.add(place, old).expect("writes");
        records.add(Path::new("/other\n/.mcp.json"), new).expect("writes");
        assert_eq!(records.look_up(place, old), Ok(RecordMatch::Same));
        assert_eq!(records.look_up(place, new), Ok(RecordMatch::OtherContent));
        records.add(place, new).expect("writes");
        assert_eq!(records.look_up(place, old), Ok(RecordMatch::OtherContent));
        let mode = |path: &Path| path.metadata().expect("exists").mode() & 0o777;
        assert_eq!((mode(&records.folder), mode(&records.file())), (0o700, 0o600));
        assert_eq!(std::fs::read_to_string(records.file()).expect("reads").lines().count(), 2);
    }

    #[test]
    fn records_that_other_users_could_write_are_ignored() {
        let folder = tempfile::tempdir().expect("a folder");
        let (records, place, digest) = (records(&folder), Path::new("/x"), Digest::of(b"x"));
        records.add(place, digest).expect("writes");
        std::fs::set_permissions(records.file(), Permissions::from_mode(0o666)).expect("sets");
        assert!(records.look_up(place, digest).is_err_and(|error| error.contains("can write")));
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(records.file(), &elsewhere).expect("renames");
        symlink(&elsewhere, records.file()).expect("links");
        assert!(records.look_up(place, digest).is_err_and(|error| error.contains("symbolic link")));
    }

    #[test]
    fn state_directory_is_taken_from_the_environment() {
        let folder = |pairs: &'static [(&str, &str)]| {
            let variable =
                |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            ServersFileRecords::of_user("trusted", variable)
                .map(|records| records.folder.display().to_string())
        };
        assert_eq!(folder(&[]), None);
        assert_eq!(folder(&[("HOME", "/home/me")]).as_deref(), Some("/home/me/.local/state/longshore"));
        let both = folder(&[("HOME", "/home/me"), ("XDG_STATE_HOME", "/state")]);
        assert_eq!(both.as_deref(), Some("/state/longshore"));
        let relative = folder(&[("HOME", "/home/me"), ("XDG_STATE_HOME", "state")]);
        assert_eq!(relative.as_deref(), Some("/home/me/.local/state/longshore"));
    }
}
