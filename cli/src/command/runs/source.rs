//! Source of runs, a cluster or a data directory, and the search for a run in it.

use std::path::PathBuf;

use longshore_ports::{RunPage, RunQuery, clock};
use longshore_proto::{RunId, RunSummary, RunView};

use super::data_dir::DirectoryRuns;
use crate::args::{DEFAULT_DATA_DIR, RunFilterArgs, RunSourceArgs};
use crate::cluster::Client;
use crate::config::Config;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::which_run::which_run;

/// Number of the newest runs that are searched for the beginning or end of an id.
const SEARCHED_RUNS: usize = 1_000;

/// Number of requests for the newest runs of a cluster while the last changes are not stored. A scheduler waits half a second
/// for each.
const LOOKUP_TRIES: u32 = 3;

/// Source of runs.
pub(in crate::command) enum RunSource {
    /// A data directory.
    DataDir(Box<DirectoryRuns>),
    /// A cluster.
    Cluster(Box<Client>),
}

impl RunSource {
    /// Returns the cluster if one is configured and the command line names no data directory; otherwise the data directory.
    pub(in crate::command) async fn choose(
        args: &RunSourceArgs,
        config: &Config,
        output: &Output,
    ) -> Result<Self, Failure> {
        if let Some(client) = cluster(args, config, output).await? {
            return Ok(Self::Cluster(Box::new(client)));
        }
        let data = data_directory(args);
        if args.cluster.verbose {
            output.message(&format!("reading the data directory {}", data.display()));
        }
        let local = DirectoryRuns::read(&data, output).await.map_err(suggest_cluster)?;
        Ok(Self::DataDir(Box::new(local)))
    }

    /// Returns the runs that a query asks for, and the cursor at which the list continues. Reads further pages until the
    /// list has as many runs as were asked for, because a filter that few runs match leaves pages short.
    pub(super) async fn runs(&self, mut query: RunQuery) -> Result<RunPage, Failure> {
        let wanted = query.page_limit();
        let mut found = RunPage::default();
        loop {
            query.limit = wanted - found.runs.len();
            let mut page = match self {
                Self::DataDir(local) => local.runs(&query).await?,
                Self::Cluster(client) => client.list(&query).await?,
            };
            found.runs.append(&mut page.runs);
            found.next = page.next;
            found.incomplete = found.incomplete.or(page.incomplete);
            query.after = page.next;
            if page.next.is_none() || found.runs.len() >= wanted {
                return Ok(found);
            }
        }
    }

    pub(super) async fn close(self) {
        match self {
            Self::DataDir(local) => local.close().await,
            Self::Cluster(_) => {}
        }
    }
}

/// Returns the data directory of commands that name neither one nor a cluster.
pub(in crate::command) fn data_directory(args: &RunSourceArgs) -> PathBuf {
    let usual = || environment::variable("LONGSHORE_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    args.data.clone().or_else(usual).unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR))
}

/// Connects to the cluster if one is configured and the command line names no data directory.
pub(super) async fn cluster(
    args: &RunSourceArgs,
    config: &Config,
    output: &Output,
) -> Result<Option<Client>, Failure> {
    if args.data.is_some() || !config.names_cluster() {
        return Ok(None);
    }
    Client::connect(config, args.cluster.verbose, output).await.map(Some)
}

/// Returns the query for the options of a filter.
pub(super) fn query(filter: &RunFilterArgs) -> RunQuery {
    RunQuery {
        workflow: filter.workflow.clone(),
        since: filter.since.map(|since| since.moment(clock::now())),
        labels: filter.labels.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect(),
        ..RunQuery::default()
    }
}

/// Returns the failure of a command that needs a complete list of runs and got an incomplete one.
pub(super) fn incomplete_list(cause: &str) -> Failure {
    Failure::new(Exit::Full, format!("the cluster cannot list its newest runs: {cause}"))
        .help("name a run by its whole id, or make room first; `longshore doctor` shows where")
}

/// Returns the run of a cluster that a text names: by its whole id, or by the beginning or end of the id of one of the
/// newest runs, among which are all whose submits were answered before. While these are not all known, a run that is only shown is
/// one of those that are.
pub(in crate::command) async fn find_cluster_run(
    client: &Client,
    text: &str,
    using: RunUse,
) -> Result<RunId, Failure> {
    if let Ok(run) = text.parse() {
        return Ok(run);
    }
    let mut tries = LOOKUP_TRIES;
    let newest = loop {
        tries -= 1;
        match client.newest(SEARCHED_RUNS).await? {
            Ok(newest) => break newest,
            Err(refusal) if refusal.is_not_stored() && tries > 0 => {}
            Err(refusal) if refusal.is_not_stored() && using == RunUse::Show => {
                break client.list(&RunQuery { limit: SEARCHED_RUNS, ..RunQuery::default() }).await?;
            }
            Err(refusal) => {
                return Err(refusal
                    .failure
                    .help("name the run by its whole id, or try again a little later"));
            }
        }
    };
    match &newest.incomplete {
        Some(cause) => Err(incomplete_list(cause)),
        None => which_run(text, newest.runs.iter().map(|summary| summary.run)),
    }
}

/// The use that a command makes of a run that it looks up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::command) enum RunUse {
    /// The run is shown.
    Show,
    /// The run is changed, so it must not be another one than the user means.
    Change,
}

/// Adds the advice to name a cluster to the failure about a missing data directory.
pub(super) fn suggest_cluster(failure: Failure) -> Failure {
    match failure.exit {
        Exit::NotFound if failure.help.is_none() => {
            failure.help("name another one with --data, or a cluster with --nats-url or NATS_URL")
        }
        _ => failure,
    }
}

/// Returns the run of a data directory that a text names: by its whole id, or by the beginning or end of the id of one of
/// the newest runs.
pub(in crate::command) async fn find_local_run(
    local: &DirectoryRuns,
    text: &str,
) -> Result<RunView, Failure> {
    let run: RunId = match text.parse() {
        Ok(run) => run,
        Err(_) => {
            let newest = local.runs(&RunQuery::default()).await?;
            which_run(text, newest.runs.iter().map(|summary: &RunSummary| summary.run))?
        }
    };
    local.run(run).await?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no run {run}"))
            .help("`longshore runs list` shows the runs")
    })
}
