//! The list of commands in the help of `longshore`: in groups, by what a person is about to do.

use std::fmt::Write as _;

use clap::builder::StyledStr;
use clap::error::Error;
use clap::{Command, CommandFactory, FromArgMatches};

use super::Cli;
use super::suggested::with_suggestion;

/// The groups. A command that is in none, or in two, fails a test.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Local", &["run", "resume", "runs", "watch"]),
    ("Authoring", &["validate", "explain", "completions"]),
    ("Servers", &["servers"]),
    ("Cluster", &["submit", "workflows", "dlq", "doctor", "bench", "scheduler", "worker"]),
];

/// From the beginning of a name to its description.
const NAME_COLUMNS: usize = 13;

/// Reads the command line of this process.
pub(crate) fn parse() -> Result<Cli, Error> {
    let matches = grouped(Cli::command()).try_get_matches().map_err(with_suggestion)?;
    Cli::from_arg_matches(&matches)
}

/// The command, whose help lists its commands in groups.
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
