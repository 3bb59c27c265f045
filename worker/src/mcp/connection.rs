//! One live connection to a server, shared by all calls to it.
//!
//! Every request has a deadline of ours, is cancelled when nobody waits for it any more, and ends at once when the
//! connection does. The connection also knows when it should not be used again. It is closed when the last one who
//! holds it lets go; the task that does so is started by `handshake`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_proto::{CallActivity, Progress, ServerInstance, ServerName};
use rmcp::ServiceError;
use rmcp::model::{CancelTaskParams, ClientRequest, CustomResult, ProgressToken, RequestId, ServerResult};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient};
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::classify::{Observation, UNSUPPORTED_VERSION};
use super::config::Secrets;
use super::deadline::Deadline;
use super::distil;
use super::flight::{CANCEL, Flight};
use super::listing::Listing;
use super::process::StderrTail;
use super::progress::CallProgress;
use super::stdio::{End, OutputEnd};
use super::wire::Requests;

/// After so many deadlines in a row without any answer, a connection counts as dead: one slow tool is not enough, and
/// some servers never come back (a stream that was lost, a session that was forgotten).
const SILENT_DEADLINES: u32 = 2;
/// The wait for the end of a server whose output has ended, so that the fault can say how the server ended, and whether it had
/// read the request. Only a server that closes its output and keeps running takes so long.
const EXIT_SOON: Duration = Duration::from_secs(2);

/// What a server sends without being asked, passed on by the handler of the connection.
#[derive(Clone, Debug)]
pub(super) struct Notices {
    pub(super) progress: broadcast::Sender<(ProgressToken, Progress)>,
    pub(super) tools_changed: Arc<AtomicBool>,
}

/// How a server over stdio ends.
#[derive(Debug)]
pub(super) struct ChildEnd {
    pub(super) output: OutputEnd,
    /// In words, once it has ended.
    pub(super) exit: watch::Receiver<Option<String>>,
    pub(super) stderr: Arc<StderrTail>,
}

/// What became known while connecting.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) protocol_version: String,
    pub(crate) modern: bool,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    /// The server declares that its list of tools changes.
    pub(crate) changes_tools: bool,
    /// The server is of 2025-11-25, and declares that it carries out calls as tasks.
    pub(crate) takes_tasks: bool,
    pub(crate) connect_time: Duration,
    pub(crate) pid: Option<u32>,
    /// Scheme, host and port of a server over HTTP.
    pub(crate) origin: Option<String>,
    /// Counts the connections of this process, from 1.
    pub(crate) number: u64,
}

/// A live connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) server: ServerName,
    pub(super) about: About,
    pub(super) peer: Peer<RoleClient>,
    pub(super) notices: Notices,
    pub(super) child: Option<ChildEnd>,
    pub(super) requests: Requests,
    pub(super) cancels: TaskTracker,
    pub(super) state: State,
    /// Closes the connection when the last one who holds it lets go.
    pub(super) _stop: DropGuard,
}

/// What changes in the life of a connection.
#[derive(Debug)]
pub(super) struct State {
    silent_deadlines: AtomicU32,
    condemned: AtomicBool,
    used_at: Mutex<Instant>,
    pub(super) listing: tokio::sync::Mutex<Option<Arc<Listing>>>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            silent_deadlines: AtomicU32::new(0),
            condemned: AtomicBool::new(false),
            used_at: Mutex::new(Instant::now()),
            listing: tokio::sync::Mutex::default(),
        }
    }
}

/// Receives what a call under way is doing.
pub(crate) type Report<'a> = &'a (dyn Fn(CallActivity) + Send + Sync);

/// The report of a request that is under way, and its cancellation.
#[derive(Clone, Copy)]
pub(crate) struct Company<'a> {
    pub(crate) report: Report<'a>,
    pub(crate) cancelled: &'a CancellationToken,
}

