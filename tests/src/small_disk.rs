//! A disk of a few megabytes, to be filled.
//!
//! It is a file system in memory that only one process sees, and whoever enters that process's view: nothing is left
//! behind when the test ends, however it ends, and no privilege is needed where the kernel lets users make their own
//! namespaces.

#![expect(clippy::panic, reason = "a test without its disk has failed")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The disk, until this is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    keeper: Child,
    owns_users: bool,
    mounted: PathBuf,
}

/// What such a file system hands out at a time, in bytes.
const PAGE: usize = 4096;

/// Mounts the disk over a folder, and keeps it while its standard input is open.
const KEEPER: &str = r#"mount -t tmpfs -o "size=$1" small "$2" && echo ready && cat"#;

impl SmallDisk {
    /// A disk of this many kibibytes, seen at this folder, which must exist.
    ///
    /// # Panics
    /// When the system does not allow it.
    pub fn new(folder: &Path, kibibytes: u32) -> Self {
        for owns_users in [false, true] {
            if let Some(keeper) = keeper(folder, kibibytes, owns_users) {
                return Self { keeper, owns_users, mounted: folder.to_owned() };
            }
        }
        panic!("neither this user nor a user namespace of its own may mount a file system here")
    }

    /// Where it is, for those who see it.
    pub fn path(&self) -> &Path {
        &self.mounted
    }

    /// The beginning of a command line that sees the disk.
    pub fn enter(&self) -> Vec<String> {
        let mut line =
            vec!["nsenter".to_owned(), format!("--target={}", self.keeper.id()), "--mount".to_owned()];
        if self.owns_users {
            line.extend(["--user".to_owned(), "--preserve-credentials".to_owned()]);
        }
        line
    }

    /// The same place, for everybody else.
    pub fn outside(&self) -> PathBuf {
        let inside = self.mounted.strip_prefix("/").unwrap_or(&self.mounted);
        PathBuf::from(format!("/proc/{}/root", self.keeper.id())).join(inside)
    }

    /// Fills it up, but for this many kibibytes.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn fill_but(&self, kibibytes: u64) {
        let filled = File::create(self.outside().join("filler")).and_then(|mut filler| {
            let mut written = 0;
            while filler.write_all(&[b'x'; PAGE]).is_ok() {
                written += PAGE as u64;
            }
            filler.set_len(written.saturating_sub(kibibytes * 1024))
        });
        filled.unwrap_or_else(|error| panic!("the disk cannot be filled: {error}"));
    }

    /// Gives the space back.
    ///
    /// # Panics
    /// When that cannot be done.
    pub fn free(&self) {
        let filler = self.outside().join("filler");
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
    // It said nothing, so it has ended or is about to.
    let _ = child.wait();
    None
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Closing its standard input ends `cat`, and the disk goes with the last process that sees it.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}
