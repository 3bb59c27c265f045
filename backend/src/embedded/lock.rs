//! One process on one data directory.
//!
//! The kernel's advisory lock on `<dir>/lock` is the truth: it ends with the process that holds it, however that
//! ends, so nothing is ever left to clean up. The file's text only says who that is.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::OpenError;

/// The text of a lock file is a process id; whatever is longer was not written here.
const PID_LIMIT_BYTES: u64 = 16;

/// The right to write into a data directory, for as long as it lives.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock, or says which process has it.
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("lock");
        let broken = |source| OpenError::Directory { path: path.clone(), source };
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let opened = options.open(&path);
        let mut file = opened.map_err(|source| OpenError::unreachable(dir, &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { path: dir.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(source)) => return Err(broken(source)),
        }
        // A holder that cannot say who it is holds the lock all the same.
        let _ = sign(&mut file);
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.set_len(0);
    }
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    write!(file, "{}", std::process::id())
}

/// Who signed. Nothing if the holder has only just come, or cannot write.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(PID_LIMIT_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = Lock::take(dir.path()).expect("nobody has it");
        let refusal = Lock::take(dir.path()).expect_err("it is taken");
        assert!(matches!(refusal, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
        drop(first);
        Lock::take(dir.path()).expect("it is free again");
    }

    #[test]
    fn what_a_dead_process_left_behind_does_not_matter() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("lock"), "4194305 and more").expect("writes");
        Lock::take(dir.path()).expect("the file is not the lock");
    }
}