impl Connection {
    /// The values that are hidden in what the server says.
    pub(crate) const fn secrets(&self) -> &Secrets {
        self.requests.secrets()
    }

    /// The server's name in the servers file.
    pub(crate) const fn server(&self) -> &ServerName {
        &self.server
    }

    /// What became known while connecting.
    pub(crate) const fn about(&self) -> &About {
        &self.about
    }

    /// The process of the server, as attempts are recorded with.
    pub(crate) fn instance(&self) -> ServerInstance {
        let About { pid, origin, number, .. } = &self.about;
        ServerInstance { pid: *pid, origin: origin.clone(), connection: *number }
    }

    /// Whether another request should be tried on it.
    pub(crate) fn is_usable(&self) -> bool {
        // Not `is_closed` of the library: that stays false when the other side goes away.
        !self.state.condemned.load(Ordering::Relaxed)
            && !self.peer.is_transport_closed()
            && !self.child.as_ref().is_some_and(|child| child.output.is_reached())
    }

    /// How long nobody has used it.
    pub(crate) fn idle_for(&self) -> Duration {
        self.state.used_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn touch(&self) {
        *self.state.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// A request that nobody watches.
    pub(crate) async fn request(
        &self,
        request: ClientRequest,
        deadline: Deadline,
    ) -> Result<ServerResult, Observation> {
        let company = Company { report: &|_| {}, cancelled: &CancellationToken::new() };
        self.request_in(company, request, deadline).await
    }

    /// A request: answered, or given up at `deadline`, which its progress moves.
    pub(crate) async fn request_in(
        &self,
        company: Company<'_>,
        request: ClientRequest,
        deadline: Deadline,
    ) -> Result<ServerResult, Observation> {
        self.request_of_call(company, request, &mut self.progress(deadline)).await
    }

    /// The progress of a call that begins now.
    pub(super) fn progress(&self, deadline: Deadline) -> CallProgress {
        CallProgress::new(self.notices.progress.subscribe(), deadline)
    }

    /// One of the requests of a call: answered, or given up at the deadline of the call.
    pub(super) async fn request_of_call(
        &self,
        company: Company<'_>,
        request: ClientRequest,
        progress: &mut CallProgress,
    ) -> Result<ServerResult, Observation> {
        self.touch();
        let answer = self.exchange(company, request, progress).await;
        self.touch();
        match &answer {
            Err(Observation::Deadline(..)) => {
                if self.state.silent_deadlines.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT_DEADLINES {
                    tracing::warn!(server = %self.server, "no answers any more, the connection is given up");
                    self.condemn();
                }
            }
            Err(Observation::Cancelled) => {}
            Err(seen) if ends_the_connection(seen) => self.condemn(),
            _ => self.state.silent_deadlines.store(0, Ordering::Relaxed),
        }
        answer
    }

    async fn exchange(
        &self,
        company: Company<'_>,
        request: ClientRequest,
        progress: &mut CallProgress,
    ) -> Result<ServerResult, Observation> {
        let said_before = self.child.as_ref().map_or(0, |child| child.stderr.lines_read());
        let sending = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options());
        let handle = match timeout_at(progress.deadline().moment(), sending).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(_)) => return Err(Observation::NotWritten("the connection is closed".to_owned())),
            Err(_) => {
                return Err(Observation::NotWritten(format!(
                    "too many requests wait: {}",
                    progress.deadline().reached()
                )));
            }
        };
        progress.note_request(&handle.progress_token);
        let mut flight = Flight::new(handle, self.requests.clone(), self.cancels.clone());
        let id = flight.id().clone();
        tokio::select! {
            biased;
            answer = flight.answer() => self.settle(&id, answer).await,
            () = company.cancelled.cancelled() => Err(Observation::Cancelled),
            seen = self.end_during(&id) => Err(seen),
            () = progress.deadline_reached(company.report) => {
                let said = self.child.as_ref().map(|child| child.stderr.as_suffix_since(said_before));
                Err(Observation::Deadline(progress.deadline().reached(), said.unwrap_or_default()))
            }
        }
    }

    /// Waits between two requests of a call, unless the call or the connection ends before.
    pub(super) async fn pause(
        &self,
        company: Company<'_>,
        time: Duration,
        progress: &mut CallProgress,
    ) -> Result<(), Observation> {
        tokio::select! {
            biased;
            () = company.cancelled.cancelled() => Err(Observation::Cancelled),
            seen = self.end() => Err(seen),
            () = progress.deadline_reached(company.report) => {
                Err(Observation::Deadline(progress.deadline().reached(), String::new()))
            }
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    async fn settle(
        &self,
        id: &RequestId,
        answer: Result<ServerResult, ServiceError>,
    ) -> Result<ServerResult, Observation> {
        // What came is kept beside the library, which gets a placeholder.
        match (self.requests.take(id), answer) {
            (Some(kept), _) => {
                kept.map(|result| ServerResult::CustomResult(CustomResult::new(Value::Object(result))))
            }
            (None, Ok(result)) => Ok(result),
            (None, Err(ServiceError::TransportClosed)) if self.child.is_some() => {
                // The reason comes from the other end of the same event, if it was not ours.
                match timeout(EXIT_SOON, self.end_during(id)).await {
                    Ok(seen) => Err(seen),
                    Err(_) => Err(Observation::Closed("the connection was closed".to_owned())),
                }
            }
            (None, Err(error)) => Err(distil::request_error(&error)),
        }
    }

    /// Waits for the end of a server over stdio, during a request; for ever, over HTTP.
    async fn end_during(&self, request: &RequestId) -> Observation {
        match self.end().await {
            Observation::Closed(why) if self.requests.is_unread(request) => Observation::NotRead(why),
            seen => seen,
        }
    }

    /// Waits for the end of a server over stdio; for ever, over HTTP.
    async fn end(&self) -> Observation {
        let Some(child) = &self.child else { return std::future::pending().await };
        match child.output.reached().await {
            End::EndlessLine(bytes) => Observation::Unreadable(format!("a line of more than {bytes} bytes")),
            End::Failed(why) => Observation::Closed(why),
            End::Closed => Observation::Closed(child.how_it_ended().await),
        }
    }

    /// Cancels a task at the server. The connection stays open until the server has answered, for [`CANCEL`] at most.
    pub(super) fn cancel_task(self: &Arc<Self>, task: String) {
        // Without a runtime everything is going down, the server with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connection = Arc::clone(self);
        let cancel = async move {
            let _ = timeout(CANCEL, connection.peer.cancel_task(CancelTaskParams::new(task))).await;
        };
        self.cancels.spawn_on(cancel, &runtime);
    }

    fn condemn(&self) {
        self.state.condemned.store(true, Ordering::Relaxed);
    }
}

/// Whether the next call had better start from nothing. Over HTTP most of these leave a handle that still works, but
/// connecting anew is cheap, and a session that is in doubt is not.
const fn ends_the_connection(seen: &Observation) -> bool {
    matches!(
        seen,
        Observation::Closed(_)
            | Observation::NotWritten(_)
            | Observation::NotRead(_)
            | Observation::NotReached(_)
            | Observation::SessionLost(_)
            | Observation::JsonRpc { code: UNSUPPORTED_VERSION, .. }
    )
}

impl ChildEnd {
    /// How the server ended, as far as that becomes known soon.
    pub(super) async fn how_it_ended(&self) -> String {
        let mut exit = self.exit.clone();
        let exit = match timeout(EXIT_SOON, exit.wait_for(Option::is_some)).await {
            Ok(Ok(exit)) => exit.clone().unwrap_or_default(),
            _ => "the server closed its output".to_owned(),
        };
        format!("{exit}{}", self.stderr.as_suffix())
    }
}
