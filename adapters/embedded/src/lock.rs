//! Locks of a data directory and of its partitions.
//!
//! Only the kernel's advisory locks count: a lock ends with the process that holds it, however that process ends, so
//! there is nothing to clean up. The text of a lock file only names the holder.
//!
//! | file | held | by |
//! |---|---|---|
//! | `lock` | shared | every process that works in partitions of the directory |
//! | `lock` | exclusively | a process that works in the whole directory |
//! | `lock-setup` | exclusively | a process that prepares the directory, for some milliseconds |
//! | `lock-NN` | exclusively | the one process that executes the runs of partition `NN` |

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::time::Duration;

use longshore_proto::{Partition, RunId};

use super::directory::{DataDirectory, LOCK_FILE, SETUP_LOCK_FILE, partition_lock_file};
use super::open_error::OpenError;

/// Longest text of a lock file that was written here: a process id and [`NAMED_RUNS`] run ids.
const TEXT_LIMIT_BYTES: u64 = 64 * 1024;

/// Maximum number of runs that a holder names. With more it names none, which means all runs of the partition.
const NAMED_RUNS: usize = 1_000;

/// Time limit for another process to prepare the directory. That takes milliseconds, and a few seconds on a disk that
/// is slow to sync.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two attempts to take a lock.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(5);

/// Time limit for taking a lock. A process that only reads holds the lock for microseconds, and must not be reported as
/// a holder.
pub(super) const LOOK_LIMIT: Duration = Duration::from_millis(50);

/// A lock that lasts as long as this value.
#[derive(Debug)]
pub(super) struct FileLock {
    file: File,
    /// True if the file has text of this process, and not of another origin.
    is_signed: bool,
}

/// A process that executes runs of a partition.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Holder {
    /// Process id, if the process has written it already.
    pub pid: Option<u32>,
    /// The runs that it executes. All of the partition if this is empty.
    only: BTreeSet<RunId>,
}

impl Holder {
    /// Returns true if the process executes this run of its partition.
    pub fn moves(&self, run: RunId) -> bool {
        self.only.is_empty() || self.only.contains(&run)
    }
}

impl FileLock {
    /// Takes a whole directory. The error names the process that has it.
    pub(super) fn whole(directory: &DataDirectory) -> Result<Self, OpenError> {
        let file = directory.lock_file(LOCK_FILE)?;
        Self::exclusive(directory, LOCK_FILE, file, LOOK_LIMIT)
    }

    /// Takes the shared lock of a directory. Fails if a process works in the whole directory.
    pub(super) fn shared(directory: &DataDirectory) -> Result<Self, OpenError> {
        let mut file = directory.lock_file(LOCK_FILE)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(Self { file, is_signed: false }),
            Err(error) => Err(refused(directory, LOCK_FILE, &mut file, error)),
        }
    }

    /// Waits until no other process prepares the directory.
    pub(super) fn setup(directory: &DataDirectory) -> Result<Self, OpenError> {
        let file = directory.lock_file(SETUP_LOCK_FILE)?;
        Self::exclusive(directory, SETUP_LOCK_FILE, file, SETUP_LIMIT)
    }

    /// Takes a partition within `time_limit`. The error names the process that has it. A process that only reads holds
    /// the lock for a moment, and is not mistaken for a holder if the limit is [`LOOK_LIMIT`].
    pub(super) fn partition(
        directory: &DataDirectory,
        partition: Partition,
        time_limit: Duration,
    ) -> Result<Self, OpenError> {
        let name = partition_lock_file(partition);
        let file = directory.lock_file(&name)?;
        Self::exclusive(directory, &name, file, time_limit)
    }

    fn exclusive(
        directory: &DataDirectory,
        name: &str,
        mut file: File,
        limit: Duration,
    ) -> Result<Self, OpenError> {
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < limit => {
                    pause();
                    waited += ATTEMPT_PAUSE;
                }
                Err(error) => return Err(refused(directory, name, &mut file, error)),
            }
        }
        // A holder that cannot name itself holds the lock all the same.
        let is_signed = sign(&mut file, &[]).unwrap_or(false);
        Ok(Self { file, is_signed })
    }

    /// Writes the runs of the partition that this process executes, if it does not execute all of them.
    pub(super) fn name_runs(&mut self, runs: &[RunId]) {
        if self.is_signed && runs.len() <= NAMED_RUNS {
            // An error only affects what other processes show.
            let _ = sign(&mut self.file, runs);
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        if self.is_signed {
            let _ = self.file.set_len(0);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "locks are taken on threads that may block")]
fn pause() {
    std::thread::sleep(ATTEMPT_PAUSE);
}

/// Returns the process that works in a whole directory, if there is one.
pub(super) fn whole_holder(directory: &DataDirectory) -> Result<Option<Holder>, OpenError> {
    holder_of(directory, LOCK_FILE)
}

/// Returns the process that holds a partition, if there is one.
pub(super) fn partition_holder(
    directory: &DataDirectory,
    partition: Partition,
) -> Result<Option<Holder>, OpenError> {
    holder_of(directory, &partition_lock_file(partition))
}

/// Returns the process that holds a lock exclusively. Takes the lock in shared mode for a moment.
fn holder_of(directory: &DataDirectory, name: &str) -> Result<Option<Holder>, OpenError> {
    let Some(mut file) = directory.existing_lock_file(name)? else { return Ok(None) };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(holder(&mut file).unwrap_or_default())),
        Err(TryLockError::Error(source)) => {
            Err(OpenError::Directory { path: directory.path().join(name), source })
        }
    }
}

