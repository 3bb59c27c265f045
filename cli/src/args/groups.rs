//! The list of commands in the help of `longshore`, grouped by purpose.

use std::fmt::Write as _;

use std::ffi::OsString;

use clap::builder::{Resettable, StyledStr};
use clap::error::Error;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::suggestions::with_suggestion;

/// The groups of commands. A test checks that each command is in one group.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Local", &["run", "resume", "runs", "watch"]),
    ("Authoring", &["validate", "explain", "completions"]),
    ("Servers", &["servers"]),
    ("Cluster", &["submit", "workflows", "dlq", "doctor", "bench", "scheduler", "worker"]),
];

/// Columns from the beginning of a name to its description.
const NAME_COLUMNS: usize = 13;

/// Parses the command line of this process.
pub(crate) fn parse() -> Result<Cli, Error> {
    let matches = parse_line(std::env::args_os().collect()).map_err(with_suggestion)?;
    Cli::from_arg_matches(&matches)
}

/// Parses a command line. In the usage line of an error, clap shows options with a value as required, even if the value
/// comes from a variable. So the error is taken from another parse without variables, unless only a variable is wrong.
fn parse_line(line: Vec<OsString>) -> Result<ArgMatches, Error> {
    grouped(Cli::command()).try_get_matches_from(line.clone()).map_err(|error| {
        let without_variables = without_variables(grouped(Cli::command())).try_get_matches_from(line);
        without_variables.err().unwrap_or(error)
    })
}

fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(Resettable::Reset)).mut_subcommands(without_variables)
}

/// Groups the list of commands in the help.
fn grouped(command: Command) -> Command {
    let template = template(&command);
    command.help_template(template)
}

fn template(command: &Command) -> StyledStr {
    let (header, literal) = (command.get_styles().get_header(), command.get_styles().get_literal());
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (title, names) in GROUPS {
        let _ = writeln!(text, "\n{header}{title}:{header:#}");
        for name in names {
            let about = command.find_subcommand(name).and_then(Command::get_about);
            let about = about.map(StyledStr::to_string).unwrap_or_default();
            let blanks = NAME_COLUMNS.saturating_sub(name.len());
            let _ = writeln!(text, "  {literal}{name}{literal:#}{:blanks$}{about}", "");
        }
    }
    text.push_str(
        "\n{options}\n\n`longshore help COMMAND` has the options of a command, and examples.{after-help}",
    );
    text.into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn options_set_by_variables_are_not_shown_as_required() {
        let with_data = |command: Command| {
            command.mut_subcommands(|command| {
                // This variable is set on every machine.
                command.mut_args(|arg| if arg.get_id() == "data" { arg.env("PATH") } else { arg })
            })
        };
        let line = || ["longshore", "run"].map(OsString::from).to_vec();
        let usage = |command: Command| {
            let error = command.try_get_matches_from(line()).expect_err("refused").to_string();
            error.lines().find(|line| line.starts_with("Usage:")).map(str::to_owned)
        };
        let required = Some("Usage: longshore run --data <DIR> <WORKFLOW>".to_owned());
        assert_eq!(usage(with_data(Cli::command())), required, "what clap says");
        let optional = Some("Usage: longshore run <WORKFLOW>".to_owned());
        assert_eq!(usage(without_variables(with_data(Cli::command()))), optional);
        assert_eq!(
            parse_line(line()).expect_err("refused").kind(),
            clap::error::ErrorKind::MissingRequiredArgument
        );
    }

    #[test]
    fn every_command_is_in_one_group_and_fits_a_terminal() {
        let command = grouped(Cli::command());
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let known: BTreeSet<&str> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .map(Command::get_name)
            .collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), known);
        assert_eq!(grouped.len(), known.len());
        let help = command.clone().render_help().to_string();
        let long = help.lines().filter(|line| line.chars().count() > 80).collect::<Vec<_>>();
        assert!(long.is_empty(), "{long:#?}");
        assert!(help.contains("\nCluster:\n  submit "), "{help}");
    }
}
