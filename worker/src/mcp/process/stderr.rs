//! Lines that a server prints to its standard error.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::config::Secrets;

/// The last lines that a server printed to its standard error, for messages.
#[derive(Debug)]
pub(crate) struct StderrTail {
    server: ServerName,
    secrets: Secrets,
    tail: Mutex<Tail>,
}

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// All lines that were read so far, those that are forgotten as well.
    read: u64,
}

/// Enough for a stack trace.
const TAIL_LINES: usize = 20;
/// Longer lines are cut: a message is not a log.
const LINE_BYTES: usize = 300;
/// What is read of a line: more than is shown, since hiding credentials makes a line shorter.
const READ_LINE_BYTES: usize = 4096;

impl StderrTail {
    /// Nothing yet.
    pub(crate) fn new(server: ServerName, secrets: Secrets) -> Self {
        Self { server, secrets, tail: Mutex::default() }
    }

    /// Reads until the end, so that the server never blocks on a full pipe.
    pub(super) async fn follow(&self, mut stderr: impl AsyncRead + Unpin) {
        let mut chunk = [0; 4096];
        let mut line = Vec::new();
        let mut is_cut = false;
        while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
            for byte in chunk.iter().take(read) {
                if *byte == b'\n' {
                    self.add(&std::mem::take(&mut line), std::mem::take(&mut is_cut));
                } else if line.len() < READ_LINE_BYTES {
                    line.push(*byte);
                } else {
                    is_cut = true;
                }
            }
        }
        self.add(&line, is_cut);
    }

    fn add(&self, line: &[u8], is_cut: bool) {
        let line = String::from_utf8_lossy(line);
        // A character that the cut goes through is not a part of any credential.
        let line = if is_cut { line.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { line.trim_end() };
        let line = self.secrets.hide_cut(line, is_cut);
        let line = line.get(..line.floor_char_boundary(LINE_BYTES)).unwrap_or_default();
        if line.is_empty() {
            return;
        }
        tracing::debug!(server = %self.server, %line, "said");
        let mut tail = self.tail();
        if tail.lines.len() == TAIL_LINES {
            tail.lines.pop_front();
        }
        tail.lines.push_back(line.to_owned());
        tail.read = tail.read.saturating_add(1);
    }

    /// The server that speaks.
    pub(crate) const fn server(&self) -> &ServerName {
        &self.server
    }

    /// Adds a line of its standard output that is no message.
    pub(crate) fn add_unread(&self, line: &str) {
        self.add(format!("stdout: {line}").as_bytes(), false);
    }

    /// Adds a message of its log.
    pub(crate) fn add_logged(&self, line: &str) {
        self.add(format!("log: {line}").as_bytes(), false);
    }

    /// Number of lines that were read.
    pub(crate) fn lines_read(&self) -> u64 {
        self.tail().read
    }

    /// The lines as the end of a message; empty if there are none.
    pub(crate) fn as_suffix(&self) -> String {
        self.as_suffix_since(0)
    }

    /// The same of those lines that were read after so many.
    pub(crate) fn as_suffix_since(&self, before: u64) -> String {
        let tail = self.tail();
        let new = usize::try_from(tail.read.saturating_sub(before)).unwrap_or(usize::MAX);
        let old = tail.lines.len().saturating_sub(new);
        let lines: Vec<&str> = tail.lines.iter().skip(old).map(String::as_str).collect();
        if lines.is_empty() { String::new() } else { format!("; it said:\n{}", lines.join("\n")) }
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // No code that holds the lock can panic half-way.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(value: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add(value);
        secrets
    }

    async fn shown(secrets: &Secrets, printed: &str) -> String {
        let tail = StderrTail::new("s".parse().expect("a name"), secrets.clone());
        tail.follow(printed.as_bytes()).await;
        tail.as_suffix().strip_prefix("; it said:\n").unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_secret_at_the_cut_of_a_line_is_not_shown() {
        let long = |length: usize| (0..length).map(|at| format!("k{at}")).collect::<String>();
        for (length, wanted) in
            [(440, "a *** b *** c ***"), (480, "a *** b *** c ***"), (1_000, "a *** b ***")]
        {
            let secret = long(length);
            let printed = format!("a {secret} b {secret} c {secret} d {secret} end\nnext {secret} line\n");
            let shown = shown(&secrets(&secret), &printed).await;
            assert_eq!(shown, format!("{wanted}\nnext *** line"), "{}", secret.len());
        }
    }

    #[tokio::test]
    async fn a_secret_that_is_longer_than_what_is_read_is_not_shown() {
        let secret = format!("{}{}", "\u{e9}".repeat(2_600), "k9Z".repeat(70));
        let secrets = secrets(&secret);
        for before in 0..4 {
            let printed = format!("{}{secret} end\n", "y".repeat(before));
            let shown = shown(&secrets, &printed).await;
            assert_eq!(shown, format!("{}***", "y".repeat(before)));
        }
    }

    #[tokio::test]
    async fn long_lines_are_cut_and_the_last_ones_are_kept() {
        let printed: String = (0..30).map(|line| format!("{line} {}\n", "x".repeat(9_000))).collect();
        let shown = shown(&secrets("token-one"), &printed).await;
        assert_eq!(
            (shown.lines().count(), shown.lines().map(str::len).max()),
            (TAIL_LINES, Some(LINE_BYTES))
        );
        assert!(shown.starts_with("10 xxx") && shown.contains("\n29 xxx"), "{shown}");
    }
}
