//! From nothing to a usable connection, in the right era, within a time of ours.
//!
//! The stateless era (2026-07-28) is asked for first, the handshake of the older one is the fallback; both go over a
//! child's streams or over HTTP. Whatever goes wrong leaves no process behind: a failed or abandoned attempt drops
//! its process, and a connection that is up belongs to a task that ends it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_backend::clock;
use longshore_proto::ServerName;
use rmcp::model::{
    ClientCapabilities, ClientConfig, Implementation, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, RoleClient, RunningService,
    serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::Transport;
use rmcp::{ClientHandler, ClientLifecycleMode};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::classify::Observation;
use super::config::{Era, HttpServer, Reach, ServerConfig, StdioServer};
use super::connection::{About, ChildEnd, Connection, Notices, State};
use super::distil;
use super::noop::Noop;
use super::probe::{Discovered, ProbeWatch};
use super::process::{ServerProcess, StderrTail};
use super::stdio::{self, OutputEnd};
use crate::launcher::Launcher;

/// Progress notices that wait for a slow reader; a lost one costs nothing, the next one says the same.
const PROGRESS_BUFFER: usize = 256;
/// How long the library may take to shut a connection down before its process is ended regardless; over HTTP it ends
/// the session within this time.
const LIBRARY_CLOSE: Duration = Duration::from_secs(2);

type Service = RunningService<RoleClient, Handler>;

/// Where the tasks of connections live, and what ends them all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Home {
    pub(crate) tasks: TaskTracker,
    pub(crate) closing: CancellationToken,
    /// Starts processes, so that they end with this one.
    pub(crate) launcher: Option<Launcher>,
    /// Servers that turned out to be of the handshake era: they are not asked again. As many as the servers file names.
    of_handshake_era: Arc<Mutex<BTreeSet<ServerName>>>,
}

impl Home {
    fn eras(&self) -> MutexGuard<'_, BTreeSet<ServerName>> {
        // No code that holds the lock can panic half-way.
        self.of_handshake_era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a server is known to be of the handshake era.
    fn knows_handshake_era(&self, server: &ServerName) -> bool {
        self.eras().contains(server)
    }

    /// Remembers whether a server is of the handshake era. After a failure nothing is known: it may have been replaced.
    fn note_handshake_era(&self, server: &ServerName, is_so: bool) {
        if is_so {
            self.eras().insert(server.clone());
        } else {
            self.eras().remove(server);
        }
    }
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
                Reach::Stdio(_) | Reach::Noop => None,
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

/// Why an attempt failed, and whether the plain handshake is worth another one.
struct Failed {
    seen: Observation,
    try_legacy: bool,
}

impl Attempt<'_> {
    async fn in_the_right_era(&self) -> Result<Connection, Observation> {
        let preferred_versions = vec![ProtocolVersion::LATEST];
        let is_auto = self.config.settings.protocol == Era::Auto;
        let mode = match self.config.settings.protocol {
            Era::Legacy => ClientLifecycleMode::Initialize,
            Era::Auto if self.home.knows_handshake_era(self.server) => ClientLifecycleMode::Initialize,
            Era::Modern => ClientLifecycleMode::Discover { preferred_versions },
            Era::Auto => ClientLifecycleMode::Auto {
                preferred_versions,
                legacy_version: Some(ProtocolVersion::LATEST_WITH_INITIALIZE),
            },
        };
        let asks_for_era = !matches!(mode, ClientLifecycleMode::Initialize);
        let opened =
            if is_auto && asks_for_era { self.open_either(mode).await } else { self.open(mode).await };
        let opened = opened.map_err(|failed| failed.seen);
        if is_auto {
            let is_of_handshake_era = opened.as_ref().is_ok_and(|connection| !connection.about().modern);
            self.home.note_handshake_era(self.server, is_of_handshake_era);
        }
        opened
    }

    /// Asks for the era, and tries the plain handshake after that where the question itself may have been the trouble. A server
    /// that is silent gets the handshake from the library, in the same process: it may still be starting, or be downloaded,
    /// and a second process beside it would get in its way.
    async fn open_either(&self, mode: ClientLifecycleMode) -> Result<Connection, Failed> {
        match self.open(mode).await {
            Err(failed) if failed.try_legacy => self.shake_hands().await,
            opened => opened,
        }
    }

    /// The plain handshake, with a process of its own. What the process says is kept apart from what an earlier one said.
    async fn shake_hands(&self) -> Result<Connection, Failed> {
        let stderr = Arc::new(StderrTail::new(self.server.clone(), self.config.secrets.clone()));
        Attempt { stderr: &stderr, ..*self }.open(ClientLifecycleMode::Initialize).await
    }

