//! `longshore runs`: what is kept about runs, in the cluster or in a data directory.
//!
//! A cluster shows what it has checkpointed, about a tenth of a second behind its logs; a data directory is shown as of
//! the end of its log, which is in [`look`].

mod look;
mod page;

use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_backend::RunQuery;
use longshore_proto::{RunId, RunSummary, RunView};
use tokio::time::sleep;

use self::look::Look;

use super::result::RUN_SCHEMA;
use crate::args::{PlaceArgs, RunsCancelArgs, RunsListArgs, RunsShowArgs, USUAL_DATA};
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
enum Place {
    /// In a data directory.
    Data(PathBuf),
    /// In a cluster.
    Cluster(Box<Client>),
}

impl Place {
    /// The cluster if one is named anywhere and no data directory on the command line; else a data directory.
    async fn choose(args: &PlaceArgs, config: &Config, output: &Output) -> Result<Self, Failure> {
        if args.data.is_none() && config.names_cluster() {
            let client = Client::connect(config, args.cluster.verbose, output).await?;
            return Ok(Self::Cluster(Box::new(client)));
        }
        let usual =
            || environment::variable("LONGSHORE_DATA").filter(|dir| !dir.is_empty()).map(PathBuf::from);
        let data = args.data.clone().or_else(usual).unwrap_or_else(|| PathBuf::from(USUAL_DATA));
        if args.cluster.verbose {
            output.message(&format!("looking into the data directory {}", data.display()));
        }
        Ok(Self::Data(data))
    }
}

/// Lists runs, newest first.
pub(super) async fn list(args: RunsListArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let runs = match Place::choose(&args.place, config, output).await? {
        Place::Data(dir) => listed(&dir, &args, output).await?,
        Place::Cluster(client) => client.list(&args.statuses, args.limit.into()).await?,
    };
    if args.json {
        runs.iter().try_for_each(|summary| output.document(SUMMARY_SCHEMA, summary))?;
    } else if runs.is_empty() {
        output.message("no such runs");
    } else {
        output.lines(page::list(&runs, output.symbols))?;
    }
    Ok(Exit::Success)
}

/// Shows a run in full.
pub(super) async fn show(args: RunsShowArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let view = match Place::choose(&args.place, config, output).await? {
        Place::Data(dir) => shown(&dir, &args.run, output).await?,
        Place::Cluster(client) => client.get(find_in(&client, &args.run).await?).await?,
    };
    if args.json {
        output.document(RUN_SCHEMA, &view)?;
    } else {
        output.lines(page::show(&view, output.symbols))?;
    }
    Ok(Exit::Success)
}

/// Tells runs of the cluster to stop, each as well as it goes: one that is unknown keeps no other from stopping. That one has
/// ended already is said, and is as good: whoever repeats a cancel, or is overtaken by the end, has got a run that goes on
/// no longer.
pub(super) async fn cancel(args: RunsCancelArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let Place::Cluster(client) = Place::choose(&args.place, config, output).await? else {
        let message = "a run of one process is cancelled where it runs";
        return Err(Failure::new(Exit::Usage, message)
            .help("press Ctrl-C there; for a run of a cluster, name it with --nats-url or NATS_URL"));
    };
    let mut exit = Exit::Success;
    for text in &args.runs {
        let cancelled = async {
            let run = find_in(&client, text).await?;
            let ended = client.cancel(run, &args.reason).await?;
            Ok(ended.unwrap_or_else(|| format!("cancelling {run}")))
        };
        match cancelled.await {
            Ok(message) => output.message(&message),
            // Nor would the others be heard.
            Err(failure @ Failure { exit: Exit::Unreachable, .. }) => return Err(failure),
            Err(failure) => {
                output.failure(&failure);
                exit = failure.exit;
            }
        }
    }
    Ok(exit)
}

/// The run of the cluster that a text means: its whole id, or what tells it from the newest ones.
pub(super) async fn find_in(client: &Client, text: &str) -> Result<RunId, Failure> {
    if let Ok(run) = text.parse() {
        return Ok(run);
    }
    let (mut looks, pause) = LOOKS;
    loop {
        let newest = client.list(&[], NEWEST).await?;
        looks -= 1;
        match which_run(text, newest.iter().map(|summary| summary.run)) {
            Err(failure) if failure.exit == Exit::NotFound && looks > 0 => sleep(pause).await,
            found => return found,
        }
    }
}

async fn listed(dir: &Path, args: &RunsListArgs, output: &Output) -> Result<Vec<RunSummary>, Failure> {
    let look = Look::at(dir, output).await.map_err(or_a_cluster)?;
    let query = RunQuery { statuses: args.statuses.clone(), limit: args.limit.into(), ..RunQuery::default() };
    let found = look.runs(query).await;
    look.close().await;
    found
}

async fn shown(dir: &Path, text: &str, output: &Output) -> Result<RunView, Failure> {
    let look = Look::at(dir, output).await.map_err(or_a_cluster)?;
    let found = find(&look, text).await;
    look.close().await;
    found
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
async fn find(look: &Look, text: &str) -> Result<RunView, Failure> {
    let run: RunId = match text.parse() {
        Ok(run) => run,
        Err(_) => {
            let newest = look.runs(RunQuery::default()).await?;
            which_run(text, newest.iter().map(|summary: &RunSummary| summary.run))?
        }
    };
    look.run(run).await?.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no run {run}"))
            .help("`longshore runs list` shows what there is")
    })
}
