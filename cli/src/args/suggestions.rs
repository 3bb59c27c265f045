//! Suggestions for names of commands and options that other tools use.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error};

/// Adds to an error the name that was probably meant, where clap has no suggestion.
pub(super) fn with_suggestion(mut error: Error) -> Error {
    let written = [ContextKind::InvalidSubcommand, ContextKind::InvalidArg];
    let takes_inputs = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => takes_inputs(&usage.to_string()),
        _ => false,
    };
    let meant = written.into_iter().find_map(|kind| match error.get(kind) {
        Some(ContextValue::String(word)) if takes_inputs && is_inputs_file(word) => Some(INPUT_FILE_HELP),
        Some(ContextValue::String(word)) => suggestion(word),
        _ => None,
    });
    if let Some(tip) = meant {
        // Suggestions of clap by similarity would be printed before this one.
        error.remove(ContextKind::SuggestedSubcommand);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

/// Advice for a file of inputs that is written as an argument.
const INPUT_FILE_HELP: &str = "a file of inputs is given with `--input-file FILE`, and `-` for stdin";

/// Returns true for the usage of a command that runs a workflow.
fn takes_inputs(usage: &str) -> bool {
    ["longshore run ", "longshore submit "].iter().any(|command| usage.contains(command))
}

fn is_inputs_file(word: &str) -> bool {
    word == "-" || [".json", ".yaml", ".yml"].iter().any(|ending| word.ends_with(ending))
}

fn suggestion(word: &str) -> Option<&'static str> {
    Some(match word {
        "list" | "ls" | "ps" => {
            "runs are listed by `longshore runs list`, servers by `longshore servers list`"
        }
        "show" | "status" | "get" | "logs" | "describe" => "`longshore runs show last` shows the newest run",
        "cancel" | "stop" | "kill" => "runs are cancelled by `longshore runs cancel`",
        "start" | "exec" | "execute" => "a workflow is run by `longshore run`",
        "retry" | "continue" | "restart" => "interrupted runs are continued by `longshore resume`",
        "check" | "lint" | "test" => "a workflow is checked by `longshore validate`",
        "tools" | "call" => {
            "tools are listed and called by `longshore servers tools` and `longshore servers call`"
        }
        "schema" => "`longshore servers tools SERVER/TOOL` prints the schema of a tool's arguments",
        "--dry-run" => "`longshore validate --online` checks a workflow and its calls without running it",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    #[test]
    fn names_of_other_tools_lead_to_the_name_here() {
        for (written, words) in [
            (&["list"][..], "longshore runs list"),
            (&["schema"], "longshore servers tools SERVER/TOOL"),
            (&["run", "wf.yaml", "--dry-run"], "longshore validate --online"),
            (&["run", "wf.yaml", "inputs.json"], "`--input-file FILE`"),
            (&["submit", "wf.yaml", "-"], "`--input-file FILE`"),
        ] {
            let line = std::iter::once("longshore").chain(written.iter().copied());
            let error = Cli::command().try_get_matches_from(line).expect_err("refused");
            let message = with_suggestion(error).to_string();
            assert!(message.contains("tip:") && message.contains(words), "{message}");
        }
    }
}
