//! `longshore runs cancel` in a cluster: cancels runs by their ids, or all runs that match options.

use std::pin::pin;

use futures::{StreamExt, stream};
use longshore_ports::{PAGE_LIMIT, RunQuery};
use longshore_proto::{RunId, RunStatus};

use super::cancel_local::cancel_local;
use super::cancelled::{CancelOutcome, CancelReport};
use super::run_count::{RUNS_PER_CANCEL, run_count};
use super::source::{RunSource, RunUse, cluster, find_cluster_run, incomplete_list, query};
use crate::args::RunsCancelArgs;
use crate::cluster::Client;
use crate::config::Config;
use crate::confirm::confirm;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Number of requests under way at once. Schedulers answer each when it is in a log. Logs are written in groups, so more
/// than some dozens at once are not faster.
const AT_ONCE: usize = 32;

/// Number of failures that are shown in full. The others are counted.
const SHOWN_FAILURES: usize = 10;

/// Statuses of runs that can be cancelled and have not been yet.
const STOPPABLE: [RunStatus; 2] = [RunStatus::Running, RunStatus::Failing];

/// Cancels runs of the cluster. A run that is unknown does not prevent the cancel of the others. For a run that has already
/// ended a message is printed; that is success, because it no longer runs.
pub(in super::super) async fn cancel(
    args: RunsCancelArgs,
    config: &Config,
    output: &Output,
) -> Result<Exit, Failure> {
    let Some(client) = cluster(&args.source, config, output).await? else {
        return cancel_local(args, output).await;
    };
    if args.runs.is_empty() {
        many(args, client, config, output).await
    } else {
        named(&args, &client, output).await
    }
}

/// Cancels runs that are named by their ids, one after the other.
async fn named(args: &RunsCancelArgs, client: &Client, output: &Output) -> Result<Exit, Failure> {
    let mut counts = CancelCounts { cancelled: 0, ended: 0, failed: 0, exit: Exit::Success };
    let report = CancelReport { output, json: args.json };
    for text in &args.runs {
        let cancelled = async {
            let run = find_cluster_run(client, text, RunUse::Change).await?;
            Ok((run, client.cancel(run, &args.signal()).await?))
        };
        match cancelled.await {
            Ok((run, None)) => {
                report.print(run, CancelOutcome::Cancelling, &format!("cancelling {run}"))?;
                counts.cancelled += 1;
            }
            Ok((run, Some(ended))) => {
                report.print(run, CancelOutcome::Ended, &ended)?;
                counts.ended += 1;
            }
            // The requests for the other runs would not be answered either.
            Err(failure @ Failure { exit: Exit::Unreachable, .. }) => return Err(failure),
            Err(failure) => {
                report.failed(text, &failure)?;
                counts.failed += 1;
                counts.exit = failure.exit;
            }
        }
    }
    if args.runs.len() > 1 {
        output.message(&counts.summary(args.runs.len()));
    }
    Ok(counts.exit)
}

/// Cancels all runs that the options describe, after a question.
async fn many(
    args: RunsCancelArgs,
    client: Client,
    config: &Config,
    output: &Output,
) -> Result<Exit, Failure> {
    let statuses = if args.statuses.is_empty() { STOPPABLE.to_vec() } else { args.statuses.clone() };
    let query = RunQuery { statuses, ..query(&args.filter) };
    let source = RunSource::Cluster(Box::new(client));
    let MatchingRuns { runs, are_all, incomplete } = collect(&source, query).await?;
    let RunSource::Cluster(client) = source else { return Ok(Exit::Success) };
    if runs.is_empty() {
        return incomplete.map_or_else(
            || {
                output.message("no such runs");
                Ok(Exit::Success)
            },
            |cause| Err(incomplete_list(&cause)),
        );
    }
    let count = run_count(runs.len());
    let what = format!("{count} of the namespace `{}`", config.namespace);
    if !args.yes && !confirm("cancel", &what, &config.nats().to_string(), output).await? {
        output.message("nothing was cancelled");
        return Ok(Exit::Error);
    }
    let counts = cancel_all(&client, &runs, &args, output).await?;
    output.message(&counts.summary(runs.len()));
    if !are_all {
        output.message(&format!(
            "one command cancels {RUNS_PER_CANCEL} runs at most, and there are more: repeat it"
        ));
    }
    match incomplete {
        Some(cause) => Err(maybe_more(&cause)),
        None => Ok(counts.exit),
    }
}

