//! A slot for one connection of a server. The connection is made on first use, and replaced when it is not usable any more.
//!
//! Calls that wait for a connection share one attempt to connect, and its failure: fifty calls to a server that is down cost one
//! attempt, not fifty in a row.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Mutex;

use super::classify::McpFailure;
use super::config::ServerConfig;
use super::connection::Connection;
use super::handshake::{self, PoolContext};
use super::server_health::ServerHealth;

/// Shortest interval between two checks of an idle connection.
const IDLE_CHECK: Duration = Duration::from_millis(100);

/// A slot for one connection of a server.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    health: Arc<ServerHealth>,
    config: Arc<ServerConfig>,
    state: Mutex<SlotState>,
    /// Attempts to connect that have ended. Read without the lock, by calls that begin to wait for it.
    attempts: AtomicU64,
}

#[derive(Debug, Default)]
struct SlotState {
    connection: Option<Arc<Connection>>,
    /// The number and the failure of the last attempt, if it failed.
    last_failure: Option<(u64, McpFailure)>,
}

impl ConnectionSlot {
    /// Creates a slot without a connection.
    pub(super) fn new(health: Arc<ServerHealth>, config: Arc<ServerConfig>) -> Self {
        Self { health, config, state: Mutex::default(), attempts: AtomicU64::new(0) }
    }

    /// Returns true if there is a usable connection, or an attempt to connect is under way.
    pub(super) fn is_connected(&self) -> bool {
        self.state.try_lock().map_or(true, |state| state.usable().is_some())
    }

    /// Returns true if the slot may have the connection with this number. During an attempt to connect the answer is true; the new
    /// connection has another number, which the caller compares once it is made.
    pub(super) fn may_have(&self, number: u64) -> bool {
        let Ok(state) = self.state.try_lock() else { return true };
        state.usable().is_some_and(|connection| connection.info().number == number)
    }

    /// Returns the connection. Makes one attempt to connect if there is no usable connection.
    pub(super) async fn connection(
        self: &Arc<Self>,
        context: &PoolContext,
    ) -> Result<Arc<Connection>, McpFailure> {
        let ended_before = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if context.closing.is_cancelled() {
            return Err(McpFailure::ShuttingDown);
        }
        if let Some(connection) = state.usable() {
            return Ok(Arc::clone(connection));
        }
        if let Some((number, failure)) = &state.last_failure
            && *number > ended_before
        {
            return Err(failure.clone());
        }
        state.connection = None;
        let attempt = connect(&self.health, &self.config, context).await;
        let number = self.attempts.fetch_add(1, Ordering::Release) + 1;
        match attempt {
            Ok(connection) => {
                let connection = Arc::new(connection);
                state.last_failure = None;
                state.connection = Some(Arc::clone(&connection));
                self.close_when_idle(&connection, context);
                Ok(connection)
            }
            Err(failure) => {
                state.last_failure = Some((number, failure.clone()));
                Err(failure)
            }
        }
    }

    /// Starts a task that closes a connection when it has been idle for long. The connection of a stateful server stays open,
    /// since it has the state of earlier calls.
    fn close_when_idle(self: &Arc<Self>, connection: &Arc<Connection>, context: &PoolContext) {
        if self.config.settings.stateful {
            return;
        }
        let watch =
            watch_idle(Arc::downgrade(self), Arc::downgrade(connection), self.config.settings.idle_timeout);
        let closing = context.closing.clone();
        context.tasks.spawn(async move { closing.run_until_cancelled(watch).await });
    }

    /// Drops the connection if it is idle, which means that only this slot holds it.
    async fn close_if_idle(&self, limit: Duration) {
        let mut state = self.state.lock().await;
        let is_idle = state
            .connection
            .as_ref()
            .is_some_and(|connection| Arc::strong_count(connection) == 1 && connection.idle_for() >= limit);
        if is_idle {
            tracing::debug!(server = %self.health.server(), "closed an idle connection");
            state.connection = None;
        }
    }
}

impl SlotState {
    fn usable(&self) -> Option<&Arc<Connection>> {
        self.connection.as_ref().filter(|connection| connection.is_usable())
    }
}

/// Makes one attempt to connect, unless the pool is closing.
pub(super) async fn connect(
    health: &ServerHealth,
    config: &ServerConfig,
    context: &PoolContext,
) -> Result<Connection, McpFailure> {
    let attempt = tokio::select! {
        biased;
        () = context.closing.cancelled() => Err(McpFailure::ShuttingDown),
        attempt = handshake::connect(health.server(), config, context) => attempt,
    };
    health.record_connect(attempt.is_ok());
    attempt
}

async fn watch_idle(slot: Weak<ConnectionSlot>, connection: Weak<Connection>, limit: Duration) {
    while let Some(idle_for) = connection.upgrade().map(|connection| connection.idle_for()) {
        tokio::time::sleep(limit.saturating_sub(idle_for).max(IDLE_CHECK)).await;
        match slot.upgrade() {
            Some(slot) => slot.close_if_idle(limit).await,
            None => return,
        }
    }
}
