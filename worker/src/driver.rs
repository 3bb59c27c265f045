//! The worker's driver: pulls jobs, and performs the effects of [`longshore_attempt::Machine`] for each.
//!
//! ```text
//!            one loop per server                    one task per job
//! queue ──► slot free? pull ──► spawn ──► JobTask: attempt::Machine ⇄ claims, pool, blobs, log ──► ack
//! ```
//!
//! Limits are in [`job_slots`], the task of a job in [`job_task`] with its effects in [`grant`], [`make_call`], [`settle`]
//! and [`finish`](mod@finish), progress updates in [`activity_updates`], heartbeats in [`lease_heartbeat`], and repeated requests
//! to a failing backend in [`retry`](mod@retry).

mod activity_updates;
mod finish;
mod grant;
mod job_slots;
mod job_task;
mod job_waits;
mod lease_heartbeat;
mod make_call;
mod mask_warnings;
mod retry;
mod settle;

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use longshore_ports::{Backend, CallUpdates, Delivery, outage};
use longshore_proto::{DeliveryId, Job, NodeId, ServerName};
use metrics::gauge;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::mcp::ServerPool;
use job_slots::{JobSlot, ServerSlots, WorkerSlots};
pub use job_waits::{JobWaits, WaitReason, WaitSummary};
use mask_warnings::MaskWarnings;
use retry::retry;

/// The longest wait of one pull. A longer one saves nothing measurable, and the end of the wait shows that a connection died
/// unnoticed, during which the worker is idle.
const PULL_WAIT: Duration = Duration::from_secs(20);

/// The longest wait of a pull after a failed one. Its end is the first sign that the queue works again, which readiness
/// shows.
const WAIT_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Maximum number of jobs in one pull: with arguments of at most 64 KiB each, 8 MiB.
const PULL_LIMIT: usize = 128;

/// The pause after a pull that failed with an error that is not retryable.
const PULL_REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// Time to settle or return calls that were cancelled at the end of the drain. The queue delivers all other jobs again when
/// their acknowledgement wait ends.
const CANCELLED_CALLS_LIMIT: Duration = Duration::from_secs(5);

/// Concurrency of a worker, and its drain.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// Concurrent jobs that the servers share. Each server has one more slot of its own, with which it waits for its next job,
    /// so that a busy server and many idle ones do not take slots from each other. The worker can have as many more jobs as it
    /// has servers.
    pub slots: NonZeroUsize,
    /// The longest time that calls may continue after the stop of the worker was requested.
    pub drain: Duration,
}

impl Default for WorkerConfig {
    /// Returns 64 slots, since a waiting call costs a task and no thread, and a drain of 30 s, the time that orchestrators give
    /// a process by default before they kill it.
    fn default() -> Self {
        Self { slots: NonZeroUsize::MIN.saturating_add(63), drain: Duration::from_secs(30) }
    }
}

/// A worker: pulls jobs for the servers of its pool and settles them.
pub struct Worker {
    context: Arc<WorkerContext>,
    config: WorkerConfig,
}

/// The parts of a worker that all job tasks share.
struct WorkerContext {
    backend: Backend,
    pool: Arc<ServerPool>,
    /// Publishes the activities of calls under way.
    updates: Option<Arc<dyn CallUpdates>>,
    node: NodeId,
    /// Deliveries so far.
    deliveries: AtomicU64,
    /// Cancelled when the drain is over: calls must end now.
    drain_expired: CancellationToken,
    mask_warnings: MaskWarnings,
    waits: JobWaits,
}

impl Worker {
    /// Creates a worker with the id `node` for the servers of `pool`, which publishes the activities of calls to `updates`.
    pub fn new(
        backend: Backend,
        pool: Arc<ServerPool>,
        node: NodeId,
        config: WorkerConfig,
        updates: Option<Arc<dyn CallUpdates>>,
    ) -> Self {
        let (deliveries, drain_expired) = (AtomicU64::new(0), CancellationToken::new());
        let (mask_warnings, waits) = (MaskWarnings::default(), JobWaits::default());
        let context =
            WorkerContext { backend, pool, updates, node, deliveries, drain_expired, mask_warnings, waits };
        Self { context: Arc::new(context), config }
    }

    /// Returns the jobs that wait before their call.
    pub fn waits(&self) -> JobWaits {
        self.context.waits.clone()
    }

