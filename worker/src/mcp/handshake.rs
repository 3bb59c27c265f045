//! From nothing to a usable connection, in the right era, within a time of ours.
//!
//! The stateless era (2026-07-28) is asked for first, the handshake of the older one is the fallback; both go over a
//! child's streams or over HTTP. Whatever goes wrong leaves no process behind: a failed or abandoned attempt drops
//! its process, and a connection that is up belongs to a task that ends it.

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

use super::classify::Observation;
use super::client_side::ClientSide;
use super::config::{Era, HttpServer, Reach, ServerConfig, StdioServer};
use super::connection::{About, ChildEnd, Connection, Notices, State};
use super::distil;
use super::eras::{self, KnownEras};
use super::noop::Noop;
use super::probe::{Discovered, PATIENCE, ProbeWatch};
use super::process::{ServerProcess, StderrTail};
use super::server_log::ServerLog;
use super::stdio::{OutputEnd, StdioTransport};
use super::wire::{Requests, takes_tasks};
use crate::launcher::Launcher;

/// How long the library may take to shut a connection down before its process is ended regardless; over HTTP it ends
/// the session within this time.
const LIBRARY_CLOSE: Duration = Duration::from_secs(2);

type Service = RunningService<RoleClient, ClientSide>;

/// Where the tasks of connections live, and what ends them all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home {
    pub(crate) tasks: TaskTracker,
    /// Tasks that tell servers that a call is cancelled, or a task.
    pub(crate) cancels: TaskTracker,
    pub(crate) closing: CancellationToken,
    /// Starts processes, so that they end with this one.
    pub(crate) launcher: Option<Launcher>,
    /// Servers whose era is known.
    pub(super) eras: KnownEras,
}

/// Connections that this process has made.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// Connects to a server.
pub(crate) async fn connect(
    server: &ServerName,
    config: &ServerConfig,
    home: &Home,
) -> Result<Connection, Observation> {
    let limit = config.settings.connect_timeout;
    let stderr = Arc::new(StderrTail::new(server.clone(), config.secrets.clone()));
    let attempt = Attempt { server, config, home, stderr: &stderr, started: Instant::now() };
    // On the heap: every call may have to connect, and few do.
    let connection = match timeout(limit, Box::pin(attempt.in_the_right_era())).await {
        Ok(connection) => connection,
        Err(_) => {
            let place = match &config.reach {
                Reach::Http(http) => http.origin().map(|origin| format!(" at {origin}")),
                Reach::Stdio(_) => Some(", and was ended".to_owned()),
                Reach::Noop => None,
            };
            let why = format!("{}{}", place.unwrap_or_default(), stderr.as_suffix());
            Err(Observation::ConnectDeadline(limit, why))
        }
    };
    let connection = connection.map_err(|seen| seen.without(&config.secrets));
    match &connection {
        Ok(connection) => {
            let About { protocol_version, connect_time, pid, .. } = connection.about();
            tracing::debug!(%server, %protocol_version, ?connect_time, ?pid, "connected");
        }
        Err(seen) => tracing::debug!(%server, %seen, "not connected"),
    }
    connection
}

struct Attempt<'a> {
    server: &'a ServerName,
    config: &'a ServerConfig,
    home: &'a Home,
    stderr: &'a Arc<StderrTail>,
    started: Instant,
}

/// Why an attempt failed, and what is worth another one.
struct Failed {
    seen: Observation,
    next: Option<Next>,
}

/// A second attempt, in another way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// By the plain handshake.
    Handshake,
    /// By `server/discover` alone: the server answers it, and had not begun to when it was given up.
    Discover,
}

impl Failed {
    /// A failure that another way does not mend.
    const fn finally(seen: Observation) -> Self {
        Self { seen, next: None }
    }

    fn of(error: &ClientInitializeError, seen: Observation, discovered: &Discovered) -> Self {
        let next = if discovered.is_late() {
            Some(Next::Discover)
        } else {
            distil::may_speak_legacy(error, &seen).then_some(Next::Handshake)
        };
        Self { seen, next }
    }
}

