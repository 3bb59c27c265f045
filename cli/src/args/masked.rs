//! Masks credentials in the message about a command line that is refused.

use clap::error::Error;
use longshore_ports::redact_addresses;
use longshore_worker::mcp::Secrets;

/// Returns the message about a refused command line with masked credentials: addresses, and values of options whose names
/// are those of credentials. Returns `None` if the message of `error` contains none and can be shown unchanged.
pub(crate) fn without_credentials(error: &Error, line: &[String]) -> Option<String> {
    let message = error.render().to_string();
    let mut secrets = Secrets::default();
    secrets.add_from_arguments(line.iter().map(String::as_str));
    // The message also repeats a refused part of an argument, such as the text after `=`.
    let values = line.iter().filter_map(|argument| argument.split_once('=').map(|(_, value)| value));
    let mut shown = message.clone();
    for argument in line.iter().map(String::as_str).chain(values).filter(|argument| argument.contains("://"))
    {
        shown = shown.replace(argument, &redact_addresses(argument));
    }
    let shown = secrets.hide(&shown);
    let shown = redact_addresses(&shown);
    (shown != message).then(|| shown.into_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn a_refused_command_line_shows_no_credential() {
        for (line, shown) in [
            (&["run", "wf.yaml", "--slots", "nats://user:s3cret@h"][..], "nats://***@h"),
            (&["run", "wf.yaml", "--slots=nats://h?x=s3cret#s3cret"], "nats://h?x=***#***"),
            (&["run", "wf.yaml", "--slots", "nats://us er:s3cret@h"], "invalid value"),
            (&["nats://s3cret@h"], "nats://***@h"),
            (&["run", "wf.yaml", "--nats-token=s3cret-value"], "unexpected argument"),
            (&["run", "wf.yaml", "--api-key", "s3cret-value"], "unexpected argument"),
            (&["run", "wf.yaml", "redis://:s3cret@h:1/0"], "redis://***@h:1/0"),
            (&["servers", "call", "redis://:s3cret@h:1/0"], "invalid value"),
        ] {
            let line: Vec<String> = [&["longshore"], line].concat().into_iter().map(str::to_owned).collect();
            let error = Cli::command().try_get_matches_from(&line).expect_err("refused");
            let message = without_credentials(&error, &line).unwrap_or_else(|| error.render().to_string());
            assert!(message.contains(shown) && !message.contains("s3cret"), "{line:?}: {message}");
        }
        let line = ["longshore".to_owned(), "lst".to_owned()];
        let error = Cli::command().try_get_matches_from(&line).expect_err("refused");
        assert_eq!(without_credentials(&error, &line), None);
    }
}
