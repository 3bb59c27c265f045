//! Opens a connection to a server in the protocol era that it speaks, within a time limit.
//!
//! The stateless era (2026-07-28) is tried first, and the handshake of the older era is the fallback. Both work over a child's
//! streams and over HTTP. No failure leaves a process behind: a failed or abandoned attempt drops its process, and an open
//! connection belongs to a task that ends its process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use longshore_proto::ServerName;
use rmcp::ClientLifecycleMode;
use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientInitializeError, RoleClient, RunningService, serve_client_with_lifecycle_and_ct};
use rmcp::transport::Transport;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::classify::McpFailure;
use super::client_side::ClientSide;
use super::config::{HttpServer, ProtocolEra, ServerConfig, ServerTransport, StdioServer};
use super::connection::{ChildStatus, Connection, ConnectionInfo, ConnectionState, ServerNotifications};
use super::discover_watch::{DISCOVER_LIMIT, DiscoverOutcome, DiscoverWatch};
use super::eras::{self, KnownEras};
use super::library_errors;
use super::noop::NoopServer;
use super::process::{OutputTail, ServerProcess};
use super::server_log::ServerLog;
use super::stdio::{OutputEnd, StdioTransport};
use super::wire::{PendingRequests, takes_tasks};
use crate::launcher::Launcher;

/// Time for the library to shut a connection down, before its process is ended. Over HTTP it ends the session within this time.
const LIBRARY_CLOSE_LIMIT: Duration = Duration::from_secs(2);

type ClientService = RunningService<RoleClient, ClientSide>;

/// The parts of a pool that all its connections share.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolContext {
    /// Tasks that own connections and close them.
    pub(crate) tasks: TaskTracker,
    /// Tasks that cancel calls and tasks at servers.
    pub(crate) cancels: TaskTracker,
    /// Cancelled when the pool closes.
    pub(crate) closing: CancellationToken,
    /// Starts server processes, so that they end with this process.
    pub(crate) launcher: Option<Launcher>,
    /// Servers whose era is known.
    pub(super) eras: KnownEras,
}

/// Number of connections that this process has made.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Connects to a server.
pub(crate) async fn connect(
    server: &ServerName,
    config: &ServerConfig,
    context: &PoolContext,
) -> Result<Connection, McpFailure> {
    let limit = config.settings.connect_timeout;
    let stderr = Arc::new(OutputTail::new(server.clone(), config.secrets.clone()));
    let attempt = ConnectAttempt { server, config, context, stderr: &stderr, started: Instant::now() };
    // Boxed to keep the futures of calls small: any call may have to connect, and few do.
    let connection = match timeout(limit, Box::pin(attempt.connect())).await {
        Ok(connection) => connection,
        Err(_) => {
            let detail = match &config.transport {
                ServerTransport::Http(http) => http.origin().map(|origin| format!(" at {origin}")),
                ServerTransport::Stdio(_) => Some(", and was ended".to_owned()),
                ServerTransport::Noop => None,
            };
            Err(McpFailure::ConnectDeadline(limit, detail.unwrap_or_default(), stderr.as_suffix()))
        }
    };
    let connection = connection.map_err(|failure| failure.without(&config.secrets));
    match &connection {
        Ok(connection) => {
            let ConnectionInfo { protocol_version, connect_time, pid, .. } = connection.info();
            tracing::debug!(%server, %protocol_version, ?connect_time, ?pid, "connected");
        }
        Err(failure) => tracing::debug!(%server, %failure, "not connected"),
    }
    connection
}

struct ConnectAttempt<'a> {
    server: &'a ServerName,
    config: &'a ServerConfig,
    context: &'a PoolContext,
    stderr: &'a Arc<OutputTail>,
    started: Instant,
}

/// The failure of an attempt, and the second attempt that may succeed.
struct ConnectFailure {
    failure: McpFailure,
    next: Option<SecondAttempt>,
}

/// The lifecycle of a second attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum SecondAttempt {
    /// The plain handshake.
    Handshake,
    /// `server/discover` without fallback: the server answered it, but after it was given up.
    Discover,
}

impl ConnectFailure {
    /// Creates the failure of an attempt that a second attempt cannot fix.
    const fn permanent(failure: McpFailure) -> Self {
        Self { failure, next: None }
    }

    fn of(error: &ClientInitializeError, failure: McpFailure, discovered: &DiscoverOutcome) -> Self {
        let next = if discovered.is_late() {
            Some(SecondAttempt::Discover)
        } else {
            library_errors::may_speak_legacy(error, &failure).then_some(SecondAttempt::Handshake)
        };
        Self { failure, next }
    }
}

