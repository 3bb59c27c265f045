//! The worker's process side: pulls jobs and sees each one through.
//!
//! ```text
//!            one loop per server                    one task per job
//! queue ──► slot free? pull ──► spawn ──► life: attempt::Machine ⇄ claims, pool, blobs, log ──► ack
//! ```
//!
//! What follows from what happened is decided in [`longshore_attempt`]; here it is performed. Which slots are
//! free belongs to [`slots`], one job's life to [`life`], updates of its calls for people to [`activity`], keeping queue and
//! claim patient to [`pulse`], asking a backend again that fails to [`insist`](mod@insist).

mod activity;
mod insist;
mod life;
mod masked;
mod pulse;
mod slots;

use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use longshore_attempt::holder;
use longshore_ports::{Backend, CallUpdates, Delivery, outage};
use longshore_proto::{Job, NodeId, ServerName};
use metrics::gauge;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::mcp::Pool;
use insist::insist;
use masked::MaskedNotices;
use slots::{Slot, Slots};

/// How long one request for jobs stays open. Longer saves nothing measurable; shorter bounds how long a connection that
/// died unnoticed keeps a worker idle.
const PULL_WAIT: Duration = Duration::from_secs(20);

/// The longest wait of a pull after one that failed: its end is the first sign that the queue works again, and readiness shows
/// it.
const WAIT_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The most jobs taken in one pull: with arguments of at most 64 KiB each, 8 MiB.
const PULL_LIMIT: usize = 128;

/// How long a queue that refuses to answer is left alone, once it said that asking again does not help.
const BROKEN_QUEUE_PAUSE: Duration = Duration::from_secs(5);

/// How long calls that were cut off at the end of the drain have to be settled or given back. What is left then goes
/// back to the queue by itself, when its patience ends.
const CUT_LIMIT: Duration = Duration::from_secs(5);

/// How many jobs a worker takes, and how it ends.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// Jobs at once that the servers share. Each server has one more to itself, with which it waits for its next job, so
    /// that a busy server and many idle ones do not take slots from each other: in all, that many more can be in hand.
    pub slots: NonZeroUsize,
    /// How long calls that have begun may go on once the worker is told to stop.
    pub drain: Duration,
}

impl Default for WorkerConfig {
    /// 64 slots: a waiting call costs a task and a connection's attention, not a thread. 30 s of drain: what
    /// orchestrators grant a process by default before they kill it.
    fn default() -> Self {
        Self { slots: NonZeroUsize::MIN.saturating_add(63), drain: Duration::from_secs(30) }
    }
}

/// A worker: takes jobs for the servers of its pool and settles them.
pub struct Worker {
    shared: Arc<Shared>,
    config: WorkerConfig,
}

/// What every job's task needs.
struct Shared {
    backend: Backend,
    pool: Arc<Pool>,
    /// Receives what calls under way are doing, if anything does.
    updates: Option<Arc<dyn CallUpdates>>,
    node: NodeId,
    /// Deliveries so far.
    deliveries: AtomicU64,
    /// Cancelled when the drain is over: calls are to end now.
    cut: CancellationToken,
    masked: MaskedNotices,
}

impl Worker {
    /// A worker called `node` for the servers of `pool`, which publishes what calls under way are doing on `updates`.
    pub fn new(
        backend: Backend,
        pool: Arc<Pool>,
        node: NodeId,
        config: WorkerConfig,
        updates: Option<Arc<dyn CallUpdates>>,
    ) -> Self {
        let (deliveries, cut) = (AtomicU64::new(0), CancellationToken::new());
        let masked = MaskedNotices::default();
        let shared = Shared { backend, pool, updates, node, deliveries, cut, masked };
        Self { shared: Arc::new(shared), config }
    }

