//! One server of the servers file: chooses the connection that carries a call.
//!
//! By default there is one connection, shared by all calls. With `pool` there are several, each with its own process, and a
//! crash ends the calls of one process only. A job whose call was under way when a process ended gets a process of its own, so
//! that the next crash ends no other call.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use longshore_proto::{CallActivity, RunId, ServerName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::CallingJob;
use super::classify::McpFailure;
use super::config::{Secrets, ServerConfig, ServerSettings, ServerTransport};
use super::connection::Connection;
use super::connection_slot::{ConnectionSlot, connect};
use super::crash_suspects::CrashSuspects;
use super::handshake::PoolContext;
use super::run_connections::RunConnections;
use super::server_health::ServerHealth;

/// Concurrent processes of one server for single jobs. After a crash all jobs that shared the process are suspected; they wait
/// for each other, so that not each of them starts a process.
const ISOLATED_PROCESSES: usize = 4;

/// The delivery count at which a job first gets a process of its own: its earlier deliveries ended without a report, perhaps
/// because of the job. One such delivery is usual when a worker is replaced.
const ISOLATED_FROM_DELIVERY: u32 = 3;

/// A server that can be called.
#[derive(Debug)]
pub(crate) struct McpServer {
    name: ServerName,
    health: Arc<ServerHealth>,
    config: Arc<ServerConfig>,
    slots: Vec<Arc<ConnectionSlot>>,
    /// The number of calls on each slot.
    call_counts: Arc<Mutex<Vec<usize>>>,
    crash_suspects: CrashSuspects,
    run_connections: RunConnections,
    isolation_permits: Arc<Semaphore>,
}

/// A connection for one call.
#[derive(Debug)]
pub(crate) struct CallConnection {
    pub(crate) connection: Arc<Connection>,
    _share: CallShare,
}