impl Attempt<'_> {
    async fn in_the_right_era(&self) -> Result<Connection, Observation> {
        let preferred_versions = vec![ProtocolVersion::LATEST];
        let is_auto = self.config.settings.protocol == Era::Auto;
        let mode = match self.config.settings.protocol {
            Era::Legacy => ClientLifecycleMode::Initialize,
            Era::Auto if self.home.eras.is_handshake(self.server) => ClientLifecycleMode::Initialize,
            Era::Modern => ClientLifecycleMode::Discover { preferred_versions },
            Era::Auto => ClientLifecycleMode::Auto {
                preferred_versions,
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
        };
        let asks_for_era = is_auto && !matches!(mode, ClientLifecycleMode::Initialize);
        let opened = match self.open(mode).await {
            Err(Failed { next: Some(next), .. }) if asks_for_era => self.open_afresh(next).await,
            opened => opened,
        };
        let opened = opened.map_err(|failed| failed.seen);
        if is_auto {
            let is_of_handshake_era = opened.as_ref().is_ok_and(|connection| !connection.about().modern);
            self.home.eras.note_handshake(self.server, is_of_handshake_era);
        }
        opened
    }

    /// A second attempt, with a process of its own. What the process says is kept apart from what an earlier one said.
    async fn open_afresh(&self, next: Next) -> Result<Connection, Failed> {
        let mode = match next {
            Next::Handshake => ClientLifecycleMode::Initialize,
            Next::Discover => {
                ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::LATEST] }
            }
        };
        let stderr = Arc::new(StderrTail::new(self.server.clone(), self.config.secrets.clone()));
        Attempt { stderr: &stderr, ..*self }.open(mode).await
    }

    fn client_side(&self, mode: &ClientLifecycleMode, tail: Option<Arc<StderrTail>>) -> ClientSide {
        let log = ServerLog::new(self.server.clone(), self.config.secrets.clone(), tail);
        ClientSide::new(mode, self.config.settings.elicitation, log, self.config.secrets.clone())
    }

    fn requests(&self) -> Requests {
        Requests::new(self.config.secrets.clone(), self.config.settings.elicitation)
    }

    /// How long a server may leave the question about its era unanswered, in this mode.
    const fn patience(mode: &ClientLifecycleMode) -> Option<Duration> {
        if matches!(mode, ClientLifecycleMode::Auto { .. }) { Some(PATIENCE) } else { None }
    }

    async fn open(&self, mode: ClientLifecycleMode) -> Result<Connection, Failed> {
        match &self.config.reach {
            Reach::Stdio(stdio) => self.open_stdio(stdio, mode).await,
            Reach::Http(http) => self.open_http(http, mode).await,
            Reach::Noop => {
                let requests = self.requests();
                self.open_session(Noop::new(), requests, mode).await
            }
        }
    }

    async fn open_stdio(
        &self,
        config: &StdioServer,
        mode: ClientLifecycleMode,
    ) -> Result<Connection, Failed> {
        let (process, streams) = ServerProcess::start(
            config,
            self.config.settings.limits,
            self.home.launcher.as_ref(),
            Arc::clone(self.stderr),
        )
        .map_err(|why| Failed::finally(Observation::NotStarted(why)))?;
        let output = OutputEnd::default();
        let (exited, exit) = watch::channel(None);
        let child = ChildEnd { output: output.clone(), exit, stderr: Arc::clone(self.stderr) };
        let limit = self.config.settings.max_message_bytes;
        let requests = self.requests();
        let transport =
            StdioTransport::new(streams, limit, requests.clone(), Arc::clone(self.stderr), output.clone());
        let (handler, stop) =
            (self.client_side(&mode, Some(Arc::clone(self.stderr))), self.home.closing.child_token());
        let notices = handler.notices.clone();
        let transport = ProbeWatch::new(transport, Self::patience(&mode));
        let discovered = transport.discovered();
        match serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone()).await {
            Ok(service) => {
                let pid = process.pid();
                let connection = self.connection(&service, notices, Some(child), requests, pid, stop.clone());
                self.home.tasks.spawn(keep_process(service, process, stop, output, exited));
                checked(connection, &discovered)
            }
            Err(error) => {
                self.home.tasks.spawn(async move { exited.send_replace(Some(process.end().await)) });
                Err(Self::failed_child(&requests, error, child, &discovered).await)
            }
        }
    }

    /// Why the handshake with a child failed; if it has gone, how it ended says more than what the library saw.
    async fn failed_child(
        requests: &Requests,
        error: ClientInitializeError,
        child: ChildEnd,
        discovered: &Discovered,
    ) -> Failed {
        let mut failed = Failed::of(&error, distil::connect_error(&error, requests), discovered);
        if matches!(failed.seen, Observation::Closed(_) | Observation::NotWritten(_)) {
            failed.seen = Observation::NotStarted(child.how_it_ended().await);
        }
        failed
    }

    async fn open_http(&self, config: &HttpServer, mode: ClientLifecycleMode) -> Result<Connection, Failed> {
        let (secrets, settings) = (&self.config.secrets, &self.config.settings);
        let requests = self.requests();
        let transport =
            super::http::transport(config, settings, secrets, Self::patience(&mode), requests.clone())
                .map_err(|why| Failed::finally(Observation::NotReached(why)))?;
        self.open_session(transport, requests, mode).await
    }

    /// A connection behind which no process of ours stands.
    async fn open_session<T>(
        &self,
        transport: T,
        requests: Requests,
        mode: ClientLifecycleMode,
    ) -> Result<Connection, Failed>
    where
        T: Transport<RoleClient> + 'static,
    {
        let (handler, stop) = (self.client_side(&mode, None), self.home.closing.child_token());
        let notices = handler.notices.clone();
        // Over HTTP the transport itself ends the question: it makes one request after the other until it is connected.
        let transport = ProbeWatch::new(transport, None);
        let discovered = transport.discovered();
        match serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone()).await {
            Ok(service) => {
                let connection = self.connection(&service, notices, None, requests, None, stop.clone());
                self.home.tasks.spawn(keep_session(service, stop));
                checked(connection, &discovered)
            }
            Err(error) => Err(Failed::of(&error, distil::connect_error(&error, &requests), &discovered)),
        }
    }

    fn connection(
        &self,
        service: &Service,
        notices: Notices,
        child: Option<ChildEnd>,
        requests: Requests,
        pid: Option<u32>,
        stop: CancellationToken,
    ) -> Connection {
        let info = service.peer_info();
        let version = info.as_ref().map(|info| info.protocol_version.clone());
        let is_of_tasks = version == Some(ProtocolVersion::V_2025_11_25);
        let takes_tasks = is_of_tasks && info.as_ref().is_some_and(|info| takes_tasks(&info.capabilities));
        let tools = info.as_ref().and_then(|info| info.capabilities.tools.clone());
        let implementation = info.as_ref().and_then(|info| info.server_info.clone());
        let about = About {
            modern: version.as_ref().is_some_and(|version| !version.has_initialize()),
            protocol_version: version.map(|version| version.to_string()).unwrap_or_default(),
            name: implementation.as_ref().map(|it| it.name.clone()),
            version: implementation.map(|it| it.version).filter(|version| !version.is_empty()),
            changes_tools: tools.and_then(|tools| tools.list_changed).unwrap_or(false),
            takes_tasks,
            connect_time: self.started.elapsed(),
            pid,
            origin: match &self.config.reach {
                Reach::Http(http) => http.origin(),
                Reach::Stdio(_) | Reach::Noop => None,
            },
            number: CONNECTIONS.fetch_add(1, Ordering::Relaxed) + 1,
        };
        Connection {
            server: self.server.clone(),
            about,
            peer: service.peer().clone(),
            notices,
            child,
            requests,
            cancels: self.home.cancels.clone(),
            state: State::default(),
            _stop: stop.drop_guard(),
        }
    }
}

/// Ends a child when its connection is let go of, or when its output has ended.
async fn keep_process(
    service: Service,
    process: ServerProcess,
    stop: CancellationToken,
    output: OutputEnd,
    exited: watch::Sender<Option<String>>,
) {
    tokio::select! {
        () = stop.cancelled() => {}
        _ = output.reached() => {}
    }
    // The library closes the child's input, which is how a server is asked to leave.
    let _ = timeout(LIBRARY_CLOSE, service.waiting()).await;
    exited.send_replace(Some(process.end().await));
}

/// Ends a session over HTTP when its connection is let go of.
async fn keep_session(service: Service, stop: CancellationToken) {
    stop.cancelled().await;
    let _ = timeout(LIBRARY_CLOSE, service.waiting()).await;
}

/// The connection, unless its version does not say how to speak over it.
fn checked(connection: Connection, discovered: &Discovered) -> Result<Connection, Failed> {
    let About { protocol_version, modern, .. } = connection.about();
    match eras::mistake(protocol_version, *modern, discovered.is_so()) {
        None => Ok(connection),
        Some(why) => Err(Failed::finally(Observation::Unreadable(why))),
    }
}
