//! The standard input of a server, with the count of bytes that were read of it once the server has ended.
//!
//! A request that is written to a server that is just ending may stay in the pipe, unread. Such a call was not made, and may
//! be made again. Linux keeps what is in a pipe after its last reader has gone, and reports its size; on other systems no request
//! counts as unread.

use std::io;

use tokio::io::AsyncWriteExt as _;
use tokio::process::ChildStdin;

/// A pipe to a server.
#[derive(Debug)]
pub(super) struct ServerInput {
    pipe: ChildStdin,
    written: u64,
}

impl ServerInput {
    /// A pipe that nothing was written to.
    pub(super) const fn new(pipe: ChildStdin) -> Self {
        Self { pipe, written: 0 }
    }

    /// Bytes that were written so far.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes all of it. After an error, what was written of it still counts.
    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.pipe.write(bytes).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written = self.written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Closes the pipe to a server whose output has ended. Returns the number of bytes that were read of it, if no process can read
    /// any more.
    #[cfg(target_os = "linux")]
    pub(super) async fn read_by_ended_server(self) -> Option<u64> {
        let Self { pipe, written } = self;
        let pipe = pipe.into_owned_fd().ok()?;
        let unread = tokio::task::spawn_blocking(move || unread(&pipe)).await.ok()??;
        Some(written.saturating_sub(unread))
    }

    /// Closes the pipe. The number of bytes that were read is not known.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_async, reason = "the same signature on every system")]
    pub(super) async fn read_by_ended_server(self) -> Option<u64> {
        None
    }
}

/// The bytes in a pipe that has no reader. Waits a little until there is none: a supervisor ends after its server.
#[cfg(target_os = "linux")]
fn unread(pipe: &std::os::fd::OwnedFd) -> Option<u64> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// A server that closed its output and lives on waits for the end of its input, so this is short.
    const NO_READER_SOON: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

    let mut watched = [PollFd::new(pipe, PollFlags::empty())];
    // The end of the server's process is a signal to this one.
    rustix::io::retry_on_intr(|| poll(&mut watched, Some(&NO_READER_SOON))).ok()?;
    let [watched] = watched;
    // The kernel reports this for the writing end of a pipe without a reader.
    watched.revents().contains(PollFlags::ERR).then(|| rustix::io::ioctl_fionread(pipe).ok())?
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncReadExt as _;
    use tokio::process::Command;

    use super::*;

    /// Writes messages of these sizes to a program, which begins then, and returns how many bytes count as read once its output
    /// has ended.
    async fn read_of(script: &str, sizes: &[usize]) -> Option<u64> {
        let folder = tempfile::tempdir().expect("a folder");
        let written = folder.path().join("written");
        let script = format!("while [ ! -e written ]; do sleep 0.01; done; {script}");
        let mut child = Command::new("sh");
        child.args(["-c", &script]).current_dir(&folder);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = child.spawn().expect("a shell");
        let mut input = ServerInput::new(child.stdin.take().expect("a pipe"));
        for size in sizes {
            input.write(&vec![b'x'; *size]).await.expect("written");
        }
        std::fs::write(written, "").expect("a file");
        let mut output = String::new();
        child.stdout.take().expect("a pipe").read_to_string(&mut output).await.expect("an end");
        input.read_by_ended_server().await
    }

    #[tokio::test]
    async fn what_an_ended_program_left_in_its_pipe_counts_as_unread() {
        assert_eq!(read_of("head -c 5", &[3, 100]).await, Some(5));
        assert_eq!(read_of("true", &[3, 100]).await, Some(0));
        let lives_on = read_of("exec sleep 60 >&-", &[7]).await;
        assert_eq!(lives_on, None, "what it may still read is not known");
    }

    #[tokio::test]
    async fn what_was_written_of_a_broken_message_counts() {
        let mut child = Command::new("sh");
        child.args(["-c", "exec sleep 60"]).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = child.spawn().expect("a shell");
        let mut input = ServerInput::new(child.stdin.take().expect("a pipe"));
        input.write(b"first\n").await.expect("written");
        let large = vec![b'x'; 1 << 20];
        let (written, killed) = tokio::join!(biased; input.write(&large), child.kill());
        assert!(written.is_err() && killed.is_ok(), "{written:?}, {killed:?}");
        assert!(input.written() > 6, "a part of the second message is in the pipe");
        assert_eq!(input.read_by_ended_server().await, Some(0));
    }
}