/// A call's share of its server, which is released when the call ends.
#[derive(Debug)]
enum CallShare {
    /// A connection that other calls use too.
    Shared(#[expect(dead_code, reason = "counts until it is dropped")] CountedCall),
    /// A process of its own.
    Isolated(#[expect(dead_code, reason = "counts until it is dropped")] OwnedSemaphorePermit),
}

/// One call in the count of a slot.
#[derive(Debug)]
struct CountedCall {
    counts: Arc<Mutex<Vec<usize>>>,
    slot: usize,
}

impl McpServer {
    /// Creates a server without a connection.
    pub(crate) fn new(name: ServerName, config: ServerConfig) -> Self {
        let (config, health) = (Arc::new(config), Arc::new(ServerHealth::new(name.clone())));
        let size = config.settings.pool.max(1);
        let slots =
            (0..size).map(|_| Arc::new(ConnectionSlot::new(Arc::clone(&health), Arc::clone(&config))));
        Self {
            slots: slots.collect(),
            name,
            health,
            config,
            call_counts: Arc::new(Mutex::new(vec![0; size])),
            crash_suspects: CrashSuspects::default(),
            run_connections: RunConnections::default(),
            isolation_permits: Arc::new(Semaphore::new(ISOLATED_PROCESSES)),
        }
    }

    /// Returns the settings of the server.
    pub(crate) fn settings(&self) -> &ServerSettings {
        &self.config.settings
    }

    /// Returns the values that are hidden in everything the server sends.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.config.secrets
    }

    /// Returns the activity of a call that waits for a connection of this server.
    pub(crate) fn connecting(&self) -> CallActivity {
        let server = self.name.clone();
        match self.config.transport {
            ServerTransport::Stdio(_) => CallActivity::Starting { server },
            ServerTransport::Http(_) | ServerTransport::Noop => CallActivity::Connecting { server },
        }
    }

    /// Returns a connection for a call. Makes one attempt to connect if there is no usable connection.
    pub(crate) async fn connection_for(
        &self,
        job: Option<CallingJob<'_>>,
        context: &PoolContext,
    ) -> Result<CallConnection, McpFailure> {
        if job.is_some_and(|job| self.needs_isolation(job)) {
            return self.connect_isolated(context).await;
        }
        let (index, call) = self.choose_slot(job.map(|job| job.run));
        let Some(slot) = self.slots.get(index) else { return Err(McpFailure::ShuttingDown) };
        // A new connection is of no use to a run that needs the state of an old one.
        let needed = self.needed_connection(job);
        let lost = || McpFailure::StateLost("its process or session has ended".to_owned());
        if needed.is_some_and(|number| !slot.may_have(number)) {
            return Err(lost());
        }
        let connection = slot.connection(context).await?;
        if needed.is_some_and(|number| number != connection.info().number) {
            return Err(lost());
        }
        Ok(CallConnection { connection, _share: CallShare::Shared(call) })
    }

    async fn connect_isolated(&self, context: &PoolContext) -> Result<CallConnection, McpFailure> {
        let permit = Arc::clone(&self.isolation_permits).acquire_owned().await;
        let permit = permit.map_err(|_closed| McpFailure::ShuttingDown)?;
        let connection = Arc::new(connect(&self.health, &self.config, context).await?);
        tracing::info!(server = %self.name, process = %connection.instance(), "started a process for a single job");
        Ok(CallConnection { connection, _share: CallShare::Isolated(permit) })
    }

    /// Records how a call ended that reached the server. Returns its result, in which a lost session is [`McpFailure::StateLost`] if
    /// the run needed it.
    pub(crate) fn record_result<T>(
        &self,
        job: Option<CallingJob<'_>>,
        connection: &Connection,
        result: Result<T, McpFailure>,
    ) -> Result<T, McpFailure> {
        self.health.record_call(&result);
        let Some(job) = job else { return result };
        if self.can_isolate() {
            self.record_crash(job, &result);
        }
        match (self.needed_connection(Some(job)), result) {
            (_, Ok(answer)) => {
                if self.config.settings.stateful {
                    self.run_connections.note(job.run, connection.info().number);
                }
                Ok(answer)
            }
            (Some(_), Err(McpFailure::SessionLost(why))) => Err(McpFailure::StateLost(why)),
            (_, result) => result,
        }
    }

    /// Returns the number of the connection that has the state of a job's run.
    fn needed_connection(&self, job: Option<CallingJob<'_>>) -> Option<u64> {
        job.filter(|_| self.config.settings.stateful).and_then(|job| self.run_connections.of(job.run))
    }

    fn record_crash<T>(&self, job: CallingJob<'_>, result: &Result<T, McpFailure>) {
        match result {
            Err(McpFailure::Closed(_)) => self.crash_suspects.add(job.run, job.step),
            Err(_) => {}
            Ok(_) => self.crash_suspects.remove(job.run, job.step),
        }
    }

    fn needs_isolation(&self, job: CallingJob<'_>) -> bool {
        self.can_isolate()
            && (job.delivered >= ISOLATED_FROM_DELIVERY || self.crash_suspects.contains(job.run, job.step))
    }

    /// Returns true if the server is a process, and calls need no state of earlier calls.
    fn can_isolate(&self) -> bool {
        matches!(self.config.transport, ServerTransport::Stdio(_)) && !self.config.settings.stateful
    }

    /// Chooses the slot of a call and counts the call: of a stateful server always the same slot for one run, otherwise the slot
    /// with the fewest calls, preferably a connected one.
    fn choose_slot(&self, run: Option<RunId>) -> (usize, CountedCall) {
        let mut counts = self.call_counts.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = if self.config.settings.stateful {
            run.map_or(0, |run| slot_of_run(run, self.slots.len()))
        } else {
            let ranked = counts.iter().zip(&self.slots).enumerate();
            let least = ranked.min_by_key(|(_, (count, slot))| (**count, !slot.is_connected()));
            least.map_or(0, |(index, _)| index)
        };
        if let Some(count) = counts.get_mut(slot) {
            *count += 1;
        }
        (slot, CountedCall { counts: Arc::clone(&self.call_counts), slot })
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(self.slot) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Returns the slot that has the state of a run. The hash is never stored, so it may differ between versions.
fn slot_of_run(run: RunId, slots: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    run.hash(&mut hasher);
    let slots = u64::try_from(slots.max(1)).unwrap_or(1);
    usize::try_from(hasher.finish() % slots).unwrap_or(0)
}
