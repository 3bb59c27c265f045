//! Warm connections to servers, shared by all calls.
//!
//! A connection is made on first use, used by any number of calls at once, and replaced when it is no good any more. Which
//! connection of a server carries a call is decided by [`Server`].
//! A call is made at most once here: whether a fault is worth another attempt is for the caller to say.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use longshore_attempt::{Answer, CallFault};
use longshore_proto::{CallActivity, Fault, FaultClass, Sent, ServerName};
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientRequest, CustomResult, ReadResourceRequest,
    ReadResourceRequestParams, RequestParamsMeta as _, ServerResult,
};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::answer::{Answered, answer};
use super::call::{EndedCall, ServerReport, ToolCall, ToolList};
use super::classify::Observation;
use super::config::{ServersConfig, Vault};
use super::connection::{Company, Connection, Report};
use super::deadline::{Deadline, TimeLimit};
use super::elicitation::Elicitation;
use super::flight::CANCEL;
use super::handshake::Home;
use super::list_tools::Freshness;
use super::listing::Listing;
use super::masked_answer::masked_answer;
use super::read_fault::ReadFault;
use super::server::{Seat, Server};
use super::task;
use crate::launcher::Launcher;

/// How long closing may take in all: a connection's own shutdown, then the three stages of ending a process.
const CLOSE: Duration = Duration::from_secs(7);

/// The wait for a connection after which people see that a call waits: most servers start sooner.
const UNSEEN_START: Duration = Duration::from_secs(1);

/// The wait before a call is repeated that the server wants again; twice as long after each time.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest of these waits.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// The key of an idempotency key in `_meta`. A vendor prefix of our own: the protocol reserves those whose second label
/// is `mcp` or `modelcontextprotocol`.
const IDEMPOTENCY_KEY: &str = "dev.longshore/idempotency-key";

/// Warm connections, made on first use.
#[derive(Debug)]
pub struct Pool {
    servers: BTreeMap<ServerName, Arc<Server>>,
    unusable: BTreeMap<ServerName, Vec<String>>,
    vault: Vault,
    home: Home,
}

/// A call that can be sent.
struct PreparedCall {
    seat: Seat,
    /// They fit the tool.
    arguments: Map<String, Value>,
    /// The tool is called only as a task, and the server takes tasks.
    needs_task: bool,
}

impl Pool {
    /// A pool of no connections yet.
    pub fn new(config: ServersConfig) -> Self {
        let (servers, unusable, vault) = config.into_parts();
        let servers = servers
            .into_iter()
            .map(|(name, config)| (name.clone(), Arc::new(Server::new(name, config))))
            .collect();
        Self { servers, unusable, vault, home: Home::default() }
    }

    /// The same, whose servers over stdio are started by `launcher`: they end when this process is killed, and their
    /// limits are kept. Without one, a server with limits is not started.
    pub fn launched_by(mut self, launcher: Option<Launcher>) -> Self {
        self.home.launcher = launcher;
        self
    }

    /// The secrets that calls may name.
    pub(crate) const fn vault(&self) -> &Vault {
        &self.vault
    }

    /// The servers that can be called, each with the number of calls it takes at once.
    pub fn servers(&self) -> impl Iterator<Item = (&ServerName, usize)> {
        self.servers.iter().map(|(name, server)| (name, server.settings().max_concurrency))
    }

