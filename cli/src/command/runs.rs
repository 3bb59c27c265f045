//! `longshore runs`: what is kept about runs, in the cluster or in a data directory.
//!
//! A cluster shows what it has checkpointed, about a tenth of a second behind its logs; a data directory is shown as of
//! the end of its logs, which is in [`look`].

mod cancel;
mod cancel_here;
mod cancelled;
mod look;
mod page;
mod run_count;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use longshore_ports::{RunCursor, RunPage, RunQuery, clock};
use longshore_proto::{RunId, RunStatus, RunSummary, RunView};
use tokio::time::sleep;

pub(super) use self::cancel::cancel;
pub(super) use self::look::Look;
pub(super) use self::value::output;

use super::result::RUN_SCHEMA;
use crate::args::{PlaceArgs, RunFilterArgs, RunsListArgs, RunsShowArgs, USUAL_DATA};
use crate::cluster::Client;
use crate::config::Config;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::which_run::which_run;

/// What a line of a list is called in JSON.
const SUMMARY_SCHEMA: &str = "longshore.run-summary";

/// How many of the newest runs are looked at for the beginning or end of an id.
const NEWEST: usize = 1_000;

/// How often, and with what pause, such a run is looked for in a cluster: one that was submitted a moment ago stands in the
/// next checkpoint. A scheduler has the same patience with a whole id.
const LOOKS: (u32, Duration) = (5, Duration::from_millis(100));

/// Where runs are looked for.
pub(super) enum Place {
    /// In a data directory.
    Data(Box<Look>),
    /// In a cluster.
    Cluster(Box<Client>),
}

impl Place {
    /// The cluster if one is named anywhere and no data directory on the command line; else a data directory.
    pub(super) async fn choose(args: &PlaceArgs, config: &Config, output: &Output) -> Result<Self, Failure> {
        if let Some(client) = cluster(args, config, output).await? {
            return Ok(Self::Cluster(Box::new(client)));
        }
        let data = data_directory(args);
        if args.cluster.verbose {
            output.message(&format!("looking into the data directory {}", data.display()));
        }
        let look = Look::at(&data, output).await.map_err(or_a_cluster)?;
        Ok(Self::Data(Box::new(look)))
    }

