//! A disk of a few megabytes that a test can fill.
//!
//! It is a file system in memory, mounted in the mount namespace of one process. It is gone when the test ends, however it
//! ends, and needs no privilege where the kernel lets users make namespaces.

#![expect(clippy::panic, reason = "a test without its disk has failed")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A disk that exists until this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    keeper: Child,
    owns_users: bool,
    mounted: PathBuf,
}

/// The allocation unit of the file system, in bytes.
const PAGE: usize = 4096;

/// A shell command that mounts the disk over a folder, and keeps it while its standard input is open.
const KEEPER: &str = r#"mount -t tmpfs -o "size=$1" small "$2" && echo ready && cat"#;

impl SmallDisk {
    /// Makes a disk of this many kibibytes at this folder, which must exist.
    ///
    /// # Panics
    /// When the system does not allow it.
    pub fn new(folder: &Path, kibibytes: u32) -> Self {
        for owns_users in [false, true] {
            if let Some(keeper) = keeper(folder, kibibytes, owns_users) {
                return Self { keeper, owns_users, mounted: folder.to_owned() };
            }
        }
        panic!("this user may not mount a file system here, not even in a user namespace")
    }

    /// Returns the path of the disk in its mount namespace.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// Returns the beginning of a command line that runs in the mount namespace of the disk.
    pub fn command_prefix(&self) -> Vec<String> {
        let mut line =
            vec!["nsenter".to_owned(), format!("--target={}", self.keeper.id()), "--mount".to_owned()];
        if self.owns_users {
            line.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        line
    }

    /// Returns the path of the disk for processes outside of its mount namespace.
    pub fn outside_path(&self) -> PathBuf {
        let inside = self.mounted.strip_prefix("/").unwrap_or(&self.mounted);
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(inside)
    }

    /// Fills the disk except for this many kibibytes.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn fill_except(&self, kibibytes: u64) {
        let filled = File::create(self.outside_path().join("filler")).and_then(|mut filler| {
            let mut written = 0;
            while filler.write_all(&[b'x'; PAGE]).is_ok() {
                written += PAGE as u64;
            }
            filler.set_len(written.saturating_sub(kibibytes * 1024))
        });
        filled.unwrap_or_else(|error| panic!("cannot fill the disk: {error}"));
    }

    /// Deletes what fills the disk.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn free(&self) {
        let filler = self.outside_path().join("filler");
        std::fs::remove_file(&filler).unwrap_or_else(|error| panic!("{}: {error}", filler.display()));
    }
}

fn keeper(folder: &Path, kibibytes: u32, owns_users: bool) -> Option<Child> {
    let mut command = Command::new("unshare");
    if owns_users {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", KEEPER, "keeper", &format!("{kibibytes}k")]).arg(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let mut line = String::new();
    let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
    if matches!(read, Some(Ok(_))) && line.trim() == "ready" {
        return Some(child);
    }
    // Without a `ready`, the command has failed and ends.
    let _ = child.wait();
    None
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Closing its standard input ends `cat`, and the kernel removes the disk with its namespace.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