fn refused(directory: &DataDirectory, name: &str, file: &mut File, error: TryLockError) -> OpenError {
    match error {
        TryLockError::WouldBlock => OpenError::InUse {
            path: directory.path().to_owned(),
            pid: holder(file).and_then(|holder| holder.pid),
        },
        TryLockError::Error(source) => OpenError::Directory { path: directory.path().join(name), source },
    }
}

/// Writes the id of this process and the runs that it executes, unless the file holds text that was not written here.
fn sign(file: &mut File, runs: &[RunId]) -> std::io::Result<bool> {
    if !is_of_longshore_or_empty(file)? {
        return Ok(false);
    }
    let mut text = std::process::id().to_string();
    for run in runs {
        text.push_str(&format!("\n{run}"));
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    Ok(true)
}

fn is_of_longshore_or_empty(file: &mut File) -> std::io::Result<bool> {
    Ok(matches!(text(file)?.as_deref().map(parsed), Some(Some(_))))
}

/// Returns the holder that a lock file names. `None` if the holder has not written it yet, or cannot write.
fn holder(file: &mut File) -> Option<Holder> {
    parsed(&text(file).ok()??)
}

/// Returns the text of a lock file. `None` if it is not text, or longer than Longshore writes.
fn text(file: &mut File) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(TEXT_LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).ok().filter(|text| text.len() as u64 <= TEXT_LIMIT_BYTES))
}

/// Parses what [`sign`] wrote. Returns `None` for text of another origin.
fn parsed(text: &str) -> Option<Holder> {
    if text.is_empty() {
        return Some(Holder::default());
    }
    let mut lines = text.lines();
    let pid = lines.next()?.parse().ok()?;
    let only = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
    Some(Holder { pid: Some(pid), only })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Access;

    const PARTITION: Partition = Partition(3);

    fn directory(dir: &Path) -> DataDirectory {
        DataDirectory::open(dir, Access::ReadWrite).expect("opens")
    }

    fn whole(dir: &Path) -> Result<FileLock, OpenError> {
        FileLock::whole(&directory(dir))
    }

    #[test]
    fn second_process_learns_the_pid_of_the_first() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = whole(dir.path()).expect("is free");
        let refusal = whole(dir.path()).expect_err("is taken");
        assert!(matches!(refusal, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        drop(first);
        whole(dir.path()).expect("is free again");
    }

    #[test]
    fn text_of_a_dead_process_does_not_matter() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("lock"), "4194305 and more").expect("writes");
        whole(dir.path()).expect("the file is not the lock");
    }

    #[test]
    fn shared_and_whole_exclude_each_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let shared = [(); 2].map(|()| FileLock::shared(&directory(dir.path())).expect("is shared"));
        assert!(matches!(whole(dir.path()), Err(OpenError::InUse { .. })));
        drop(shared);
        let _whole = whole(dir.path()).expect("is free");
        assert!(matches!(FileLock::shared(&directory(dir.path())), Err(OpenError::InUse { .. })));
    }

    #[test]
    fn holder_of_a_partition_names_itself_and_its_runs() {
        let dir = tempfile::tempdir().expect("a directory");
        let directory = directory(dir.path());
        let run = |text: &str| text.parse::<RunId>().expect("an id");
        let [mine, other] =
            ["run_03_01kbgq5v8m3n4p5q6r7s8t9v0w", "run_03_01kbgq5v8m3n4p5q6r7s8t9v1x"].map(run);
        assert_eq!(partition_holder(&directory, PARTITION).expect("looks"), None, "there is no file");
        let mut lock = FileLock::partition(&directory, PARTITION, LOOK_LIMIT).expect("is free");
        let holder = || partition_holder(&directory, PARTITION).expect("looks").expect("is held");
        assert!(holder().moves(mine) && holder().moves(other));
        lock.name_runs(&[mine]);
        assert!(holder().moves(mine) && !holder().moves(other));
        assert_eq!(holder().pid, Some(std::process::id()));
        drop(lock);
        assert_eq!(partition_holder(&directory, PARTITION).expect("looks"), None);
    }
}
