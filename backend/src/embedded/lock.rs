//! One process on one data directory.
//!
//! The kernel's advisory lock on `<dir>/lock` is the truth: it ends with the process that holds it, however that
//! ends, so nothing is ever left to clean up. The file's text only says who that is.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};

use super::OpenError;
use super::directory::{DataDirectory, LOCK_FILE};

/// The text of a lock file is a process id; whatever is longer was not written here.
const PID_LIMIT_BYTES: u64 = 16;

/// The right to write into a data directory, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// The file holds the id of this process, and not text of another origin.
    is_signed: bool,
}

impl Lock {
    /// Takes the lock, or says which process has it.
    pub(super) fn take(directory: &DataDirectory) -> Result<Self, OpenError> {
        let mut file = directory.lock_file()?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: directory.path().to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => {
                return Err(OpenError::Directory { path: directory.path().join(LOCK_FILE), source });
            }
        }
        // A holder that cannot say who it is holds the lock all the same.
        let is_signed = sign(&mut file).unwrap_or(false);
        Ok(Self { file, is_signed })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.is_signed {
            let _ = self.file.set_len(0);
        }
    }
}

/// Writes the id of this process, unless the file holds text that no process of ours wrote.
fn sign(file: &mut File) -> std::io::Result<bool> {
    if !is_pid_or_empty(file)? {
        return Ok(false);
    }
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())?;
    Ok(true)
}

fn is_pid_or_empty(file: &mut File) -> std::io::Result<bool> {
    let mut bytes = Vec::new();
    file.take(PID_LIMIT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes.len() as u64 <= PID_LIMIT_BYTES && bytes.iter().all(u8::is_ascii_digit))
}

/// Who signed. Nothing if the holder has only just come, or cannot write.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_LIMIT_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::embedded::Access;

    fn take(dir: &Path) -> Result<Lock, OpenError> {
        Lock::take(&DataDirectory::open(dir, Access::ReadWrite)?)
    }

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = take(dir.path()).expect("nobody has it");
        let refusal = take(dir.path()).expect_err("it is taken");
        assert!(matches!(refusal, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        drop(first);
        take(dir.path()).expect("it is free again");
    }

    #[test]
    fn what_a_dead_process_left_behind_does_not_matter() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("lock"), "4194305 and more").expect("writes");
        take(dir.path()).expect("the file is not the lock");
    }
}
