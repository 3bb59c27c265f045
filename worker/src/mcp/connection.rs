//! One live connection to a server, shared by all calls to it.
//!
//! Every request has a deadline, is cancelled when its caller stops waiting, and ends at once when the connection ends. The
//! connection also records that it must not be used again. It is closed when its last owner drops it, by a task that
//! `handshake` starts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_proto::{Progress, ServerInstance, ServerName};
use rmcp::ServiceError;
use rmcp::model::{CancelTaskParams, ClientRequest, CustomResult, ProgressToken, RequestId, ServerResult};
use rmcp::service::{Peer, PeerRequestOptions, RoleClient};
use serde_json::Value;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::classify::{McpFailure, UNSUPPORTED_VERSION};
use super::config::Secrets;
use super::deadline::Deadline;
use super::in_flight::{CANCEL_LIMIT, InFlightRequest};
use super::library_errors;
use super::process::OutputTail;
use super::progress::{CallProgress, ReportActivity};
use super::stdio::{OutputEnd, OutputEndReason};
use super::tool_listing::ToolListing;
use super::wire::{KeptAnswer, PendingRequests};

/// Deadlines in a row without any answer after which a connection counts as dead. One deadline may be that of a slow tool. Some
/// servers never answer again, because a stream was lost or a session was forgotten.
const UNANSWERED_DEADLINES: u32 = 2;
/// The longest wait for the exit of a server whose output has ended, so that the fault can report its exit status, and if it had
/// read the request. Only a server that closes its output and keeps running takes this long.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

/// Notifications of a server, which the client's handler passes on.
#[derive(Clone, Debug)]
pub(super) struct ServerNotifications {
    pub(super) progress: broadcast::Sender<(ProgressToken, Progress)>,
    pub(super) tools_changed: Arc<AtomicBool>,
}

/// The process of a server over stdio, as a connection observes it.
#[derive(Debug)]
pub(super) struct ChildStatus {
    pub(super) output: OutputEnd,
    /// Description of the exit, once the process has ended.
    pub(super) exit: watch::Receiver<Option<String>>,
    pub(super) stderr: Arc<OutputTail>,
}

/// Facts about a connection that were learned while connecting.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    pub(crate) protocol_version: String,
    pub(crate) modern: bool,
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    /// The server declares that its list of tools changes.
    pub(crate) changes_tools: bool,
    /// The server speaks 2025-11-25, and declares that it performs calls as tasks.
    pub(crate) takes_tasks: bool,
    pub(crate) connect_time: Duration,
    pub(crate) pid: Option<u32>,
    /// Scheme, host and port of a server over HTTP.
    pub(crate) origin: Option<String>,
    /// Number of the connection in this process, starting at 1.
    pub(crate) number: u64,
}

/// The result of a request.
#[derive(Debug)]
pub(crate) struct ReceivedResult {
    pub(crate) result: ServerResult,
    /// [`KeptAnswer::rounded`].
    pub(crate) rounded: Option<String>,
}

/// A live connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) server: ServerName,
    pub(super) info: ConnectionInfo,
    pub(super) peer: Peer<RoleClient>,
    pub(super) notices: ServerNotifications,
    pub(super) child: Option<ChildStatus>,
    pub(super) requests: PendingRequests,
    pub(super) cancels: TaskTracker,
    pub(super) state: ConnectionState,
    /// Closes the connection when its last owner drops it.
    pub(super) _stop: DropGuard,
}

/// The mutable state of a connection.
#[derive(Debug)]
pub(super) struct ConnectionState {
    unanswered_deadlines: AtomicU32,
    is_given_up: AtomicBool,
    /// The log has a warning that a number in an answer was rounded.
    rounded_number_logged: AtomicBool,
    used_at: Mutex<Instant>,
    pub(super) listing: tokio::sync::Mutex<Option<Arc<ToolListing>>>,
}

impl Default for ConnectionState {
    fn default() -> Self {
        Self {
            unanswered_deadlines: AtomicU32::new(0),
            is_given_up: AtomicBool::new(false),
            rounded_number_logged: AtomicBool::new(false),
            used_at: Mutex::new(Instant::now()),
            listing: tokio::sync::Mutex::default(),
        }
    }
}

/// Progress callback and cancellation of a call.
#[derive(Clone, Copy)]
pub(crate) struct CallHooks<'a> {
    pub(crate) report: ReportActivity<'a>,
    pub(crate) cancelled: &'a CancellationToken,
}