    /// Works until `stop`, then drains: pulls no more jobs, lets calls under way end within [`WorkerConfig::drain`], then
    /// cancels them. The pool stays open; its owner closes it.
    pub async fn run(self, stop: CancellationToken) {
        let servers: Vec<_> = self.context.pool.servers().collect();
        let slots = self.config.slots.get().saturating_add(servers.len());
        let of_worker = WorkerSlots::new(slots);
        gauge!("longshore_worker_slots", "state" => "total").set(u32::try_from(slots).unwrap_or(u32::MAX));
        gauge!("longshore_worker_slots", "state" => "busy").increment(0);
        info!(node = %self.context.node, servers = servers.len(), slots, "worker started");
        let serving = join_all(servers.into_iter().map(|(server, limit)| {
            let slots = ServerSlots::new(&of_worker, limit);
            self.serve(server, slots, &stop)
        }));
        tokio::select! {
            biased;
            _ = async { tokio::join!(stop.cancelled(), serving) } => info!("worker drained"),
            () = self.expire_drain(&stop) => warn!("the drain took too long; the queue delivers the remaining jobs again"),
            never = self.context.waits.measure() => match never {},
        }
    }

    /// Processes the jobs of one server until `stop`, and waits for those that have begun.
    async fn serve(&self, server: &ServerName, slots: ServerSlots, stop: &CancellationToken) {
        let mut jobs = JoinSet::new();
        self.pull_until(stop, server, &slots, &mut jobs).await;
        while let Some(ended) = jobs.join_next().await {
            log_panic(ended);
        }
    }

    async fn pull_until(
        &self,
        stop: &CancellationToken,
        server: &ServerName,
        slots: &ServerSlots,
        jobs: &mut JoinSet<()>,
    ) {
        let mut next_jobs = pin!(self.next_jobs(server, slots, false));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = jobs.join_next() => log_panic(ended),
                pulled = &mut next_jobs => {
                    let is_empty = pulled.last().is_some_and(|(delivery, _)| delivery.was_last);
                    for (delivery, slot) in pulled {
                        self.spawn(delivery, slot, jobs);
                    }
                    // The new jobs make their calls before the next pull.
                    yield_now().await;
                    next_jobs.set(self.next_jobs(server, slots, is_empty));
                }
            }
        }
    }

    /// Waits for jobs, and returns each with a slot.
    ///
    /// The first pull takes jobs that are ready for all free slots. The second pull waits with one slot only: a server without
    /// jobs must not hold slots that another server could use. The first pull is left out if the queue is known to be
    /// empty.
    async fn next_jobs(
        &self,
        server: &ServerName,
        slots: &ServerSlots,
        is_empty: bool,
    ) -> Vec<(Delivery, JobSlot)> {
        let first = slots.acquire().await;
        if !is_empty {
            let mut free: Vec<JobSlot> = slots.acquire_free(PULL_LIMIT - 1);
            let all = NonZeroUsize::MIN.saturating_add(free.len());
            let ready = self.pull(server, all, Duration::ZERO).await;
            if !ready.is_empty() {
                free.push(first);
                return ready.into_iter().zip(free).collect();
            }
        }
        let ready = self.pull(server, NonZeroUsize::MIN, PULL_WAIT).await;
        ready.into_iter().zip([first]).collect()
    }

    async fn pull(&self, server: &ServerName, max: NonZeroUsize, wait: Duration) -> Vec<Delivery> {
        let (jobs, has_failed) = (&self.context.backend.jobs, AtomicBool::new(false));
        let pull = || {
            let wait =
                if has_failed.swap(true, Ordering::Relaxed) { wait.min(WAIT_AFTER_FAILURE) } else { wait };
            jobs.pull(server, max, wait)
        };
        match retry("pull jobs", pull).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                if outage::record_failure("cannot pull jobs") {
                    error!(%error, %server, "cannot pull jobs; trying again in {PULL_REFUSED_PAUSE:?}");
                }
                sleep(PULL_REFUSED_PAUSE).await;
                Vec::new()
            }
        }
    }

    fn spawn(&self, delivery: Delivery, slot: JobSlot, jobs: &mut JoinSet<()>) {
        let Job { id, server, tool, .. } = &delivery.job;
        let span = info_span!("job", run = %id.run, step = %id.step, attempt = %id.attempt, %server, %tool);
        let context = Arc::clone(&self.context);
        jobs.spawn(async move { job_task::process(&context, delivery, slot).await }.instrument(span));
    }

    /// Cancels calls when the drain is over, and returns [`CANCELLED_CALLS_LIMIT`] later.
    async fn expire_drain(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        sleep(self.config.drain).await;
        self.context.drain_expired.cancel();
        sleep(CANCELLED_CALLS_LIMIT).await;
    }
}

impl WorkerContext {
    /// Returns the id of the next delivery.
    fn next_delivery(&self) -> DeliveryId {
        let number = self.deliveries.fetch_add(1, Ordering::Relaxed);
        DeliveryId { worker: self.node.clone(), number }
    }
}

/// Logs the panic of a job's task. The panic dropped the delivery, so the queue delivers the job again; a job that panics each
/// time is poison.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "the task of a job panicked, which is a bug; the queue delivers the job again");
    }
}
