//! One connection of a server, if there is one: made on first use, replaced when it is no good any more.
//!
//! Connecting happens once however many calls wait for it, and those who waited share its failure too: fifty calls to a
//! server that is down cost one attempt, not fifty in a row.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use longshore_proto::ServerName;
use metrics::gauge;
use tokio::sync::Mutex;

use super::classify::Observation;
use super::config::ServerConfig;
use super::connection::Connection;
use super::handshake::{self, Home};

/// How often, at most, an idle connection is looked at.
const IDLE_CHECK: Duration = Duration::from_millis(100);

/// A connection of a server that can be made.
#[derive(Debug)]
pub(super) struct Member {
    server: ServerName,
    config: Arc<ServerConfig>,
    state: Mutex<MemberState>,
    /// Attempts to connect that have ended. Read without the lock, by those who begin to wait for it.
    attempts: AtomicU64,
}

#[derive(Debug, Default)]
struct MemberState {
    connection: Option<Arc<Connection>>,
    /// The number of the last attempt, if it failed, and what was seen.
    failure: Option<(u64, Observation)>,
}

impl Member {
    /// A member without a connection.
    pub(super) fn new(server: ServerName, config: Arc<ServerConfig>) -> Self {
        Self { server, config, state: Mutex::default(), attempts: AtomicU64::new(0) }
    }

    /// Whether a call finds a connection, or one that is being made.
    pub(super) fn is_connected(&self) -> bool {
        self.state.try_lock().map_or(true, |state| state.usable().is_some())
    }

    /// Whether it may still have the connection of this number. A connection that is being made is another one, and is looked at
    /// when it is there.
    pub(super) fn has(&self, number: u64) -> bool {
        let Ok(state) = self.state.try_lock() else { return true };
        state.usable().is_some_and(|connection| connection.about().number == number)
    }

    /// Its connection; a new one if there is none that can be used. One attempt is made.
    pub(super) async fn connection(self: &Arc<Self>, home: &Home) -> Result<Arc<Connection>, Observation> {
        let ended_before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if home.closing.is_cancelled() {
            return Err(Observation::ShuttingDown);
        }
        if let Some(connection) = state.usable() {
            return Ok(Arc::clone(connection));
        }
        if let Some((number, seen)) = &state.failure
            && *number > ended_before
        {
            return Err(seen.clone());
        }
        state.connection = None;
        let attempt = connect(&self.server, &self.config, home).await;
        let number = self.attempts.fetch_add(1, Ordering::Release) + 1;
        match attempt {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.failure = None;
                state.connection = Some(Arc::clone(&connection));
                self.close_when_idle(&connection, home);
                Ok(connection)
            }
            Err(seen) => {
                state.failure = Some((number, seen.clone()));
                Err(seen)
            }
        }
    }

    /// Watches a connection, and lets go of it when nobody has used it for a while. A stateful server keeps its own:
    /// what earlier calls left in it would be lost.
    fn close_when_idle(self: &Arc<Self>, connection: &Arc<Connection>, home: &Home) {
        if self.config.settings.stateful {
            return;
        }
        let watch =
            watch_idle(Arc::downgrade(self), Arc::downgrade(connection), self.config.settings.idle_timeout);
        let closing = home.closing.clone();
        home.tasks.spawn(async move { closing.run_until_cancelled(watch).await });
    }

    /// Lets go of a connection that is idle: only this member holds it.
    async fn let_go_if_idle(&self, limit: Duration) {
        let mut state = self.state.lock().await;
        let idle = state
            .connection
            .as_ref()
            .is_some_and(|connection| Arc::strong_count(connection) == 1 && connection.idle_for() >= limit);
        if idle {
            tracing::debug!(server = %self.server, "idle, closed");
            state.connection = None;
        }
    }
}

impl MemberState {
    fn usable(&self) -> Option<&Arc<Connection>> {
        self.connection.as_ref().filter(|connection| connection.is_usable())
    }
}

/// Makes one attempt to connect, unless the pool is closing.
pub(super) async fn connect(
    server: &ServerName,
    config: &ServerConfig,
    home: &Home,
) -> Result<Connection, Observation> {
    let attempt = tokio::select! {
        biased;
        () = home.closing.cancelled() => Err(Observation::ShuttingDown),
        attempt = handshake::connect(server, config, home) => attempt,
    };
    let up = if attempt.is_ok() { 1 } else { 0 };
    gauge!("longshore_mcp_server_up", "server" => server.to_string()).set(up);
    attempt
}

async fn watch_idle(member: Weak<Member>, connection: Weak<Connection>, limit: Duration) {
    while let Some(idle_for) = connection.upgrade().map(|connection| connection.idle_for()) {
        tokio::time::sleep(limit.saturating_sub(idle_for).max(IDLE_CHECK)).await;
        match member.upgrade() {
            Some(member) => member.let_go_if_idle(limit).await,
            None => return,
        }
    }
}