    /// Makes one call, connecting first if need be.
    ///
    /// `report` is called whenever the activity of the call changes. `cancelled` ends the call at once and tells
    /// the server. Dropping the future does the same.
    ///
    /// The result is a fault for whatever kept the tool from answering, already classified. A tool that says of itself
    /// that it failed has answered: [`Answer::is_error`].
    pub async fn call(
        &self,
        call: ToolCall<'_>,
        report: Report<'_>,
        cancelled: &CancellationToken,
    ) -> EndedCall {
        let server = match self.server(call.server) {
            Ok(server) => server,
            Err(fault) => return EndedCall { process: None, masked: Vec::new(), result: Err(fault) },
        };
        let secrets = server.secrets();
        let prepared = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(Observation::Cancelled),
            prepared = self.prepare(server, &call, report) => prepared,
        };
        let PreparedCall { seat, arguments, needs_task } = match prepared {
            Ok(prepared) => prepared,
            Err(seen) => {
                let result = Err(seen.without(secrets).into_fault_before_call());
                return EndedCall { process: None, masked: Vec::new(), result };
            }
        };
        let most = server.settings().call_timeout.unwrap_or(Duration::MAX);
        let limit = TimeLimit { idle: call.timeout.min(most), whole: call.max_timeout.min(most) };
        report(CallActivity::Sent);
        let company = Company { report, cancelled };
        let elicitation = server.settings().elicitation;
        let params = params(&call, arguments);
        let sent = if needs_task {
            // On the heap: few calls are tasks.
            Box::pin(task::send(&seat.connection, params, company, limit)).await
        } else {
            send(&seat.connection, params, company, limit, elicitation).await
        };
        let (masked, result) = match server.note(call.job, &seat.connection, sent) {
            Ok(answer) => {
                let (answer, masked) = masked_answer(answer, secrets);
                (masked, Ok(answer))
            }
            Err(seen) => (Vec::new(), Err(seen.without(secrets).into_fault())),
        };
        EndedCall { process: Some(seat.connection.instance()), masked, result }
    }

    /// A connection, and arguments that fit the tool.
    async fn prepare(
        &self,
        server: &Server,
        call: &ToolCall<'_>,
        report: Report<'_>,
    ) -> Result<PreparedCall, Observation> {
        let seat = reported(server.seat(call.job, &self.home), || report(server.connecting())).await?;
        let connection = &seat.connection;
        let limit = server.settings().connect_timeout;
        let mut listing = connection.listing(limit, Freshness::Valid).await?;
        let arguments = |listing: Arc<Listing>| async move {
            let bounds = (call.timeout, server.secrets());
            listing.arguments(call.tool, call.arguments, call.idempotency_key, bounds).await
        };
        let arguments = match arguments(Arc::clone(&listing)).await {
            Ok(arguments) => arguments,
            // The server may have changed since: only a refusal by its present word counts.
            Err(_) => {
                listing = connection.listing(limit, Freshness::NewerThan(listing)).await?;
                arguments(Arc::clone(&listing)).await?
            }
        };
        let needs_task = connection.about().takes_tasks && listing.needs_task(call.tool);
        Ok(PreparedCall { seat, arguments, needs_task })
    }

    /// Lists the tools of a server anew, without any secret in descriptions and schemas. Names are as they are, since calls
    /// need them.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn tools(&self, server: &ServerName) -> Result<ToolList, CallFault> {
        let list = self.tools_unmasked(server).await?;
        let secrets = self.server(server)?.secrets();
        Ok(list.without(secrets))
    }

    /// Lists the tools of a server anew, as it says them. For checks of arguments: a schema may hold a secret.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn tools_unmasked(&self, server: &ServerName) -> Result<ToolList, CallFault> {
        let server = self.server(server)?;
        let listed = async {
            let Seat { connection, .. } = &server.seat(None, &self.home).await?;
            let listing = connection.listing(server.settings().connect_timeout, Freshness::Fetched).await?;
            let changes = connection.about().changes_tools;
            Ok(ToolList {
                tools: listing.tools().cloned().collect(),
                left_out: listing.left_out().clone(),
                changes,
            })
        };
        listed.await.map_err(|seen: Observation| seen.without(server.secrets()).into_fault_before_call())
    }

    /// Reads a resource of a server, such as one that a link in an answer names: the list of its parts as they came, each with
    /// `text` or, in base64, `blob`.
    ///
    /// # Errors
    /// The server cannot be reached, has no such resource, or does not give it within `timeout`.
    pub async fn read(&self, server: &ServerName, uri: &str, timeout: Duration) -> Result<Value, ReadFault> {
        let server = self.server(server).map_err(ReadFault::Server)?;
        let seat = server.seat(None, &self.home).await;
        let Seat { connection, .. } = &seat
            .map_err(|seen| ReadFault::Server(seen.without(server.secrets()).into_fault_before_call()))?;
        let read = async {
            let request = ReadResourceRequest::new(ReadResourceRequestParams::new(uri));
            let request = ClientRequest::ReadResourceRequest(request);
            match connection.request(request, Deadline::after(timeout)).await? {
                ServerResult::CustomResult(CustomResult(Value::Object(mut result))) => {
                    Ok(result.remove("contents").unwrap_or_default())
                }
                _ => Err(Observation::Unreadable("it is no resource".to_owned())),
            }
        };
        let contents =
            read.await.map_err(|seen: Observation| ReadFault::of_request(seen.without(server.secrets())))?;
        Ok(server.secrets().hide_in(contents))
    }

    /// Connects to a server, unless it is connected already, and lists its tools anew.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn check(&self, server: &ServerName) -> Result<ServerReport, CallFault> {
        let server = self.server(server)?;
        let checked = async {
            let Seat { connection, .. } = &server.seat(None, &self.home).await?;
            let asked_at = Instant::now();
            let listing = connection.listing(server.settings().connect_timeout, Freshness::Fetched).await?;
            let about = connection.about().clone();
            let report = ServerReport {
                protocol_version: about.protocol_version,
                modern: about.modern,
                name: about.name,
                version: about.version,
                connect_time: about.connect_time,
                list_latency: asked_at.elapsed(),
                tools: listing.tools().count(),
                left_out: listing.left_out().clone(),
                pid: about.pid,
            };
            Ok(report.without(server.secrets()))
        };
        checked.await.map_err(|seen: Observation| seen.without(server.secrets()).into_fault_before_call())
    }

    /// Ends every connection and every child process, in bounded time. Calls that are under way fault; later ones too.
    ///
    /// A pool that is dropped without this ends its children as well, but does not wait for it.
    pub async fn close(&self) {
        // Servers hear that a call is cancelled before their connections go.
        self.home.cancels.close();
        let _ = tokio::time::timeout(CANCEL, self.home.cancels.wait()).await;
        self.home.closing.cancel();
        self.home.tasks.close();
        if tokio::time::timeout(CLOSE, self.home.tasks.wait()).await.is_err() {
            tracing::warn!("some servers did not end in time");
        }
    }

    fn server(&self, name: &ServerName) -> Result<&Arc<Server>, CallFault> {
        self.servers.get(name).ok_or_else(|| {
            let message = match self.unusable.get(name) {
                Some(why) => format!("the server `{name}` cannot be used: {}", why.join("; ")),
                None => self.unknown(name),
            };
            CallFault { fault: Fault::new(FaultClass::UnknownServer, message), sent: Sent::Never }
        })
    }

    fn unknown(&self, name: &ServerName) -> String {
        let names: Vec<&str> = self.servers.keys().map(ServerName::as_str).collect();
        match (longshore_suggest::closest(name.as_str(), names.iter().copied()), names.is_empty()) {
            (Some(near), _) => format!("no server `{name}` in the servers file; did you mean `{near}`?"),
            (None, true) => format!("no server `{name}`: the servers file names none"),
            (None, false) => format!("no server `{name}` in the servers file; it has {}", names.join(", ")),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.home.closing.cancel();
    }
}