impl ConnectAttempt<'_> {
    /// Connects in the era of the server, with a second attempt if the first one failed because of the era.
    async fn connect(&self) -> Result<Connection, McpFailure> {
        let preferred_versions = vec![ProtocolVersion::LATEST];
        let is_auto = self.config.settings.protocol == ProtocolEra::Auto;
        let mode = match self.config.settings.protocol {
            ProtocolEra::Legacy => ClientLifecycleMode::Initialize,
            ProtocolEra::Auto if self.context.eras.is_handshake(self.server) => {
                ClientLifecycleMode::Initialize
            }
            ProtocolEra::Modern => ClientLifecycleMode::Discover { preferred_versions },
            ProtocolEra::Auto => ClientLifecycleMode::Auto {
                preferred_versions,
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
        };
        let sends_discover = is_auto && !matches!(mode, ClientLifecycleMode::Initialize);
        let opened = match self.open(mode).await {
            Err(ConnectFailure { next: Some(next), .. }) if sends_discover => self.open_again(next).await,
            opened => opened,
        };
        let opened = opened.map_err(|failed| failed.failure);
        if is_auto {
            let is_of_handshake_era = opened.as_ref().is_ok_and(|connection| !connection.info().modern);
            self.context.eras.note_handshake(self.server, is_of_handshake_era);
        }
        opened
    }

    /// Makes the second attempt, with a new process, whose output is kept apart from that of the first one.
    async fn open_again(&self, next: SecondAttempt) -> Result<Connection, ConnectFailure> {
        let mode = match next {
            SecondAttempt::Handshake => ClientLifecycleMode::Initialize,
            SecondAttempt::Discover => {
                ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] }
            }
        };
        let stderr = Arc::new(OutputTail::new(self.server.clone(), self.config.secrets.clone()));
        ConnectAttempt { stderr: &stderr, ..*self }.open(mode).await
    }

    fn client_side(&self, mode: &ClientLifecycleMode, tail: Option<Arc<OutputTail>>) -> ClientSide {
        let log = ServerLog::new(self.server.clone(), self.config.secrets.clone(), tail);
        ClientSide::new(mode, self.config.settings.elicitation, log, self.config.secrets.clone())
    }

    fn requests(&self) -> PendingRequests {
        PendingRequests::new(self.config.secrets.clone(), self.config.settings.elicitation)
    }

    /// Returns the time for the answer to `server/discover` in this mode. `None` means the library's own limit.
    const fn discover_limit(mode: &ClientLifecycleMode) -> Option<Duration> {
        if matches!(mode, ClientLifecycleMode::Auto { .. }) { Some(DISCOVER_LIMIT) } else { None }
    }

    async fn open(&self, mode: ClientLifecycleMode) -> Result<Connection, ConnectFailure> {
        match &self.config.transport {
            ServerTransport::Stdio(stdio) => self.open_stdio(stdio, mode).await,
            ServerTransport::Http(http) => self.open_http(http, mode).await,
            ServerTransport::Noop => {
                let requests = self.requests();
                self.open_session(NoopServer::new(), requests, mode).await
            }
        }
    }

    async fn open_stdio(
        &self,
        config: &StdioServer,
        mode: ClientLifecycleMode,
    ) -> Result<Connection, ConnectFailure> {
        let (process, streams) = ServerProcess::start(
            config,
            self.config.settings.limits,
            self.context.launcher.as_ref(),
            Arc::clone(self.stderr),
        )
        .map_err(|why| ConnectFailure::permanent(McpFailure::NotStarted(why)))?;
        let output = OutputEnd::default();
        let (exited, exit) = watch::channel(None);
        let child = ChildStatus { output: output.clone(), exit, stderr: Arc::clone(self.stderr) };
        let limit = self.config.settings.max_message_bytes;
        let requests = self.requests();
        let transport =
            StdioTransport::new(streams, limit, requests.clone(), Arc::clone(self.stderr), output.clone());
        let (handler, stop) =
            (self.client_side(&mode, Some(Arc::clone(self.stderr))), self.context.closing.child_token());
        let notices = handler.notices.clone();
        let transport = DiscoverWatch::new(transport, Self::discover_limit(&mode));
        let discovered = transport.outcome();
        match serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone()).await {
            Ok(service) => {
                let pid = process.pid();
                let connection = self.connection(&service, notices, Some(child), requests, pid, stop.clone());
                self.context.tasks.spawn(keep_process(service, process, stop, output, exited));
                checked(connection, &discovered)
            }
            Err(error) => {
                self.context.tasks.spawn(async move { exited.send_replace(Some(process.end().await)) });
                Err(Self::failed_child(&requests, error, child, &discovered).await)
            }
        }
    }

    /// Returns the failure of the handshake with a child. If the child has exited, its exit status says more than the library's
    /// error.
    async fn failed_child(
        requests: &PendingRequests,
        error: ClientInitializeError,
        child: ChildStatus,
        discovered: &DiscoverOutcome,
    ) -> ConnectFailure {
        let mut failed =
            ConnectFailure::of(&error, library_errors::of_handshake(&error, requests), discovered);
        if matches!(failed.failure, McpFailure::Closed(_) | McpFailure::NotWritten(_)) {
            failed.failure = McpFailure::NotStarted(child.describe_end().await);
        }
        failed
    }

    async fn open_http(
        &self,
        config: &HttpServer,
        mode: ClientLifecycleMode,
    ) -> Result<Connection, ConnectFailure> {
        let (secrets, settings) = (&self.config.secrets, &self.config.settings);
        let requests = self.requests();
        let transport =
            super::http::transport(config, settings, secrets, Self::discover_limit(&mode), requests.clone())
                .map_err(|why| ConnectFailure::permanent(McpFailure::NotReached(why)))?;
        self.open_session(transport, requests, mode).await
    }

    /// Opens a connection to a server that is not a child process.
    async fn open_session<T>(
        &self,
        transport: T,
        requests: PendingRequests,
        mode: ClientLifecycleMode,
    ) -> Result<Connection, ConnectFailure>
    where
        T: Transport<RoleClient> + 'static,
    {
        let (handler, stop) = (self.client_side(&mode, None), self.context.closing.child_token());
        let notices = handler.notices.clone();
        // The HTTP transport limits `server/discover` itself: it sends one request after the other until it is connected.
        let transport = DiscoverWatch::new(transport, None);
        let discovered = transport.outcome();
        match serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone()).await {
            Ok(service) => {
                let connection = self.connection(&service, notices, None, requests, None, stop.clone());
                self.context.tasks.spawn(keep_session(service, stop));
                checked(connection, &discovered)
            }
            Err(error) => {
                Err(ConnectFailure::of(&error, library_errors::of_handshake(&error, &requests), &discovered))
            }
        }
    }

    fn connection(
        &self,
        service: &ClientService,
        notices: ServerNotifications,
        child: Option<ChildStatus>,
        requests: PendingRequests,
        pid: Option<u32>,
        stop: CancellationToken,
    ) -> Connection {
        let info = service.peer_info();
        let version = info.as_ref().map(|info| info.protocol_version.clone());
        let has_tasks = version == Some(ProtocolVersion::V_2025_11_25);
        let takes_tasks = has_tasks && info.as_ref().is_some_and(|info| takes_tasks(&info.capabilities));
        let tools = info.as_ref().and_then(|info| info.capabilities.tools.clone());
        let implementation = info.as_ref().and_then(|info| info.server_info.clone());
        let info = ConnectionInfo {
            modern: version.as_ref().is_some_and(|version| !version.has_initialize()),
            protocol_version: version.map(|version| version.to_string()).unwrap_or_default(),
            name: implementation.as_ref().map(|it| it.name.clone()),
            version: implementation.map(|it| it.version).filter(|version| !version.is_empty()),
            changes_tools: tools.and_then(|tools| tools.list_changed).unwrap_or(false),
            takes_tasks,
            connect_time: self.started.elapsed(),
            pid,
            origin: match &self.config.transport {
                ServerTransport::Http(http) => http.origin(),
                ServerTransport::Stdio(_) | ServerTransport::Noop => None,
            },
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1,
        };
        Connection {
            server: self.server.clone(),
            info,
            peer: service.peer().clone(),
            notices,
            child,
            requests,
            cancels: self.context.cancels.clone(),
            state: ConnectionState::default(),
            _stop: stop.drop_guard(),
        }
    }
}

/// Owns a child, and ends it when its connection is dropped or its output has ended.
async fn keep_process(
    service: ClientService,
    process: ServerProcess,
    stop: CancellationToken,
    output: OutputEnd,
    exited: watch::Sender<Option<String>>,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        _ = output.reached() => {}
    }
    // The library closes the child's input, which asks the server to exit.
    let _ = timeout(LIBRARY_CLOSE_LIMIT, service.waiting()).await;
    exited.send_replace(Some(process.end().await));
}

/// Owns a session over HTTP, and ends it when its connection is dropped.
async fn keep_session(service: ClientService, stop: CancellationToken) {
    stop.cancelled().await;
    let _ = timeout(LIBRARY_CLOSE_LIMIT, service.waiting()).await;
}

/// Returns the connection if its protocol version can be used.
fn checked(connection: Connection, discovered: &DiscoverOutcome) -> Result<Connection, ConnectFailure> {
    let ConnectionInfo { protocol_version, modern, .. } = connection.info();
    match eras::version_problem(protocol_version, *modern, discovered.is_answered()) {
        None => Ok(connection),
        Some(why) => Err(ConnectFailure::permanent(McpFailure::Unreadable(why))),
    }
}
