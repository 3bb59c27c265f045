//! Trust in a servers file that was found and not named.
//!
//! A servers file names programs to start. A file that the user named is used without a question. A file in the current
//! directory may be part of a cloned repository, so the user is asked once for each content and path, and the answer is
//! stored. Without a terminal no question can be asked: the file is used, as `make` uses a Makefile, and one line names it.

mod record;
mod summary;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use longshore_proto::Digest;

use self::record::{RecordMatch, ServersFileRecords};
use self::summary::ServersSummary;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Size of the longest answer that is read from the terminal.
const ANSWER_LIMIT_BYTES: u64 = 64;

/// Advice on how to avoid the question.
const NAMED_FILE_HELP: &str =
    "a file that is named with --mcp-config or LONGSHORE_MCP_CONFIG is used without a question";

/// A servers file that may be trusted: one content at one path.
struct TrustCandidate {
    path: PathBuf,
    digest: Digest,
    summary: ServersSummary,
}

/// Asks at a terminal whether a found servers file may be used, unless the user trusts it already. Without a terminal,
/// `report` gets the message that names the file.
pub(crate) fn ensure(path: &Path, text: &str, output: &Output, report: impl Fn(&str)) -> Result<(), Failure> {
    let candidate = TrustCandidate::of(path, text);
    let records = ServersFileRecords::of_user("trusted", environment::variable);
    let known = records.as_ref().map_or(RecordMatch::None, |records| {
        records.look_up(&candidate.path, candidate.digest).unwrap_or_else(|error| {
            output.warning(&error);
            RecordMatch::None
        })
    });
    if known == RecordMatch::Same {
        return Ok(());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        report(&format!(
            "using the servers file {}, which was found and not named; not asked, because there is no terminal",
            candidate.path.display()
        ));
        return Ok(());
    }
    output.warning(&candidate.question(known == RecordMatch::OtherContent));
    if !is_yes(&answer()) {
        let message = format!("the servers file {} is not trusted; nothing was started", path.display());
        return Err(Failure::new(Exit::Denied, message).help(NAMED_FILE_HELP));
    }
    candidate.remember(records.as_ref()).unwrap_or_else(|failure| output.warning(&failure.message));
    Ok(())
}

/// Returns true the first time that this user sees these warnings about a servers file with this content, and stores their
/// digest. The warnings count too, because the cause of one may be the value of a variable. If nothing can be stored, every
/// time is the first.
pub(crate) fn are_new_warnings(path: &Path, text: &str, warnings: &[String]) -> bool {
    let candidate = TrustCandidate::of(path, &format!("{text}\0{}", warnings.join("\0")));
    let Some(records) = ServersFileRecords::of_user("warned", environment::variable) else { return true };
    if records.look_up(&candidate.path, candidate.digest) == Ok(RecordMatch::Same) {
        return false;
    }
    // If the record cannot be written, the warning is repeated next time.
    let _ = records.add(&candidate.path, candidate.digest);
    true
}

/// Stores a servers file as trusted, for `longshore servers trust`. Returns the message for the user.
pub(crate) fn give(path: &Path, text: &str) -> Result<String, Failure> {
    let candidate = TrustCandidate::of(path, text);
    candidate.remember(ServersFileRecords::of_user("trusted", environment::variable).as_ref())?;
    Ok(format!("the servers file {} is trusted now\n{}", candidate.path.display(), candidate.summary))
}

impl TrustCandidate {
    fn of(path: &Path, text: &str) -> Self {
        let path =
            path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        let mut identity = path.as_os_str().as_encoded_bytes().to_vec();
        // No path contains a zero byte, so another path and content cannot give the same bytes.
        identity.push(0);
        identity.extend_from_slice(text.as_bytes());
        Self { path, digest: Digest::of(&identity), summary: ServersSummary::of(text) }
    }

    /// Returns the question whether the file is trusted.
    fn question(&self, has_changed: bool) -> String {
        let what = if has_changed { "has changed since you trusted it" } else { "was found and not named" };
        format!(
            "the servers file {} {what}; it is used with your permissions:\n{}\n\
             Use it, and remember that? ({NAMED_FILE_HELP})\nType yes or no:",
            self.path.display(),
            self.summary
        )
    }

    fn remember(&self, records: Option<&ServersFileRecords>) -> Result<(), Failure> {
        let Some(records) = records else {
            let message =
                "neither XDG_STATE_HOME nor HOME is set, so trust in a servers file cannot be remembered";
            return Err(Failure::new(Exit::Error, message).help(NAMED_FILE_HELP));
        };
        records.add(&self.path, self.digest).map_err(|error| Failure::new(Exit::Error, error))
    }
}

/// Reads a line from the terminal. Returns an empty text if it cannot be read.
fn answer() -> String {
    let mut line = String::new();
    let _ = io::stdin().lock().take(ANSWER_LIMIT_BYTES).read_line(&mut line);
    line
}

fn is_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_y_and_yes_mean_yes() {
        assert!(["y\n", "Yes\r\n", " yes "].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "yess\n", "no\n"].into_iter().any(is_yes));
    }

    #[test]
    fn trust_is_for_one_content_at_one_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let digest = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("writes");
            TrustCandidate::of(&folder.path().join(name), text).digest
        };
        assert_eq!(digest("a", "{}"), digest("a", "{}"));
        assert_ne!(digest("a", "{}"), digest("a", "{} "));
        assert_ne!(digest("a", "{}"), digest("b", "{}"));
    }
}
