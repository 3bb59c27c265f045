//! Open connections to servers, shared by all calls.
//!
//! A connection is made on first use, carries any number of calls at once, and is replaced when it is not usable any more.
//! [`McpServer`] chooses the connection of a call. The pool makes a call at most once; the caller decides about another attempt.

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

use super::call::{EndedCall, ServerReport, ToolCall, ToolList};
use super::classify::McpFailure;
use super::config::{BoundSecrets, ServersConfig};
use super::connection::{CallHooks, Connection, ReceivedResult};
use super::deadline::{Deadline, TimeLimit};
use super::elicitation::Elicitation;
use super::handshake::PoolContext;
use super::in_flight::CANCEL_LIMIT;
use super::list_tools::ListingFreshness;
use super::masked_answer::masked_answer;
use super::progress::ReportActivity;
use super::read_fault::ReadFault;
use super::server::{CallConnection, McpServer};
use super::task;
use super::tool_listing::ToolListing;
use super::tool_result::{ToolResult, read_result_by_size};
use crate::launcher::Launcher;

/// Time to close all connections: a connection's own shutdown, then the three stages of ending a process.
const CLOSE_LIMIT: Duration = Duration::from_secs(7);

/// The wait for a connection after which it is reported as an activity of the call. Most servers start sooner.
const CONNECT_REPORT_DELAY: Duration = Duration::from_secs(1);

/// The first wait before a call is repeated because the server asked for more input. It doubles each time.
const FIRST_REPEAT_WAIT: Duration = Duration::from_millis(50);
/// The longest of these waits.
const LONGEST_REPEAT_WAIT: Duration = Duration::from_secs(2);

/// Key of the idempotency key in `_meta`, with a vendor prefix: the protocol reserves prefixes whose second label is `mcp` or
/// `modelcontextprotocol`.
const IDEMPOTENCY_KEY: &str = "dev.longshore/idempotency-key";

/// Open connections to the servers of a servers file.
#[derive(Debug)]
pub struct ServerPool {
    servers: BTreeMap<ServerName, Arc<McpServer>>,
    unusable: BTreeMap<ServerName, Vec<String>>,
    bound_secrets: BoundSecrets,
    context: PoolContext,
}

/// A call that can be sent.
struct PreparedCall {
    call_connection: CallConnection,
    /// Arguments that fit the schema of the tool.
    arguments: Map<String, Value>,
    /// The tool can be called as a task only, and the server performs tasks.
    needs_task: bool,
}

impl ServerPool {
    /// Creates a pool without connections.
    pub fn new(config: ServersConfig) -> Self {
        let (servers, unusable, bound_secrets) = config.into_parts();
        let servers = servers
            .into_iter()
            .map(|(name, config)| (name.clone(), Arc::new(McpServer::new(name, config))))
            .collect();
        Self { servers, unusable, bound_secrets, context: PoolContext::default() }
    }

    /// Sets the launcher of servers over stdio, which makes them end when this process is killed, and applies their limits.
    /// Without a launcher, a server with limits is not started.
    pub fn with_launcher(mut self, launcher: Option<Launcher>) -> Self {
        self.context.launcher = launcher;
        self
    }

    /// Returns the secrets that calls may name.
    pub(crate) const fn bound_secrets(&self) -> &BoundSecrets {
        &self.bound_secrets
    }

    /// Returns the servers that can be called, each with its largest number of concurrent calls.
    pub fn servers(&self) -> impl Iterator<Item = (&ServerName, usize)> {
        self.servers.iter().map(|(name, server)| (name, server.settings().max_concurrency))
    }

