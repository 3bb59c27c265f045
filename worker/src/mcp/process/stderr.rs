//! Lines that a server prints to its standard error.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::super::config::{LineMask, Secrets};
use super::super::wire::quote;

/// The last lines that a server printed to its standard error, for messages.
#[derive(Debug)]
pub(crate) struct StderrTail {
    server: ServerName,
    tail: Mutex<Tail>,
}

#[derive(Debug)]
struct Tail {
    /// The last lines, each with its number.
    lines: VecDeque<(u64, String)>,
    /// All lines that were read so far, those that are forgotten as well.
    read: u64,
    stderr: LineMask<u64>,
    /// Lines of its standard output that are no messages.
    stdout: LineMask<u64>,
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
        let (stderr, stdout) = (LineMask::new(secrets.clone()), LineMask::new(secrets));
        let tail = Tail { lines: VecDeque::new(), read: 0, stderr, stdout };
        Self { server, tail: Mutex::new(tail) }
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
        // An empty rest is no line: it would say that what waits does not continue.
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

    /// Keeps a line, which holds no secret any more.
    fn keep(&self, tail: &mut Tail, number: u64, line: &str) {
        let line = line.get(..line.floor_char_boundary(LINE_BYTES)).unwrap_or_default();
        if line.is_empty() {
            return;
        }
        tracing::debug!(server = %self.server, %line, "said");
        if tail.lines.len() == TAIL_LINES {
            tail.lines.pop_front();
        }
        tail.lines.push_back((number, line.to_owned()));
    }

    /// The server that speaks.
    pub(crate) const fn server(&self) -> &ServerName {
        &self.server
    }

    /// Adds a line of its standard output that is no message.
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

    /// Adds a message of its log, which holds no secret any more.
    pub(crate) fn add_logged(&self, line: &str) {
        let mut tail = self.tail();
        let number = tail.next_number();
        self.keep(&mut tail, number, &format!("log: {line}"));
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

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // No code that holds the lock can panic half-way.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn next_number(&mut self) -> u64 {
        self.read = self.read.saturating_add(1);
        self.read
    }
}

/// A line as text. A character that the cut goes through is not a part of any credential.
fn decoded(line: &[u8], is_cut: bool) -> String {
    let line = String::from_utf8_lossy(line);
    let line = if is_cut { line.trim_end_matches(char::REPLACEMENT_CHARACTER) } else { line.trim_end() };
    line.to_owned()
}

/// The beginning of a line of standard output.
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

    #[tokio::test]
    async fn a_secret_in_base64_that_ends_with_its_process_is_not_shown() {
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
    async fn a_secret_in_base64_that_is_broken_into_lines_is_not_shown() {
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
    fn a_line_that_waits_for_the_next_one_is_shown_in_a_fault() {
        let secret = "s3cret-".repeat(20);
        let tail = StderrTail::new("s".parse().expect("a name"), secrets(&secret));
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
