//! `longshore watch`: a run as it goes, in the cluster or in a data directory.
//!
//! In a cluster, news say that something changed; what is shown is always the run as a scheduler gives it, so news that are
//! lost cost a moment of patience and nothing else. A data directory is [followed](watch_here) by its log.

mod watch_here;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_proto::{RunId, RunView};
use tokio::time::{Instant, sleep_until};

use super::result;
use super::runs::{Place, data_directory, find_in};
use crate::args::WatchArgs;
use crate::cluster::{Client, Heard};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::live::Live;
use crate::output::Output;
use crate::signals::Signals;

/// How often a run is looked at without news.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long after news it is looked at: schedulers show a run as of its last checkpoint, which comes a tenth of a second
/// later. News that follow each other within this are one look.
const LOOK_AFTER_NEWS: Duration = Duration::from_millis(150);

/// How long nobody may answer while a run is watched: longer than a partition takes to change hands.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

/// Watches a run until it has ended.
pub(super) async fn watch(args: WatchArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let (view, hint) = match Place::choose(&args.place, config, output).await? {
        Place::Cluster(client) => {
            let run = find_in(&client, &args.run).await?;
            let Some(view) = to_end(&client, run, output).await? else { return Err(stopped(run)) };
            (view, show_hint(run))
        }
        Place::Data(look) => {
            let data = data_directory(&args.place);
            let followed = watch_here::to_end(&look, &args.run, &data, output).await;
            look.close().await;
            let view = followed?;
            let hint = result::show_hint(&view, &data);
            (view, hint)
        }
    };
    result::ended(&view, &hint, args.json, output)?;
    Ok(if args.exit_status { Exit::worst([view.summary.status]) } else { Exit::Success })
}

/// What is said when somebody stops watching.
pub(super) fn stopped(run: RunId) -> Failure {
    Failure::new(Exit::Interrupted, format!("no longer watching; the run {run} goes on"))
        .help(format!("`longshore watch {run}` watches it again, `longshore runs cancel {run}` stops it"))
}

/// The command that shows every attempt of a run.
pub(super) fn show_hint(run: RunId) -> String {
    format!("`longshore runs show {run}` shows every attempt")
}

/// Shows a run until it has ended; nothing if somebody stopped watching.
pub(super) async fn to_end(
    client: &Client,
    run: RunId,
    output: &Output,
) -> Result<Option<Arc<RunView>>, Failure> {
    let mut signals = Signals::listen()?;
    let listener = client.listen(run).await?;
    let live = Live::new(output, false);
    let mut watching = Watching { output, live, listener: Some(listener), is_over: false, is_full: false };
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok(None),
        ended = watching.look_on(client, run) => ended.map(Some),
    };
    watching.live.finish();
    ended
}

/// A run that is watched.
struct Watching<'a> {
    output: &'a Output,
    live: Live,
    /// Nothing once there will be no more news.
    listener: Option<BoxStream<'static, Heard>>,
    /// Whether news said that the run has ended.
    is_over: bool,
    /// The last answer was that a store is full.
    is_full: bool,
}

impl Watching<'_> {
    async fn look_on(&mut self, client: &Client, run: RunId) -> Result<Arc<RunView>, Failure> {
        let mut answered_at = Instant::now();
        loop {
            match self.look(client, run).await {
                Ok(view) => {
                    answered_at = Instant::now();
                    self.is_full = false;
                    let view = Arc::new(view);
                    self.live.show(Arc::clone(&view));
                    if view.summary.status.is_terminal() {
                        return Ok(view);
                    }
                }
                // The run continues meanwhile, and can be looked at once there is room.
                Err(failure) if failure.exit == Exit::Full => {
                    answered_at = Instant::now();
                    self.wait_for_room(&failure);
                }
                // A scheduler that goes is followed by another one.
                Err(failure)
                    if failure.exit == Exit::Unreachable && answered_at.elapsed() < SILENCE_LIMIT => {}
                Err(failure) => return Err(failure),
            }
            self.wait().await;
        }
    }

    /// Says once why the run cannot be looked at.
    fn wait_for_room(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.output.message(&format!("waiting: {}", failure.message));
        }
    }

    /// Asks for the run, and goes on drawing meanwhile.
    async fn look(&mut self, client: &Client, run: RunId) -> Result<RunView, Failure> {
        let mut asking = pin!(client.get(run));
        loop {
            tokio::select! {
                answer = &mut asking => return answer,
                () = self.live.frame() => {}
            }
        }
    }

    /// Waits until it is time to look again.
    async fn wait(&mut self) {
        let now = Instant::now();
        let mut look_at = now + if self.is_over { LOOK_AFTER_NEWS } else { LOOK_AGAIN };
        loop {
            tokio::select! {
                () = sleep_until(look_at) => return,
                () = self.live.frame() => {}
                heard = next(&mut self.listener) => {
                    if let Heard::Call(update) = heard {
                        self.live.note(update);
                        continue;
                    }
                    self.is_over |= heard == Heard::End;
                    look_at = look_at.min(Instant::now() + LOOK_AFTER_NEWS);
                }
            }
        }
    }
}

/// The next piece of news; for ever if there will be no more. Safe to cancel.
async fn next(listener: &mut Option<BoxStream<'static, Heard>>) -> Heard {
    if let Some(listening) = listener {
        if let Some(heard) = listening.next().await {
            return heard;
        }
        *listener = None;
    }
    std::future::pending().await
}