    /// Runs that a query asks for, and the place where the list continues. Asks for further pages until the list has as many
    /// runs as were asked for: a filter that few runs match leaves pages short.
    async fn runs(&self, mut query: RunQuery) -> Result<RunPage, Failure> {
        let wanted = query.page_limit();
        let mut found = RunPage::default();
        loop {
            query.limit = wanted - found.runs.len();
            let mut page = match self {
                Self::Data(look) => look.runs(&query).await?,
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

    async fn close(self) {
        match self {
            Self::Data(look) => look.close().await,
            Self::Cluster(_) => {}
        }
    }
}

/// The data directory that is meant where no cluster is.
pub(super) fn data_directory(args: &PlaceArgs) -> PathBuf {
    let usual = || environment::variable("LONGSHORE_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    args.data.clone().or_else(usual).unwrap_or_else(|| PathBuf::from(USUAL_DATA))
}

/// The cluster, if one is named anywhere and no data directory on the command line.
async fn cluster(args: &PlaceArgs, config: &Config, output: &Output) -> Result<Option<Client>, Failure> {
    if args.data.is_some() || !config.names_cluster() {
        return Ok(None);
    }
    Client::connect(config, args.cluster.verbose, output).await.map(Some)
}

/// What the options of a filter ask for.
fn query(filter: &RunFilterArgs) -> RunQuery {
    RunQuery {
        workflow: filter.workflow.clone(),
        since: filter.since.map(|since| since.moment(clock::now())),
        labels: filter.labels.iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect(),
        ..RunQuery::default()
    }
}

/// Lists runs, newest first.
pub(super) async fn list(args: RunsListArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let place = Place::choose(&args.place, config, output).await?;
    if matches!(place, Place::Cluster(_)) && args.statuses.contains(&RunStatus::Interrupted) {
        let message = "a run of a cluster is never interrupted: another scheduler or worker goes on with it";
        return Err(
            Failure::new(Exit::Usage, message).help("runs of a data directory are listed with --data")
        );
    }
    let query = RunQuery {
        statuses: args.statuses.clone(),
        after: args.after,
        limit: args.limit.into(),
        ..query(&args.filter)
    };
    let found = place.runs(query).await;
    place.close().await;
    let RunPage { runs, next, incomplete } = found?;
    if let Some(cause) = &incomplete {
        output.warning(&format!("the list may lack runs and changes: {cause}"));
    }
    if args.json {
        runs.iter().try_for_each(|summary| output.document(SUMMARY_SCHEMA, summary))?;
    } else if runs.is_empty() {
        output.message("no such runs");
    } else {
        output.lines(page::list(&runs, output.symbols, &output.result_times, output.table_room()))?;
    }
    if let Some(next) = next {
        output.message(&cut_short(runs.len(), args.after.is_some(), next));
    }
    Ok(if incomplete.is_some() && runs.is_empty() { Exit::Full } else { Exit::Success })
}

/// A list is incomplete, so it cannot be said which runs are meant.
fn incomplete_list(cause: &str) -> Failure {
    Failure::new(Exit::Full, format!("the cluster cannot list its newest runs: {cause}"))
        .help("name a run by its whole id, or make room first; `longshore doctor` says where")
}

/// Says that the limit has cut a list, and how to see more.
fn cut_short(shown: usize, is_continued: bool, next: RunCursor) -> String {
    let which = if is_continued { "next" } else { "newest" };
    format!(
        "showing the {which} {shown} runs: --limit shows more, and the list continues with --after {next}"
    )
}

/// Shows a run in full.
pub(super) async fn show(args: RunsShowArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let place = Place::choose(&args.place, config, output).await?;
    let view = match &place {
        Place::Data(look) => find(look, &args.run).await,
        Place::Cluster(client) => match find_in(client, &args.run).await {
            Ok(run) => client.get(run).await,
            Err(failure) => Err(failure),
        },
    };
    place.close().await;
    let view = view?;
    if args.json {
        output.document(RUN_SCHEMA, &view)?;
    } else {
        output.whole_lines(page::show(&view, output.symbols, &output.result_times, output.table_room()))?;
    }
    Ok(Exit::Success)
}

/// The run of the cluster that a text means: its whole id, or what tells it from the newest ones.
pub(super) async fn find_in(client: &Client, text: &str) -> Result<RunId, Failure> {
    if let Ok(run) = text.parse() {
        return Ok(run);
    }
    let (mut looks, pause) = LOOKS;
    loop {
        let newest = client.list(&RunQuery { limit: NEWEST, ..RunQuery::default() }).await?;
        if let Some(cause) = &newest.incomplete {
            return Err(incomplete_list(cause));
        }
        looks -= 1;
        match which_run(text, newest.runs.iter().map(|summary| summary.run)) {
            Err(failure) if failure.exit == Exit::NotFound && looks > 0 => sleep(pause).await,
            found => return found,
        }
    }
}

/// Somebody who looks into a directory that is not there may have forgotten to name the cluster.
fn or_a_cluster(failure: Failure) -> Failure {
    match failure.exit {
        Exit::NotFound if failure.help.is_none() => {
            failure.help("name another one with --data, or a cluster with --nats-url or NATS_URL")
        }
        _ => failure,
    }
}

/// The run of a data directory that a text means: its whole id, or what tells it from the newest ones.
pub(super) async fn find(look: &Look, text: &str) -> Result<RunView, Failure> {
    let run: RunId = match text.parse() {
        Ok(run) => run,
        Err(_) => {
            let newest = look.runs(&RunQuery::default()).await?;
            which_run(text, newest.runs.iter().map(|summary: &RunSummary| summary.run))?
        }
    };
    look.run(run).await?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no run {run}"))
            .help("`longshore runs list` shows what there is")
    })
}