/// Waits for a connection, and calls `report` if that takes longer than [`UNSEEN_START`].
async fn reported<T>(seat: impl Future<Output = T>, report: impl FnOnce()) -> T {
    let mut seat = pin!(seat);
    tokio::select! {
        biased;
        seat = &mut seat => return seat,
        () = tokio::time::sleep(UNSEEN_START) => report(),
    }
    seat.await
}

/// Sends a call and reads its answer. A server may want the call again, with its own state and answers to questions
/// (MCP 2026-07-28): that is the same call, within the same deadline.
async fn send(
    connection: &Arc<Connection>,
    mut params: CallToolRequestParams,
    company: Company<'_>,
    limit: TimeLimit,
    elicitation: Elicitation,
) -> Result<Answer, Observation> {
    let deadline = Deadline::of(limit);
    let mut wait = FIRST_WAIT;
    loop {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params.clone()));
        let response = connection.request_in(company, request, deadline).await?;
        let ServerResult::CustomResult(CustomResult(Value::Object(result))) = response else {
            return Err(Observation::Unreadable("it is no result of a tool".to_owned()));
        };
        let (state, questions) = match answer(result)? {
            Answered::Now(answer) => return Ok(answer),
            Answered::ByTask(task) => {
                connection.cancel_task(task.id);
                return Err(Observation::Task);
            }
            Answered::Again { state, questions } => (state, questions),
        };
        let answers = elicitation.responses(&questions).map_err(Observation::InputRequired)?;
        // The server may not be ready yet, or ask without end.
        tokio::select! {
            () = company.cancelled.cancelled() => return Err(Observation::Cancelled),
            () = tokio::time::sleep_until(deadline.moment().min(Instant::now() + wait)) => {}
        }
        wait = (wait * 2).min(LONGEST_WAIT);
        params.request_state = state;
        params.input_responses = (!answers.is_empty()).then(|| answers.into_iter().collect());
    }
}

fn params(call: &ToolCall<'_>, arguments: Map<String, Value>) -> CallToolRequestParams {
    let mut params = CallToolRequestParams::new(call.tool.as_str().to_owned()).with_arguments(arguments);
    params
        .meta_or_default()
        .insert(IDEMPOTENCY_KEY.to_owned(), Value::String(call.idempotency_key.to_owned()));
    if let Some(trace) = call.trace {
        params.set_traceparent(&trace.traceparent);
        if let Some(state) = &trace.tracestate {
            params.set_tracestate(state);
        }
    }
    params
}
