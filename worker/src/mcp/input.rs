//! The standard input of a server, with the number of bytes that the server read before it ended.
//!
//! A request to a server that is just ending may stay in the pipe, unread. Such a call was not made, and may be made again. Linux
//! keeps the content of a pipe after its last reader has closed it, and reports its size. On other systems no request counts as
//! unread.

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
    /// Wraps a pipe to which nothing was written.
    pub(super) const fn new(pipe: ChildStdin) -> Self {
        Self { pipe, written: 0 }
    }

    /// Returns the number of bytes that were written so far.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes all bytes. After an error, the bytes before it are counted as written.
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

    /// Closes the pipe to a server whose output has ended. Returns the number of bytes that were read, if no process can read more.
    #[cfg(target_os = "linux")]
    pub(super) async fn read_by_ended_server(self) -> Option<u64> {
        let Self { pipe, written } = self;
        let pipe = pipe.into_owned_fd().ok()?;
        let unread = tokio::task::spawn_blocking(move || unread(&pipe)).await.ok()??;
        Some(written.saturating_sub(unread))
    }

    /// Closes the pipe. Returns `None`, because the number of bytes that were read is not known.
    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::unused_async, reason = "the same signature on every system")]
    pub(super) async fn read_by_ended_server(self) -> Option<u64> {
        None
    }
}

/// Returns the bytes in a pipe without readers. Waits a little for the last reader, since a supervisor ends after its server.
#[cfg(target_os = "linux")]
fn unread(pipe: &std::os::fd::OwnedFd) -> Option<u64> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    /// Short, because a server that has closed its output but still runs waits for the end of its input.
    const READER_LIMIT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

    let mut watched = [PollFd::new(pipe, PollFlags::empty())];
    // The end of the server's process sends a signal to this process, which interrupts the poll.
    rustix::io::retry_on_intr(|| poll(&mut watched, Some(&READER_LIMIT))).ok()?;
    let [watched] = watched;
    // The kernel reports an error for the writing end of a pipe without readers.
    watched.revents().contains(PollFlags::ERR).then(|| rustix::io::ioctl_fionread(pipe).ok())?
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncReadExt as _;
    use tokio::process::Command;

    use super::*;

    /// Writes messages of these sizes to a program, which starts to read then. Returns the number of bytes that count as read once
    /// its output has ended.
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
    async fn bytes_that_an_ended_program_left_in_its_pipe_count_as_unread() {
        assert_eq!(read_of("head -c 5", &[3, 100]).await, Some(5));
        assert_eq!(read_of("true", &[3, 100]).await, Some(0));
        let running = read_of("exec sleep 60 >&-", &[7]).await;
        assert_eq!(running, None, "the program may still read");
    }

    #[tokio::test]
    async fn written_part_of_an_interrupted_message_is_counted() {
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
