//! Trust in a servers file that was only found.
//!
//! A servers file names programs to start. One that the user named is used as it is. One that lies in the current
//! directory may be part of a cloned repository, so a person is asked once for each content and place, and the answer is
//! remembered. Without a terminal there is nobody to ask; the file is used, as `make` uses a Makefile, and one line
//! names it.

mod record;
mod summary;

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use longshore_proto::Digest;

use self::record::{Known, Records};
use self::summary::Summary;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// The longest answer that is read from the terminal.
const ANSWER_LIMIT_BYTES: u64 = 64;

/// How to avoid the question.
const HOW_TO_NAME: &str =
    "a file that is named with --mcp-config or LONGSHORE_MCP_CONFIG is used without a question";

/// A servers file, as trust is given to it: this content at this place.
struct Candidate {
    path: PathBuf,
    digest: Digest,
    summary: Summary,
}

/// Asks whether a found servers file may be used, unless that is known or there is no terminal. `tell` takes the line that
/// names the file when nobody is asked.
pub(crate) fn ensure(path: &Path, text: &str, output: &Output, tell: impl Fn(&str)) -> Result<(), Failure> {
    let candidate = Candidate::of(path, text);
    let records = Records::of_user("trusted", environment::variable);
    let known = records.as_ref().map_or(Known::No, |records| {
        records.look_up(&candidate.path, candidate.digest).unwrap_or_else(|error| {
            output.warning(&error);
            Known::No
        })
    });
    if known == Known::Yes {
        return Ok(());
    }
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        tell(&format!(
            "using the servers file {}, which was found and not named; not asked, because there is no terminal",
            candidate.path.display()
        ));
        return Ok(());
    }
    output.warning(&candidate.question(known == Known::OtherContent));
    if !is_yes(&answer()) {
        let message = format!("the servers file {} is not trusted; nothing was started", path.display());
        return Err(Failure::new(Exit::Denied, message).help(HOW_TO_NAME));
    }
    candidate.remember(records.as_ref()).unwrap_or_else(|failure| output.warning(&failure.message));
    Ok(())
}

/// Returns true the first time that this user uses a servers file with this content, and remembers the content.
/// Where nothing can be remembered, every time is the first.
pub(crate) fn is_first_look(path: &Path, text: &str) -> bool {
    let candidate = Candidate::of(path, text);
    let Some(records) = Records::of_user("warned", environment::variable) else { return true };
    if records.look_up(&candidate.path, candidate.digest) == Ok(Known::Yes) {
        return false;
    }
    // What cannot be written is said once more the next time.
    let _ = records.add(&candidate.path, candidate.digest);
    true
}

/// Remembers a servers file as trusted, for `longshore servers trust`. Returns what it does, for people.
pub(crate) fn give(path: &Path, text: &str) -> Result<String, Failure> {
    let candidate = Candidate::of(path, text);
    candidate.remember(Records::of_user("trusted", environment::variable).as_ref())?;
    Ok(format!("the servers file {} is trusted now\n{}", candidate.path.display(), candidate.summary))
}

impl Candidate {
    fn of(path: &Path, text: &str) -> Self {
        let path =
            path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        let mut identity = path.as_os_str().as_encoded_bytes().to_vec();
        // No path has a zero byte, so no other path and content give the same bytes.
        identity.push(0);
        identity.extend_from_slice(text.as_bytes());
        Self { path, digest: Digest::of(&identity), summary: Summary::of(text) }
    }

    fn question(&self, has_changed: bool) -> String {
        let what = if has_changed { "has changed since you trusted it" } else { "was found and not named" };
        format!(
            "the servers file {} {what}. It is used with your rights:\n{}\n\
             {HOW_TO_NAME}.\nUse it, and remember that? Type yes or no:",
            self.path.display(),
            self.summary
        )
    }

    fn remember(&self, records: Option<&Records>) -> Result<(), Failure> {
        let Some(records) = records else {
            let message =
                "neither XDG_STATE_HOME nor HOME is set, so trust in a servers file cannot be remembered";
            return Err(Failure::new(Exit::Error, message).help(HOW_TO_NAME));
        };
        records.add(&self.path, self.digest).map_err(|error| Failure::new(Exit::Error, error))
    }
}

/// The line that a person types. What cannot be read is no answer.
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
    fn only_a_clear_yes_is_one() {
        assert!(["y\n", "Yes\r\n", " yes "].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "yess\n", "no\n"].into_iter().any(is_yes));
    }

    #[test]
    fn trust_is_for_one_content_at_one_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let digest = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("writes");
            Candidate::of(&folder.path().join(name), text).digest
        };
        assert_eq!(digest("a", "{}"), digest("a", "{}"));
        assert_ne!(digest("a", "{}"), digest("a", "{} "));
        assert_ne!(digest("a", "{}"), digest("b", "{}"));
    }
}
