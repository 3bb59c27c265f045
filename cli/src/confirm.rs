//! The question before something that concerns much at once.

use std::io::{Error, IsTerminal, stderr, stdin};

use tokio::task::spawn_blocking;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Asks on a terminal whether to do that to what is described. Elsewhere there is no answer, so the command line has to have
/// `--yes`, and the failure says what would have been done.
pub(crate) async fn confirm(verb: &str, what: &str, place: &str, output: &Output) -> Result<bool, Failure> {
    if !(stdin().is_terminal() && stderr().is_terminal()) {
        return Err(Failure::new(Exit::Usage, format!("this would {verb} {what}"))
            .help(format!("add --yes to {verb} without a question")));
    }
    output.question(&format!("{verb} {what} at {place}? [y/N]"));
    let answer = spawn_blocking(|| {
        let mut line = String::new();
        stdin().read_line(&mut line).map(|_| line)
    });
    let line = answer.await.map_err(Error::other).and_then(|read| read);
    let line = line.map_err(|error| Failure::new(Exit::Error, format!("cannot read the answer: {error}")))?;
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