impl Connection {
    /// Returns the values that are hidden in everything the server sends.
    pub(crate) const fn secrets(&self) -> &Secrets {
        self.requests.secrets()
    }

    /// Returns the server's name in the servers file.
    pub(crate) const fn server(&self) -> &ServerName {
        &self.server
    }

    /// Returns the facts that were learned while connecting.
    pub(crate) const fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// Returns the process of the server, as it is recorded with attempts.
    pub(crate) fn instance(&self) -> ServerInstance {
        let ConnectionInfo { pid, origin, number, .. } = &self.info;
        ServerInstance { pid: *pid, origin: origin.clone(), connection: *number }
    }

    /// Returns true if another request can be sent.
    pub(crate) fn is_usable(&self) -> bool {
        // The library's `is_closed` stays false when the server closes the connection.
        !self.state.is_given_up.load(Ordering::Relaxed)
            && !self.peer.is_transport_closed()
            && !self.child.as_ref().is_some_and(|child| child.output.is_reached())
    }

    /// Returns the time since the last request.
    pub(crate) fn idle_for(&self) -> Duration {
        self.state.used_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn touch(&self) {
        *self.state.used_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Warns that a number in an answer was rounded, once for each connection. The attempt has every such number.
    pub(crate) fn warn_of_rounded_number(&self, number: &str) {
        if self.state.rounded_number_logged.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            server = %self.server,
            "an answer of the server has the number {number}, which 64 bits cannot hold: its last digits are lost; a server keeps such numbers exact as texts"
        );
    }

    /// Makes a request without callback and cancellation. Numbers of the result may be rounded.
    pub(crate) async fn request(
        &self,
        request: ClientRequest,
        deadline: Deadline,
    ) -> Result<ServerResult, McpFailure> {
        let hooks = CallHooks { report: &|_| {}, cancelled: &CancellationToken::new() };
        Ok(self.request_with_hooks(hooks, request, deadline).await?.result)
    }

    /// Makes a request, and gives it up at `deadline`, which progress moves.
    pub(crate) async fn request_with_hooks(
        &self,
        hooks: CallHooks<'_>,
        request: ClientRequest,
        deadline: Deadline,
    ) -> Result<ReceivedResult, McpFailure> {
        self.request_of_call(hooks, request, &mut self.progress(deadline)).await
    }

    /// Returns the progress of a call that begins now.
    pub(super) fn progress(&self, deadline: Deadline) -> CallProgress {
        CallProgress::new(self.notices.progress.subscribe(), deadline)
    }

    /// Makes one of the requests of a call, and gives it up at the deadline of the call.
    pub(super) async fn request_of_call(
        &self,
        hooks: CallHooks<'_>,
        request: ClientRequest,
        progress: &mut CallProgress,
    ) -> Result<ReceivedResult, McpFailure> {
        self.touch();
        let answer = self.exchange(hooks, request, progress).await;
        self.touch();
        match &answer {
            Err(McpFailure::Deadline(..)) => {
                let deadlines = self.state.unanswered_deadlines.fetch_add(1, Ordering::Relaxed) + 1;
                if deadlines >= UNANSWERED_DEADLINES {
                    tracing::warn!(
                        server = %self.server,
                        "the server does not answer; the next call opens a new connection"
                    );
                    self.give_up();
                }
            }
            Err(McpFailure::Cancelled) => {}
            Err(failure) if needs_new_connection(failure) => self.give_up(),
            _ => self.state.unanswered_deadlines.store(0, Ordering::Relaxed),
        }
        answer
    }

    async fn exchange(
        &self,
        hooks: CallHooks<'_>,
        request: ClientRequest,
        progress: &mut CallProgress,
    ) -> Result<ReceivedResult, McpFailure> {
        let lines_before = self.child.as_ref().map_or(0, |child| child.stderr.lines_read());
        let sending = self.peer.send_cancellable_request(request, PeerRequestOptions::no_options());
        let handle = match timeout_at(progress.deadline().instant(), sending).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(_)) => return Err(McpFailure::NotWritten("the connection is closed".to_owned())),
            Err(_) => {
                return Err(McpFailure::NotWritten(format!(
                    "too many requests wait: {}",
                    progress.deadline().reached()
                )));
            }
        };
        progress.note_request(&handle.progress_token);
        let mut request = InFlightRequest::new(handle, self.requests.clone(), self.cancels.clone());
        let id = request.id().clone();
        tokio::select! {
            biased;
            answer = request.answer() => {
                progress.report_received(hooks.report);
                self.take_answer(&id, answer).await
            }
            () = hooks.cancelled.cancelled() => Err(McpFailure::Cancelled),
            failure = self.end_during(&id) => Err(failure),
            () = progress.deadline_reached(hooks.report) => {
                let printed = self.child.as_ref().map(|child| child.stderr.as_suffix_since(lines_before));
                Err(McpFailure::Deadline(progress.deadline().reached(), printed.unwrap_or_default()))
            }
        }
    }

    /// Waits between two requests of a call. Returns an error if the call or the connection ends before.
    pub(super) async fn pause(
        &self,
        hooks: CallHooks<'_>,
        time: Duration,
        progress: &mut CallProgress,
    ) -> Result<(), McpFailure> {
        tokio::select! {
            biased;
            () = hooks.cancelled.cancelled() => Err(McpFailure::Cancelled),
            failure = self.end() => Err(failure),
            () = progress.deadline_reached(hooks.report) => {
                Err(McpFailure::Deadline(progress.deadline().reached(), String::new()))
            }
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Returns the answer that was kept in [`PendingRequests`], or otherwise the result of the library.
    async fn take_answer(
        &self,
        id: &RequestId,
        answer: Result<ServerResult, ServiceError>,
    ) -> Result<ReceivedResult, McpFailure> {
        match (self.requests.take(id), answer) {
            (Some(KeptAnswer { result, rounded }), _) => {
                let result = ServerResult::CustomResult(CustomResult::new(Value::Object(result?)));
                Ok(ReceivedResult { result, rounded })
            }
            (None, Ok(result)) => Ok(ReceivedResult { result, rounded: None }),
            (None, Err(ServiceError::TransportClosed)) if self.child.is_some() => {
                // The end of the process, which the library does not see, has the reason.
                match timeout(EXIT_LIMIT, self.end_during(id)).await {
                    Ok(failure) => Err(failure),
                    Err(_) => Err(McpFailure::Closed("the connection was closed".to_owned())),
                }
            }
            (None, Err(error)) => Err(library_errors::of_request(&error)),
        }
    }

    /// Waits for the end of a server over stdio during a request. Never returns for a server over HTTP.
    async fn end_during(&self, request: &RequestId) -> McpFailure {
        match self.end().await {
            McpFailure::Closed(why) if self.requests.is_unread(request) => McpFailure::NotRead(why),
            failure => failure,
        }
    }

    /// Waits for the end of a server over stdio. Never returns for a server over HTTP.
    async fn end(&self) -> McpFailure {
        let Some(child) = &self.child else { return std::future::pending().await };
        match child.output.reached().await {
            OutputEndReason::EndlessLine(bytes) => {
                McpFailure::Unreadable(format!("a line of more than {bytes} bytes"))
            }
            OutputEndReason::Failed(why) => McpFailure::Closed(why),
            OutputEndReason::Closed => McpFailure::Closed(child.describe_end().await),
        }
    }

    /// Cancels a task at the server. The connection stays open until the server has answered, for [`CANCEL_LIMIT`] at most.
    pub(super) fn cancel_task(self: &Arc<Self>, task: String) {
        // Without a runtime the process is ending, and its servers with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let connection = Arc::clone(self);
        let cancel = async move {
            let _ = timeout(CANCEL_LIMIT, connection.peer.cancel_task(CancelTaskParams::new(task))).await;
        };
        self.cancels.spawn_on(cancel, &runtime);
    }

    fn give_up(&self) {
        self.state.is_given_up.store(true, Ordering::Relaxed);
    }
}

/// Returns true if the next call should open a new connection. Over HTTP the old one often still works after these failures, but
/// a new one is cheap, and the state of the old session is not known.
const fn needs_new_connection(failure: &McpFailure) -> bool {
    matches!(
        failure,
        McpFailure::Closed(_)
            | McpFailure::NotWritten(_)
            | McpFailure::NotRead(_)
            | McpFailure::NotReached(_)
            | McpFailure::SessionLost(_)
            | McpFailure::JsonRpc { code: UNSUPPORTED_VERSION, .. }
    )
}

impl ChildStatus {
    /// Describes the end of the server, with its exit status if it exits within [`EXIT_LIMIT`].
    pub(super) async fn describe_end(&self) -> String {
        let mut exit = self.exit.clone();
        let exit = match timeout(EXIT_LIMIT, exit.wait_for(Option::is_some)).await {
            Ok(Ok(exit)) => exit.clone().unwrap_or_default(),
            _ => "the server closed its output".to_owned(),
        };
        format!("{exit}{}", self.stderr.as_suffix())
    }
}
