//! The question before a command that affects many objects.

use std::io::{Error, IsTerminal, stderr, stdin};

use tokio::task::spawn_blocking;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Asks at a terminal for permission to do `verb` to `what`. Fails without a terminal, because nothing can answer; the
/// failure says what would have been done and names `--yes`.
pub(crate) async fn confirm(verb: &str, what: &str, target: &str, output: &Output) -> Result<bool, Failure> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(Failure::new(Exit::Usage, format!("this would {verb} {what}"))
            .help(format!("add --yes to {verb} without a question")));
    }
    output.question(&format!("{verb} {what} at {target}? [y/N]"));
    let answer = spawn_blocking(|| {
        let mut line = String::new();
        stdin().read_line(&mut line).map(|_| line)
    });
    let line = answer.await.map_err(Error::other).and_then(|read| read);
    let line = line.map_err(|error| Failure::new(Exit::Error, format!("cannot read the answer: {error}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