    /// Works until `stop`, then drains: pulls nothing more, lets calls that have begun end within
    /// [`WorkerConfig::drain`], then cuts them off. The pool stays open; whoever made it closes it.
    pub async fn run(self, stop: CancellationToken) {
        let servers: Vec<_> = self.shared.pool.servers().collect();
        let slots = self.config.slots.get().saturating_add(servers.len());
        let of_worker = slots::semaphore(slots);
        gauge!("longshore_worker_slots", "state" => "total").set(u32::try_from(slots).unwrap_or(u32::MAX));
        gauge!("longshore_worker_slots", "state" => "busy").increment(0);
        info!(node = %self.shared.node, servers = servers.len(), slots, "worker started");
        let serving = join_all(servers.into_iter().map(|(server, limit)| {
            let slots = Slots::new(&of_worker, limit);
            self.serve(server, slots, &stop)
        }));
        tokio::select! {
            biased;
            _ = async { tokio::join!(stop.cancelled(), serving) } => info!("worker drained"),
            () = self.out_of_time(&stop) => warn!("the drain took too long; jobs are left to the queue"),
        }
    }

    /// Sees the jobs of one server through until `stop`, and then those that have begun.
    async fn serve(&self, server: &ServerName, slots: Slots, stop: &CancellationToken) {
        let mut jobs = JoinSet::new();
        self.pull_until(stop, server, &slots, &mut jobs).await;
        while let Some(ended) = jobs.join_next().await {
            report(ended);
        }
    }

    async fn pull_until(
        &self,
        stop: &CancellationToken,
        server: &ServerName,
        slots: &Slots,
        jobs: &mut JoinSet<()>,
    ) {
        let mut filling = pin!(self.fill(server, slots, false));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(ended) = jobs.join_next() => report(ended),
                filled = &mut filling => {
                    let is_empty = filled.last().is_some_and(|(delivery, _)| delivery.was_last);
                    for (delivery, slot) in filled {
                        self.begin(delivery, slot, jobs);
                    }
                    // They go first: asking for more can wait until their calls are made.
                    yield_now().await;
                    filling.set(self.fill(server, slots, is_empty));
                }
            }
        }
    }

    /// Jobs, each with a slot.
    ///
    /// All free slots are offered to what is there already. Then one is kept for whatever comes next, and the others
    /// go to other servers: a server without jobs must not hold slots that another could use. Of a queue that is known
    /// to be empty nothing is asked at once.
    async fn fill(&self, server: &ServerName, slots: &Slots, is_empty: bool) -> Vec<(Delivery, Slot)> {
        let first = slots.wait().await;
        if !is_empty {
            let mut free: Vec<Slot> = slots.more(PULL_LIMIT - 1);
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
        let (jobs, has_failed) = (&self.shared.backend.jobs, AtomicBool::new(false));
        let pull = || {
            let wait =
                if has_failed.swap(true, Ordering::Relaxed) { wait.min(WAIT_AFTER_FAILURE) } else { wait };
            jobs.pull(server, max, wait)
        };
        match insist("pulling jobs", pull).await {
            Ok(deliveries) => deliveries,
            Err(error) => {
                if outage::record_failure("the queue refuses to give jobs") {
                    error!(%error, %server, "the queue refuses to give jobs; asking again");
                }
                sleep(BROKEN_QUEUE_PAUSE).await;
                Vec::new()
            }
        }
    }

    fn begin(&self, delivery: Delivery, slot: Slot, jobs: &mut JoinSet<()>) {
        let Job { id, server, tool, .. } = &delivery.job;
        let span = info_span!("job", run = %id.run, step = %id.step, attempt = %id.attempt, %server, %tool);
        let shared = Arc::clone(&self.shared);
        jobs.spawn(async move { life::live(&shared, delivery, slot).await }.instrument(span));
    }

    /// Returns when the drain has used up its time; calls are cut off [`CUT_LIMIT`] before.
    async fn out_of_time(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        sleep(self.config.drain).await;
        self.shared.cut.cancel();
        sleep(CUT_LIMIT).await;
    }
}

impl Shared {
    /// Returns the name under which the next delivery holds its claim.
    fn next_holder(&self) -> NodeId {
        holder(&self.node, self.deliveries.fetch_add(1, Ordering::Relaxed))
    }
}

/// A panic ends one job's task and nothing else: its delivery was dropped, so the queue gives it to somebody again, and
/// if that does not help it is poison.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a job's task panicked; this is a bug");
    }
}
