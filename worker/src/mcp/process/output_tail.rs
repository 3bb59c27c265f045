//! The last lines that a server printed, for fault messages.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::config::{LineMask, Secrets};
use super::super::wire::quote;

/// The last lines of a server: its standard error, lines of its standard output that are no messages, and its log messages.
#[derive(Debug)]
pub(crate) struct OutputTail {
    server: ServerName,
    tail: Mutex<TailState>,
}

#[derive(Debug)]
struct TailState {
    /// The last lines, each with its number.
    lines: VecDeque<(u64, String)>,
    /// Number of all lines so far, including those that were dropped.
    read: u64,
    /// Lines of standard error, tagged with their number.
    stderr: LineMask<u64>,
    /// Lines of standard output that are no messages, tagged with their number.
    stdout: LineMask<u64>,
}

/// Lines that are kept: enough for a stack trace.
const TAIL_LINES: usize = 20;
/// Bytes of a line that are kept.
const LINE_BYTES: usize = 300;
/// Bytes of a line that are read. More than are kept, since hiding credentials makes a line shorter.
const READ_LINE_BYTES: usize = 4096;

impl OutputTail {
    /// Creates an empty tail.
    pub(crate) fn new(server: ServerName, secrets: Secrets) -> Self {
        let (stderr, stdout) = (LineMask::new(secrets.clone()), LineMask::new(secrets));
        let tail = TailState { lines: VecDeque::new(), read: 0, stderr, stdout };
        Self { server, tail: Mutex::new(tail) }
    }

    /// Reads standard error until its end, so that the server never blocks on a full pipe.
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
        // An empty rest is not a line. Adding it would release the lines that wait for a continuation.
        if !line.is_empty() {
            self.add(&line, is_cut);
        }
        let mut tail = self.tail();
        let rest = tail.stderr.finish();
        rest.into_iter().for_each(|(number, line)| self.keep(&mut tail, number, &line));
    }

    fn add(&self, line: &[u8], is_cut: bool) {
        let mut tail = self.tail();
        let number = tail.next_number();
        let shown = tail.stderr.push(number, decoded(line, is_cut), is_cut);
        shown.into_iter().for_each(|(number, line)| self.keep(&mut tail, number, &line));
    }

    /// Keeps a line in which secrets are hidden already.
    fn keep(&self, tail: &mut TailState, number: u64, line: &str) {
        let line = line.get(..line.floor_char_boundary(LINE_BYTES)).unwrap_or_default();
        if line.is_empty() {
            return;
        }
        tracing::debug!(server = %self.server, %line, "the server printed a line");
        if tail.lines.len() == TAIL_LINES {
            tail.lines.pop_front();
        }
        tail.lines.push_back((number, line.to_owned()));
    }

    /// Returns the server's name.
    pub(crate) const fn server(&self) -> &ServerName {
        &self.server
    }

    /// Adds a line of standard output that is no message.
    pub(crate) fn add_unread(&self, line: &[u8]) {
        let (line, is_cut) = match line.get(..READ_LINE_BYTES) {
            Some(beginning) => (beginning, line.len() > READ_LINE_BYTES),
            None => (line, false),
        };
        let mut tail = self.tail();
        let number = tail.next_number();
        let shown = tail.stdout.push(number, decoded(line, is_cut), is_cut);
        for (number, line) in shown.into_iter().filter(|(_, line)| !line.is_empty()) {
            self.keep(&mut tail, number, &as_unread(&line));
        }
    }

    /// Adds a log message in which secrets are hidden already.
    pub(crate) fn add_logged(&self, line: &str) {
        let mut tail = self.tail();
        let number = tail.next_number();
        self.keep(&mut tail, number, &format!("log: {line}"));
    }

    /// Returns the number of all lines so far.
    pub(crate) fn lines_read(&self) -> u64 {
        self.tail().read
    }

    /// Returns the lines as the end of a message. Empty without lines.
    pub(crate) fn as_suffix(&self) -> String {
        self.as_suffix_since(0)
    }

    /// Returns the lines after the first `before` ones as the end of a message.
    pub(crate) fn as_suffix_since(&self, before: u64) -> String {
        let tail = self.tail();
        let (stderr, stdout) = (tail.stderr.waiting(), tail.stdout.waiting());
        let kept = tail.lines.iter().map(|(number, line)| (*number, line.clone()));
        let stdout = stdout.into_iter().filter(|(_, line)| !line.is_empty());
        let stdout = stdout.map(|(number, line)| (*number, as_unread(&line)));
        let waiting = stderr.into_iter().map(|(number, line)| (*number, line)).chain(stdout);
        let new = kept.chain(waiting).filter(|(number, line)| *number > before && !line.is_empty());
        let mut lines: Vec<(u64, String)> = new.collect();
        lines.sort_unstable_by_key(|(number, _)| *number);
        let old = lines.len().saturating_sub(TAIL_LINES);
        let lines: Vec<String> = lines.into_iter().skip(old).map(|(_, line)| line).collect();
        if lines.is_empty() { String::new() } else { format!("; it said:\n{}", lines.join("\n")) }
    }

    fn tail(&self) -> MutexGuard<'_, TailState> {
        // No code that holds the lock can panic half-way.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TailState {
    fn next_number(&mut self) -> u64 {
        self.read = self.read.saturating_add(1);
        self.read
    }
}

