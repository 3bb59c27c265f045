//! Options of `longshore runs`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueHint};
use longshore_ports::RunCursor;
use longshore_proto::{RunStatus, Signal, StepPath, WorkflowName};

use super::shared::RunSourceArgs;
use super::value::{NameValue, SinceTime};

/// Statuses that `runs list --status` accepts.
const STATUSES: [RunStatus; 7] = [
    RunStatus::Running,
    RunStatus::Failing,
    RunStatus::Interrupted,
    RunStatus::Cancelling,
    RunStatus::Succeeded,
    RunStatus::Failed,
    RunStatus::Cancelled,
];

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List(RunsListArgs),
    /// Show a run: its steps, their attempts, its outputs
    Show(RunsShowArgs),
    /// Print one value of a run in full: its outputs, or the output of a step
    Output(RunsOutputArgs),
    /// Cancel runs
    Cancel(RunsCancelArgs),
}

/// Selection of runs, apart from their status.
#[derive(Debug, Default, Args)]
pub(crate) struct RunFilterArgs {
    /// Only runs of this workflow
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<WorkflowName>,
    /// Only runs that were submitted since: 90s, 2h or 7d ago, or a moment such as 2026-11-20 or 2026-11-20T15:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<SinceTime>,
    /// Only runs whose workflow has this label; may be given several times
    #[arg(long = "label", value_name = "NAME=VALUE")]
    pub(crate) labels: Vec<NameValue>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore runs cancel 9v0w
  longshore runs cancel 9v0w --reason 'wrong file'
  longshore runs cancel --workflow sales-report --since 2h
  longshore runs cancel --all --yes

Calls under way get 30 s to end. A run that has already ended is no error. Runs that are not named by their ids are
counted first, and it asks before it cancels them. In a data directory the process that executes a run stops it; an
interrupted run ends at once, unless it has steps with `if: always()`, which `longshore resume` executes.")]
#[command(group = clap::ArgGroup::new("which")
    .required(true)
    .multiple(true)
    .args(["runs", "all", "statuses", "workflow", "since", "labels"]))]
pub(crate) struct RunsCancelArgs {
    /// The runs: ids, the beginning or end of one, or `last`
    #[arg(value_name = "RUN", conflicts_with_all = ["all", "statuses", "workflow", "since", "labels"])]
    pub(crate) runs: Vec<String>,
    /// All runs of the namespace, or of the data directory, that have not ended
    #[arg(long)]
    pub(crate) all: bool,
    /// Only runs with this status; may be given several times
    #[arg(long = "status", value_name = "STATUS", value_parser = status(&STATUSES[..3]))]
    pub(crate) statuses: Vec<RunStatus>,
    #[command(flatten)]
    pub(crate) filter: RunFilterArgs,
    /// Cancel without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// End the runs at once: no call is waited for, and no step begins, not even one with `if: always()`
    #[arg(long)]
    pub(crate) terminate: bool,
    /// The reason, which is stored with the run
    #[arg(long, value_name = "TEXT", default_value = "cancelled on the command line")]
    pub(crate) reason: String,
    /// Print JSON, one run on each line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: RunSourceArgs,
}

impl RunsCancelArgs {
    /// Returns the request that is sent to the runs.
    pub(crate) fn signal(&self) -> Signal {
        let reason = self.reason.clone();
        if self.terminate { Signal::Terminate { reason } } else { Signal::Cancel { reason } }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore runs list --status failed --limit 5
  longshore runs list --workflow sales-report --since 2h --label team=billing
  longshore runs list --indeterminate --since 24h
  longshore runs list --json | jq -r .run

If there are more runs than --limit, a message shows how to list the next ones with --after.")]
pub(crate) struct RunsListArgs {
    /// Only runs with this status; may be given several times
    #[arg(long = "status", value_name = "STATUS", value_parser = status(&STATUSES))]
    pub(crate) statuses: Vec<RunStatus>,
    #[command(flatten)]
    pub(crate) filter: RunFilterArgs,
    /// Only runs with an indeterminate step: its call may have happened, and is not safe to repeat
    #[arg(long)]
    pub(crate) indeterminate: bool,
    /// At most this many, up to 1000
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Continue after this cursor, which the previous list printed
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<RunCursor>,
    #[command(flatten)]
    pub(crate) source: RunSourceArgs,
    /// Print JSON, one run on each line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore runs show last
  longshore runs show run_00_01kbgq5v8m3n4p5q6r7s8t9v0w
  longshore runs show 9v0w --json | jq '.steps[].attempts'")]
pub(crate) struct RunsShowArgs {
    /// The run: its id, the beginning or end of it, or `last` for the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    #[command(flatten)]
    pub(crate) source: RunSourceArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore runs output last
  longshore runs output 9v0w fetch | jq .rows
  longshore runs output 9v0w fetch --content -o content.json

Without a step it prints the outputs of the run. It also prints values of which `runs show` shows the size only.")]
pub(crate) struct RunsOutputArgs {
    /// The run: its id, the beginning or end of it, or `last` for the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// The step, as `runs show` names it
    #[arg(value_name = "STEP")]
    pub(crate) step: Option<StepPath>,
    /// The content as the tool returned it, which is stored if the workflow reads it
    #[arg(long, requires = "step")]
    pub(crate) content: bool,
    /// Write the value to this file, as JSON
    #[arg(short = 'o', long = "output", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: RunSourceArgs,
}

/// Returns the parser of an option that accepts these statuses.
fn status(known: &'static [RunStatus]) -> impl TypedValueParser<Value = RunStatus> {
    let names = PossibleValuesParser::new(known.iter().map(|status| status.as_str()));
    names.try_map(|name| known.iter().copied().find(|status| status.as_str() == name).ok_or("no such status"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, ClusterCommand, Command};
    use super::*;

    #[test]
    fn every_status_is_accepted() {
        for status in STATUSES {
            let cli = Cli::try_parse_from(["longshore", "runs", "list", "--status", status.as_str()]);
            let Ok(Cli { command: Command::Cluster(ClusterCommand::Runs(RunsCommand::List(list))), .. }) =
                cli
            else {
                panic!("{cli:?}");
            };
            assert_eq!(list.statuses, [status]);
        }
        assert!(Cli::try_parse_from(["longshore", "runs", "list", "--status", "done"]).is_err());
    }

    #[test]
    fn runs_to_cancel_are_named_or_described_and_never_both_or_neither() {
        let cancel =
            |args: &[&str]| Cli::try_parse_from(["longshore", "runs", "cancel"].iter().chain(args)).map(drop);
        for good in [
            &["9v0w", "9v0x"][..],
            &["--all"],
            &["--workflow", "a", "--status", "running", "--yes"],
            &["--since", "2h"],
            &["--label", "team=billing"],
        ] {
            assert!(cancel(good).is_ok(), "{good:?}: {:?}", cancel(good));
        }
        for bad in
            [&[][..], &["--yes"], &["9v0w", "--all"], &["9v0w", "--since", "2h"], &["--status", "failed"]]
        {
            assert!(cancel(bad).is_err(), "{bad:?}");
        }
    }
}