    /// Makes one call, and connects first if there is no connection.
    ///
    /// `report` is called whenever the activity of the call changes. `cancelled` ends the call at once and cancels it at the
    /// server. Dropping the future does the same.
    ///
    /// The result is a classified fault if the tool did not answer. A tool that reports an error has answered:
    /// [`Answer::is_error`].
    pub async fn call(
        &self,
        call: ToolCall<'_>,
        report: ReportActivity<'_>,
        cancelled: &CancellationToken,
    ) -> EndedCall {
        let server = match self.server(call.server) {
            Ok(server) => server,
            Err(fault) => return EndedCall { process: None, masked: Vec::new(), result: Err(fault) },
        };
        let secrets = server.secrets();
        let prepared = tokio::select! {
            biased;
            () = cancelled.cancelled() => Err(McpFailure::Cancelled),
            prepared = self.prepare(server, &call, report) => prepared,
        };
        let PreparedCall { call_connection, arguments, needs_task } = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => {
                let result = Err(failure.without(secrets).into_fault_before_call());
                return EndedCall { process: None, masked: Vec::new(), result };
            }
        };
        let most = server.settings().call_timeout.unwrap_or(Duration::MAX);
        let limit = TimeLimit { idle: call.timeout.min(most), whole: call.max_timeout.min(most) };
        report(CallActivity::Sent);
        let hooks = CallHooks { report, cancelled };
        let elicitation = server.settings().elicitation;
        let params = params(&call, arguments);
        let sent = if needs_task {
            // On the heap: few calls are tasks.
            Box::pin(task::send(&call_connection.connection, params, hooks, limit)).await
        } else {
            send(&call_connection.connection, params, hooks, limit, elicitation).await
        };
        let (masked, result) = match server.record_result(call.job, &call_connection.connection, sent) {
            Ok(answer) => {
                let (answer, masked) = masked_answer(answer, secrets).await;
                if let Some(number) = &answer.rounded {
                    call_connection.connection.warn_of_rounded_number(number);
                }
                (masked, Ok(answer))
            }
            Err(failure) => (Vec::new(), Err(failure.without(secrets).into_fault())),
        };
        EndedCall { process: Some(call_connection.connection.instance()), masked, result }
    }

    /// Returns a connection, and arguments that fit the tool.
    async fn prepare(
        &self,
        server: &McpServer,
        call: &ToolCall<'_>,
        report: ReportActivity<'_>,
    ) -> Result<PreparedCall, McpFailure> {
        let call_connection =
            report_if_slow(server.connection_for(call.job, &self.context), || report(server.connecting()))
                .await?;
        let connection = &call_connection.connection;
        let limit = server.settings().connect_timeout;
        let mut listing = connection.listing(limit, ListingFreshness::Valid).await?;
        let arguments = |listing: Arc<ToolListing>| async move {
            let bounds = (call.timeout, server.secrets());
            listing.arguments(call.tool, call.arguments, call.idempotency_key, bounds).await
        };
        let arguments = match arguments(Arc::clone(&listing)).await {
            Ok(arguments) => arguments,
            // The list of tools may be outdated: only a refusal by a newer one counts.
            Err(_) => {
                listing = connection.listing(limit, ListingFreshness::NewerThan(listing)).await?;
                arguments(Arc::clone(&listing)).await?
            }
        };
        let needs_task = connection.info().takes_tasks && listing.needs_task(call.tool);
        Ok(PreparedCall { call_connection, arguments, needs_task })
    }

    /// Fetches the list of a server's tools. Secrets in descriptions and schemas are hidden; names are unchanged, since calls need
    /// them.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn tools(&self, server: &ServerName) -> Result<ToolList, CallFault> {
        let list = self.tools_unmasked(server).await?;
        let secrets = self.server(server)?.secrets();
        Ok(list.without(secrets))
    }

    /// Fetches the list of a server's tools without hiding anything. For checks of arguments, since a schema may hold a secret.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn tools_unmasked(&self, server: &ServerName) -> Result<ToolList, CallFault> {
        let server = self.server(server)?;
        let listed = async {
            let CallConnection { connection, .. } = &server.connection_for(None, &self.context).await?;
            let listing =
                connection.listing(server.settings().connect_timeout, ListingFreshness::Fetched).await?;
            let changes = connection.info().changes_tools;
            Ok(ToolList {
                tools: listing.tools().cloned().collect(),
                left_out: listing.left_out().clone(),
                changes,
            })
        };
        listed.await.map_err(|failure: McpFailure| failure.without(server.secrets()).into_fault_before_call())
    }

    /// Reads a resource of a server, such as the target of a link in an answer. Returns the list of its parts, each with `text` or
    /// with `blob` in base64.
    ///
    /// # Errors
    /// The server cannot be reached, has no such resource, or does not give it within `timeout`.
    pub async fn read(&self, server: &ServerName, uri: &str, timeout: Duration) -> Result<Value, ReadFault> {
        let server = self.server(server).map_err(ReadFault::Server)?;
        let call_connection = server.connection_for(None, &self.context).await;
        let CallConnection { connection, .. } = &call_connection.map_err(|failure| {
            ReadFault::Server(failure.without(server.secrets()).into_fault_before_call())
        })?;
        let read = async {
            let request = ReadResourceRequest::new(ReadResourceRequestParams::new(uri));
            let request = ClientRequest::ReadResourceRequest(request);
            match connection.request(request, Deadline::after(timeout)).await? {
                ServerResult::CustomResult(CustomResult(Value::Object(mut result))) => {
                    Ok(result.remove("contents").unwrap_or_default())
                }
                _ => Err(McpFailure::Unreadable("it is no resource".to_owned())),
            }
        };
        let contents = read
            .await
            .map_err(|failure: McpFailure| ReadFault::of_request(failure.without(server.secrets())))?;
        Ok(server.secrets().hide_in(contents))
    }

    /// Connects to a server, unless it is connected already, and fetches the list of its tools.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn check(&self, server: &ServerName) -> Result<ServerReport, CallFault> {
        let server = self.server(server)?;
        let checked = async {
            let CallConnection { connection, .. } = &server.connection_for(None, &self.context).await?;
            let asked_at = Instant::now();
            let listing =
                connection.listing(server.settings().connect_timeout, ListingFreshness::Fetched).await?;
            let info = connection.info().clone();
            let report = ServerReport {
                protocol_version: info.protocol_version,
                modern: info.modern,
                name: info.name,
                version: info.version,
                connect_time: info.connect_time,
                list_latency: asked_at.elapsed(),
                tools: listing.tools().count(),
                left_out: listing.left_out().clone(),
                pid: info.pid,
            };
            Ok(report.without(server.secrets()))
        };
        checked
            .await
            .map_err(|failure: McpFailure| failure.without(server.secrets()).into_fault_before_call())
    }

    /// Closes all connections and ends all child processes, in bounded time. Calls under way and later ones end with a fault.
    ///
    /// A pool that is dropped without this ends its child processes too, but does not wait for their end.
    pub async fn close(&self) {
        // Cancellations are sent before the connections close.
        self.context.cancels.close();
        let _ = tokio::time::timeout(CANCEL_LIMIT, self.context.cancels.wait()).await;
        self.context.closing.cancel();
        self.context.tasks.close();
        if tokio::time::timeout(CLOSE_LIMIT, self.context.tasks.wait()).await.is_err() {
            tracing::warn!("some servers did not end within {CLOSE_LIMIT:?}");
        }
    }

    fn server(&self, name: &ServerName) -> Result<&Arc<McpServer>, CallFault> {
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

impl Drop for ServerPool {
    fn drop(&mut self) {
        self.context.closing.cancel();
    }
}

/// Waits for a connection, and calls `report` if that takes longer than [`CONNECT_REPORT_DELAY`].
async fn report_if_slow<T>(call_connection: impl Future<Output = T>, report: impl FnOnce()) -> T {
    let mut call_connection = pin!(call_connection);
    tokio::select! {
        biased;
        call_connection = &mut call_connection => return call_connection,
        () = tokio::time::sleep(CONNECT_REPORT_DELAY) => report(),
    }
    call_connection.await
}

/// Sends a call and reads its answer. A server may ask for the call again, with its own state and with answers to questions (MCP
/// 2026-07-28). This is still the same call, with the same deadline.
async fn send(
    connection: &Arc<Connection>,
    mut params: CallToolRequestParams,
    hooks: CallHooks<'_>,
    limit: TimeLimit,
    elicitation: Elicitation,
) -> Result<Answer, McpFailure> {
    let deadline = Deadline::of(limit);
    let mut wait = FIRST_REPEAT_WAIT;
    loop {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params.clone()));
        let ReceivedResult { result, rounded } =
            connection.request_with_hooks(hooks, request, deadline).await?;
        let ServerResult::CustomResult(CustomResult(Value::Object(result))) = result else {
            return Err(McpFailure::Unreadable("it is no result of a tool".to_owned()));
        };
        let (state, questions) = match read_result_by_size(result, rounded).await? {
            ToolResult::Answer(answer) => return Ok(answer),
            ToolResult::Task(task) => {
                connection.cancel_task(task.id);
                return Err(McpFailure::UnwantedTask);
            }
            ToolResult::InputRequired { state, questions } => (state, questions),
        };
        let answers = elicitation.responses(&questions).map_err(McpFailure::InputRequired)?;
        // The server may not be ready yet, or ask again without end.
        tokio::select! {
            () = hooks.cancelled.cancelled() => return Err(McpFailure::Cancelled),
            () = tokio::time::sleep_until(deadline.instant().min(Instant::now() + wait)) => {}
        }
        wait = (wait * 2).min(LONGEST_REPEAT_WAIT);
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