    async fn open(&self, mode: ClientLifecycleMode) -> Result<Connection, Failed> {
        match &self.config.reach {
            Reach::Stdio(stdio) => self.open_stdio(stdio, mode).await,
            Reach::Http(http) => self.open_http(http, mode).await,
            Reach::Noop => self.open_session(Noop::new(), mode).await,
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
        .map_err(|why| Failed { seen: Observation::NotStarted(why), try_legacy: false })?;
        let output = OutputEnd::default();
        let (exited, exit) = watch::channel(None);
        let child = ChildEnd { output: output.clone(), exit, stderr: Arc::clone(self.stderr) };
        let limit = self.config.settings.max_message_bytes;
        let transport = stdio::transport(streams, self.server.clone(), limit, output.clone());
        let (handler, stop) = (Handler::new(&mode), self.home.closing.child_token());
        let notices = handler.notices.clone();
        let transport = ProbeWatch::new(transport);
        let discovered = transport.discovered();
        match serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone()).await {
            Ok(service) => {
                let pid = process.pid();
                let connection = self.connection(&service, notices, Some(child), pid, stop.clone());
                self.home.tasks.spawn(keep_process(service, process, stop, output, exited));
                fit(connection, &discovered)
            }
            Err(error) => {
                self.home.tasks.spawn(async move { exited.send_replace(Some(process.end().await)) });
                Err(self.failed_child(error, child).await)
            }
        }
    }

    /// Why the handshake with a child failed; if it has gone, how it ended says more than what the library saw.
    async fn failed_child(&self, error: ClientInitializeError, child: ChildEnd) -> Failed {
        let seen = distil::connect_error(&error, clock::now());
        let try_legacy = distil::may_speak_legacy(&error, &seen);
        let seen = match seen {
            Observation::Closed(_) | Observation::NotWritten(_) => {
                Observation::NotStarted(child.how_it_ended().await)
            }
            seen => seen,
        };
        Failed { seen, try_legacy }
    }

    async fn open_http(&self, config: &HttpServer, mode: ClientLifecycleMode) -> Result<Connection, Failed> {
        let transport = super::http::transport(config, &self.config.settings)
            .map_err(|why| Failed { seen: Observation::NotReached(why), try_legacy: false })?;
        self.open_session(transport, mode).await
    }

    /// A connection behind which no process of ours stands.
    async fn open_session<T>(&self, transport: T, mode: ClientLifecycleMode) -> Result<Connection, Failed>
    where
        T: Transport<RoleClient> + 'static,
    {
        let (handler, stop) = (Handler::new(&mode), self.home.closing.child_token());
        let notices = handler.notices.clone();
        let transport = ProbeWatch::new(transport);
        let discovered = transport.discovered();
        match serve_client_with_lifecycle_and_ct(handler, transport, mode, stop.clone()).await {
            Ok(service) => {
                let connection = self.connection(&service, notices, None, None, stop.clone());
                self.home.tasks.spawn(keep_session(service, stop));
                fit(connection, &discovered)
            }
            Err(error) => {
                let seen = distil::connect_error(&error, clock::now());
                let try_legacy = distil::may_speak_legacy(&error, &seen);
                Err(Failed { seen, try_legacy })
            }
        }
    }

    fn connection(
        &self,
        service: &Service,
        notices: Notices,
        child: Option<ChildEnd>,
        pid: Option<u32>,
        stop: CancellationToken,
    ) -> Connection {
        let info = service.peer_info();
        let version = info.as_ref().map(|info| info.protocol_version.clone());
        let implementation = info.as_ref().and_then(|info| info.server_info.clone());
        let about = About {
            modern: version.as_ref().is_some_and(|version| !version.has_initialize()),
            protocol_version: version.map(|version| version.to_string()).unwrap_or_default(),
            name: implementation.as_ref().map(|it| it.name.clone()),
            version: implementation.map(|it| it.version).filter(|version| !version.is_empty()),
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
            tasks: self.home.tasks.clone(),
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

/// Refuses a connection whose version does not say how to speak over it: one that nobody knows, or one without a handshake as
/// the answer to a handshake.
fn fit(connection: Connection, discovered: &Discovered) -> Result<Connection, Failed> {
    let About { protocol_version: version, modern, .. } = connection.about();
    let known: Vec<&str> = ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
    let seen = if !known.contains(&version.as_str()) {
        format!("the server chose protocol version {version:?}, and Longshore speaks {}", known.join(", "))
    } else if *modern && !discovered.is_so() {
        format!("the server answered the handshake with protocol version {version}, which has none")
    } else {
        return Ok(connection);
    };
    Err(Failed { seen: Observation::Unreadable(seen), try_legacy: false })
}

/// Our side of the protocol: we declare no capability, so a server has nothing to ask us; what it tells us is passed
/// on.
struct Handler {
    notices: Notices,
    /// The newest version that can be offered: without a handshake before it, or with one.
    offered: ProtocolVersion,
}

impl Handler {
    fn new(mode: &ClientLifecycleMode) -> Self {
        let (progress, _) = broadcast::channel(PROGRESS_BUFFER);
        let notices = Notices { progress, tools_changed: Arc::new(AtomicBool::new(false)) };
        let offered = match mode {
            ClientLifecycleMode::Initialize => ProtocolVersion::LATEST_WITH_INITIALIZE,
            _ => ProtocolVersion::LATEST,
        };
        Self { notices, offered }
    }
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("longshore", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us).with_protocol_version(self.offered.clone())
    }

    async fn on_progress(&self, notice: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        // Nobody may be listening any more.
        let _ = self.notices.progress.send((notice.progress_token, notice.progress));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.notices.tools_changed.store(true, Ordering::Relaxed);
    }
}
