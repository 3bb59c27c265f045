//! One server of the file, and its connection if there is one.
//!
//! All calls share one connection, so connecting happens once however many calls wait for it, and those who waited
//! share its failure too: fifty calls to a server that is down cost one attempt, not fifty in a row.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use longshore_proto::ServerName;
use metrics::gauge;
use tokio::sync::Mutex;

use super::classify::Observation;
use super::config::{Secrets, ServerConfig, Settings};
use super::connection::Connection;
use super::handshake::{self, Home};

/// How often, at most, an idle connection is looked at.
const IDLE_CHECK: Duration = Duration::from_millis(100);

/// A server that can be called.
#[derive(Debug)]
pub(crate) struct Server {
    name: ServerName,
    config: ServerConfig,
    slot: Mutex<Slot>,
    /// Attempts to connect that have ended. Read without the lock, by those who begin to wait for it.
    attempts: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    connection: Option<Arc<Connection>>,
    /// The number of the last attempt, if it failed, and what was seen.
    failure: Option<(u64, Observation)>,
}

impl Server {
    /// A server without a connection.
    pub(crate) fn new(name: ServerName, config: ServerConfig) -> Self {
        Self { name, config, slot: Mutex::default(), attempts: AtomicU64::new(0) }
    }

    /// How it is treated.
    pub(crate) const fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// What must not be seen in what it says.
    pub(crate) const fn secrets(&self) -> &Secrets {
        &self.config.secrets
    }

    /// Its connection; a new one if there is none that can be used. One attempt is made.
    pub(crate) async fn connection(self: &Arc<Self>, home: &Home) -> Result<Arc<Connection>, Observation> {
        let ended_before = self.attempts.load(Ordering::Acquire);
        let mut slot = self.slot.lock().await;
        if home.closing.is_cancelled() {
            return Err(Observation::ShuttingDown);
        }
        if let Some(connection) = slot.connection.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(Arc::clone(connection));
        }
        if let Some((number, seen)) = &slot.failure
            && *number > ended_before
        {
            return Err(seen.clone());
        }
        slot.connection = None;
        let attempt = tokio::select! {
            biased;
            () = home.closing.cancelled() => Err(Observation::ShuttingDown),
            attempt = handshake::connect(&self.name, &self.config, home) => attempt,
        };
        let number = self.attempts.fetch_add(1, Ordering::Release) + 1;
        let up = if attempt.is_ok() { 1 } else { 0 };
        gauge!("longshore_mcp_server_up", "server" => self.name.to_string()).set(up);
        match attempt {
            Ok(connection) => {
                let connection = Arc::new(connection);
                slot.failure = None;
                slot.connection = Some(Arc::clone(&connection));
                self.close_when_idle(&connection, home);
                Ok(connection)
            }
            Err(seen) => {
                slot.failure = Some((number, seen.clone()));
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

    /// Lets go of a connection that is idle: nobody but the slot holds it.
    async fn let_go_if_idle(&self, limit: Duration) {
        let mut slot = self.slot.lock().await;
        let idle = slot
            .connection
            .as_ref()
            .is_some_and(|connection| Arc::strong_count(connection) == 1 && connection.idle_for() >= limit);
        if idle {
            tracing::debug!(server = %self.name, "idle, closed");
            slot.connection = None;
        }
    }
}

async fn watch_idle(server: Weak<Server>, connection: Weak<Connection>, limit: Duration) {
    while let Some(idle_for) = connection.upgrade().map(|connection| connection.idle_for()) {
        tokio::time::sleep(limit.saturating_sub(idle_for).max(IDLE_CHECK)).await;
        match server.upgrade() {
            Some(server) => server.let_go_if_idle(limit).await,
            None => return,
        }
    }
}
