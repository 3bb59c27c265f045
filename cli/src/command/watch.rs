//! `longshore watch`: shows a run until it has ended, in a cluster or in a data directory.
//!
//! In a cluster, a run update only triggers a request for the run, and the answer is shown. A lost update therefore only
//! delays the view. In a data directory the [log is read](watch_local).

mod watch_local;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_proto::{RunId, RunView};
use tokio::time::{Instant, sleep_until};

use super::result;
use super::runs::{RunSource, RunUse, data_directory, find_cluster_run};
use crate::args::WatchArgs;
use crate::cluster::{Client, Refusal, RunNotification};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::live::LiveView;
use crate::output::Output;
use crate::signals::Signals;

/// Interval of requests for the run while no run update arrives.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Delay from a run update to the request. Schedulers answer from the last checkpoint, which is written a tenth of a second
/// later, and updates within this time cause one request.
const REFRESH_DELAY: Duration = Duration::from_millis(150);

/// Time without the run in an answer after which watching fails. It is longer than the takeover of a partition.
const UNREACHABLE_LIMIT: Duration = Duration::from_secs(60);

/// Watches a run until it has ended.
pub(super) async fn watch(args: WatchArgs, config: &Config, output: &Output) -> Result<Exit, Failure> {
    let (view, hint) = match RunSource::choose(&args.source, config, output).await? {
        RunSource::Cluster(client) => {
            let run = find_cluster_run(&client, &args.run, RunUse::Show).await?;
            let Some(view) = to_end(&client, run, None, output).await? else { return Err(stopped(run)) };
            (view, show_hint(run))
        }
        RunSource::DataDir(local) => {
            let data = data_directory(&args.source);
            let followed = watch_local::to_end(&local, &args.run, &data, output).await;
            local.close().await;
            let view = followed?;
            let hint = result::show_hint(&view, &data);
            (view, hint)
        }
    };
    result::ended(&view, &hint, args.json, output)?;
    Ok(if args.exit_status { Exit::worst([view.summary.status]) } else { Exit::Success })
}

/// Returns the failure for a user who stopped watching.
pub(super) fn stopped(run: RunId) -> Failure {
    Failure::new(Exit::Interrupted, format!("no longer watching; the run {run} continues"))
        .help(format!("`longshore watch {run}` watches it again, `longshore runs cancel {run}` stops it"))
}

/// Returns the hint about the command that shows every attempt of a run.
pub(super) fn show_hint(run: RunId) -> String {
    format!("`longshore runs show {run}` shows every attempt")
}

/// Shows a run until it has ended. Returns `None` if the user stopped watching. Without an earlier answer of a scheduler, at
/// `answered_at`, a scheduler has to answer the first request.
pub(super) async fn to_end(
    client: &Client,
    run: RunId,
    answered_at: Option<Instant>,
    output: &Output,
) -> Result<Option<Arc<RunView>>, Failure> {
    let mut signals = Signals::listen()?;
    let listener = client.listen(run).await?;
    let live = LiveView::new(output, false);
    let mut watching = WatchSession {
        output,
        live,
        listener: Some(listener),
        has_ended: false,
        answered_at,
        is_waiting: false,
    };
    let ended = tokio::select! {
        biased;
        _ = signals.next() => Ok(None),
        ended = watching.run_until_ended(client, run) => ended.map(Some),
    };
    watching.live.finish();
    ended
}

/// One run that is being watched.
struct WatchSession<'a> {
    output: &'a Output,
    live: LiveView,
    /// `None` once no more updates can arrive.
    listener: Option<BoxStream<'static, RunNotification>>,
    /// A run update said that the run has ended.
    has_ended: bool,
    /// Time of the last answer with the run, or of the first answer without it.
    answered_at: Option<Instant>,
    /// The run cannot be shown at present, and the reason was printed.
    is_waiting: bool,
}

impl WatchSession<'_> {
    async fn run_until_ended(&mut self, client: &Client, run: RunId) -> Result<Arc<RunView>, Failure> {
        loop {
            match self.request_run(client, run).await {
                Ok(Ok(view)) => {
                    self.answered_at = Some(Instant::now());
                    self.is_waiting = false;
                    let view = Arc::new(view);
                    self.live.show(Arc::clone(&view));
                    if view.summary.status.is_terminal() {
                        return Ok(view);
                    }
                }
                // The run continues meanwhile, and can be requested again once there is room.
                Ok(Err(Refusal { failure, .. })) if failure.exit == Exit::Full => {
                    self.answered_at = Some(Instant::now());
                    self.report_waiting(&failure);
                }
                // The partition has no leader, or its leader has not stored the run yet.
                Ok(Err(Refusal { failure, .. })) if failure.exit == Exit::Unreachable => {
                    self.answered_at.get_or_insert_with(Instant::now);
                    self.wait_or_fail(failure)?;
                }
                Ok(Err(Refusal { failure, .. })) => return Err(failure),
                // Another scheduler replaces one that ends.
                Err(failure) if failure.exit == Exit::Unreachable => self.wait_or_fail(failure)?,
                Err(failure) => return Err(failure),
            }
            self.wait().await;
        }
    }

    /// Reports the failure of a request, or returns it if the last answer is too old.
    fn wait_or_fail(&mut self, failure: Failure) -> Result<(), Failure> {
        if self.answered_at.is_none_or(|at| at.elapsed() >= UNREACHABLE_LIMIT) {
            return Err(failure);
        }
        self.report_waiting(&failure);
        Ok(())
    }

    /// Prints once why the run cannot be shown at present.
    fn report_waiting(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.is_waiting, true) {
            self.output.message(&format!("waiting: {}", failure.message));
        }
    }

    /// Requests the run, and draws frames meanwhile.
    async fn request_run(
        &mut self,
        client: &Client,
        run: RunId,
    ) -> Result<Result<RunView, Refusal>, Failure> {
        let mut request = pin!(client.try_get(run));
        loop {
            tokio::select! {
                answer = &mut request => return answer,
                () = self.live.frame_due() => self.live.print_frame(),
            }
        }
    }

    /// Waits until the next request is due, and draws frames meanwhile.
    async fn wait(&mut self) {
        let now = Instant::now();
        let mut request_at = now + if self.has_ended { REFRESH_DELAY } else { POLL_INTERVAL };
        loop {
            tokio::select! {
                () = sleep_until(request_at) => return,
                () = self.live.frame_due() => self.live.print_frame(),
                update = next_update(&mut self.listener) => {
                    if let RunNotification::Call(update) = update {
                        self.live.show_activity(update);
                        continue;
                    }
                    self.has_ended |= update == RunNotification::Ended;
                    request_at = request_at.min(Instant::now() + REFRESH_DELAY);
                }
            }
        }
    }
}

/// Returns the next run update. Never returns if no more can arrive. Safe to cancel.
async fn next_update(listener: &mut Option<BoxStream<'static, RunNotification>>) -> RunNotification {
    if let Some(listening) = listener {
        if let Some(update) = listening.next().await {
            return update;
        }
        *listener = None;
    }
    std::future::pending().await
}