/// Returns the failure of a command that cancelled the runs that it found in a list that may lack some.
fn maybe_more(cause: &str) -> Failure {
    let message = format!("there may be more such runs, which the cluster cannot list now: {cause}");
    Failure::new(Exit::Full, message)
        .help("repeat the command when there is room; `longshore doctor` shows where to make it")
}

/// The runs that match a query.
struct MatchingRuns {
    runs: Vec<RunId>,
    /// True if `runs` has all of them. One command cancels only a limited number.
    are_all: bool,
    /// The reason why runs may be missing.
    incomplete: Option<String>,
}

/// Requests all pages of a query.
async fn collect(source: &RunSource, mut query: RunQuery) -> Result<MatchingRuns, Failure> {
    let mut runs = Vec::new();
    let mut incomplete = None;
    loop {
        query.limit = PAGE_LIMIT.min(RUNS_PER_CANCEL - runs.len());
        let page = source.runs(query.clone()).await?;
        runs.extend(page.runs.iter().map(|summary| summary.run));
        incomplete = incomplete.or(page.incomplete);
        match page.next {
            Some(next) if runs.len() < RUNS_PER_CANCEL => query.after = Some(next),
            next => return Ok(MatchingRuns { runs, are_all: next.is_none(), incomplete }),
        }
    }
}

/// Counts of the results of one command.
#[derive(Debug, Eq, PartialEq)]
struct CancelCounts {
    cancelled: usize,
    ended: usize,
    failed: usize,
    exit: Exit,
}

impl CancelCounts {
    fn summary(&self, requested: usize) -> String {
        let mut parts = vec![format!("cancelling {}", run_count(self.cancelled))];
        let unsent = requested.saturating_sub(self.cancelled + self.ended + self.failed);
        let others = [
            (self.ended, "ended before"),
            (self.failed, "could not be cancelled"),
            (unsent, self.unsent_reason()),
        ];
        parts.extend(
            others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")),
        );
        parts.join("; ")
    }

    /// Returns the reason why requests were not sent, from the failure that ended the command.
    fn unsent_reason(&self) -> &'static str {
        match self.exit {
            Exit::Full => "not tried, because the cluster has no room to store a cancel",
            _ => "not tried, because the cluster does not answer",
        }
    }
}

/// Cancels runs, some at once. Ends early if the cluster does not answer, or has no room.
async fn cancel_all(
    client: &Client,
    runs: &[RunId],
    args: &RunsCancelArgs,
    output: &Output,
) -> Result<CancelCounts, Failure> {
    let mut counts = CancelCounts { cancelled: 0, ended: 0, failed: 0, exit: Exit::Success };
    let (report, signal) = (CancelReport { output, json: args.json }, args.signal());
    let requests = stream::iter(runs).map(async |run| (*run, client.cancel(*run, &signal).await));
    let mut answers = pin!(requests.buffer_unordered(AT_ONCE));
    while let Some((run, answer)) = answers.next().await {
        match answer {
            Ok(None) => {
                counts.cancelled += 1;
                report.document(run, CancelOutcome::Cancelling, &format!("cancelling {run}"))?;
            }
            Ok(Some(ended)) => {
                counts.ended += 1;
                report.document(run, CancelOutcome::Ended, &ended)?;
            }
            Err(failure) => {
                counts.failed += 1;
                counts.exit = failure.exit;
                if counts.failed <= SHOWN_FAILURES {
                    report.failed(run, &failure)?;
                } else {
                    report.document(run, CancelOutcome::Failed, &failure.message)?;
                }
                if matches!(failure.exit, Exit::Unreachable | Exit::Full) {
                    break;
                }
            }
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_counts_every_run() {
        let counts = CancelCounts { cancelled: 1, ended: 0, failed: 0, exit: Exit::Success };
        assert_eq!(counts.summary(1), "cancelling 1 run");
        let counts = CancelCounts { cancelled: 5, ended: 2, failed: 1, exit: Exit::Unreachable };
        let rest = "2 not tried, because the cluster does not answer";
        assert_eq!(
            counts.summary(10),
            format!("cancelling 5 runs; 2 ended before; 1 could not be cancelled; {rest}")
        );
        let full = CancelCounts { exit: Exit::Full, ..counts };
        assert!(full.summary(10).ends_with("2 not tried, because the cluster has no room to store a cancel"));
    }
}