/// Decodes a line. A character that was cut in two is removed, because it is a part of no credential.
fn decoded(line: &[u8], is_cut: bool) -> String {
    let line = String::from_utf8_lossy(line);
    let line = if is_cut { line.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { line.trim_end() };
    line.to_owned()
}

/// Formats a line of standard output.
fn as_unread(line: &str) -> String {
    format!("stdout: {}", quote("", line, ""))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn secrets(value: &str) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add(value);
        secrets
    }

    async fn shown(secrets: &Secrets, printed: &str) -> String {
        let tail = OutputTail::new("s".parse().expect("a name"), secrets.clone());
        tail.follow(printed.as_bytes()).await;
        tail.as_suffix().strip_prefix("; it said:\n").unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn secret_at_the_cut_of_a_line_is_hidden() {
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
    async fn secret_longer_than_the_read_part_of_a_line_is_hidden() {
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

    #[tokio::test]
    async fn incomplete_secret_in_base64_at_the_end_of_the_output_is_hidden() {
        let secret = "s3cret-".repeat(8);
        let encoded = STANDARD.encode(format!("prefix{secret}"));
        for columns in [64, 76] {
            let first = encoded.get(..columns).expect("a line");
            for end in ["", "\n"] {
                let shown = shown(&secrets(&secret), &format!("begin\n{first}{end}")).await;
                assert!(shown.ends_with("***") && shown.len() < 30, "{columns}, {end:?}: {shown}");
            }
        }
    }

    #[tokio::test]
    async fn secret_in_base64_across_lines_is_hidden() {
        let secret = "s3cret-".repeat(20);
        let secrets = secrets(&secret);
        for before in 0..76 {
            let encoded = STANDARD.encode(format!("{}{secret} and more", "x".repeat(before)));
            for columns in [64, 76] {
                let lines: Vec<_> = encoded.as_bytes().chunks(columns).map(String::from_utf8_lossy).collect();
                let shown = shown(&secrets, &format!("begin\n{}\nend\n", lines.join("\n"))).await;
                let kept = shown.trim_start_matches("begin").trim_end_matches("end");
                let kept: String = kept.chars().filter(|c| !matches!(c, '*' | '\n')).collect();
                assert!(encoded.len() - kept.len() >= (secret.len() * 8 - 10) / 6, "{shown}");
                assert!(shown.starts_with("begin\n") && shown.ends_with("\nend"), "{shown}");
            }
        }
    }

    #[test]
    fn line_that_waits_for_the_next_one_is_shown_in_a_fault() {
        let secret = "s3cret-".repeat(20);
        let tail = OutputTail::new("s".parse().expect("a name"), secrets(&secret));
        let encoded = STANDARD.encode(&secret);
        tail.add(b"first", false);
        let before = tail.lines_read();
        tail.add(format!("key {}", &encoded[..76]).as_bytes(), false);
        tail.add_unread(format!("unread {}", &encoded[..76]).as_bytes());
        assert_eq!(tail.as_suffix(), "; it said:\nfirst\nkey ***\nstdout: `unread ***`");
        assert_eq!(tail.as_suffix_since(before), "; it said:\nkey ***\nstdout: `unread ***`");
        for rest in encoded.as_bytes()[76..].chunks(76) {
            tail.add(rest, false);
            tail.add_unread(rest);
        }
        tail.add(b"last", false);
        assert_eq!(tail.as_suffix_since(tail.lines_read() - 1), "; it said:\nlast");
        for part in encoded.as_bytes().windows(8) {
            let part = String::from_utf8_lossy(part);
            assert!(!tail.as_suffix().contains(&*part), "{part}: {}", tail.as_suffix());
        }
    }
}
