//! The door for submits by plain publish: pull, check, append, acknowledge.
//!
//! ```text
//!   LS_SUBMIT ──Incoming──► read ──Order──► plan ──► Submitted in the log ──► ack
//!                             └────────────── refused ──► dead letter ──────► ack
//! ```
//!
//! A message that comes twice is the same run, because its id is derived from what the submitter sent or from the
//! message's place. So whatever fails on the way is left to the next delivery.

mod deferred;
mod letter;
mod masked;
pub(crate) mod order;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use longshore_ports::{DeadLetters, Incoming, Receipt, Submissions, outage};
use longshore_proto::{Event, Namespace, Partition, RunId, WorkflowName};
use longshore_workflow::Plan;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::deferred::{DeferredSubmits, log_deferred};
use crate::checks::{SMALL_BYTES, on_blocking_thread};
use crate::desk::{Desk, Order, Refusal, audit};
use crate::pace::Pace;

/// Messages taken at once. Workflows are looked up once for all of them.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// How much larger the next batch may be while a process starts.
const GROWTH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Batches under way at once: while one waits for the log, the next is read.
const BATCHES: usize = 2;

/// Orders of a batch checked at once: only large inputs make that a wait, for they are kept as blobs first.
const CHECKED_AT_ONCE: usize = 32;

/// How long one request for messages stays open, and so how long a stop may take.
const PULL_WAIT: Duration = Duration::from_secs(2);

/// The least wait for messages while others are deferred.
const SHORTEST_PULL_WAIT: Duration = Duration::from_millis(50);

/// How long the stream is left alone when it is away.
const PAUSE: Duration = Duration::from_secs(1);

/// What fails while the stream is away, for the log.
const PULL: &str = "pull submits";

/// How long a batch may take before the stream is reminded of it, and how often after that: well within the time after which
/// the stream delivers a message again.
const REMIND_EVERY: Duration = Duration::from_secs(10);

/// Up to how many deliveries a message is taken in together with others. A lost connection and a scheduler that is stopped
/// cost one as well, so a few say nothing.
const SUSPECT_DELIVERIES: u32 = 2;

/// Up to how many deliveries it is read at all.
const POISON_DELIVERIES: u32 = 5;

/// Takes submits in.
pub struct Doorway {
    desk: Arc<Desk>,
    submissions: Arc<dyn Submissions>,
    dead_letters: Arc<dyn DeadLetters>,
    pace: Pace,
}

/// Checked orders for runs of one partition: the record of each, and the message it came by.
#[derive(Default)]
struct Orders {
    events: Vec<Event>,
    messages: Vec<Incoming>,
}

impl Orders {
    fn add(&mut self, event: Event, message: Incoming) {
        self.events.push(event);
        self.messages.push(message);
    }
}

/// Which version of which workflow is meant.
type Wanted = (Namespace, WorkflowName, Option<String>);

impl Doorway {
    /// A door into a desk, which opens as wide as the pace allows.
    pub fn new(
        desk: Arc<Desk>,
        submissions: Arc<dyn Submissions>,
        dead_letters: Arc<dyn DeadLetters>,
        pace: Pace,
    ) -> Self {
        Self { desk, submissions, dead_letters, pace }
    }

    /// Takes submits in until `stop`, and finishes what it has in hand.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let (mut batches, mut deferred) = (JoinSet::new(), DeferredSubmits::new());
        // One message at first, then ever more: what ends this process at once takes few others with it.
        let mut most = NonZeroUsize::MIN;
        while !stop.is_cancelled() {
            let batch = if deferred.is_due() {
                deferred.take(BATCH)
            } else if deferred.is_full() {
                stop.run_until_cancelled(deferred.until_due()).await;
                continue;
            } else {
                this.pull(most, &deferred, &stop).await
            };
            if !batch.is_empty() {
                most = most.saturating_mul(GROWTH).min(BATCH);
                batches.spawn(Arc::clone(&this).take_in(batch));
                // They go first: asking for more can wait until they are on their way.
                yield_now().await;
            }
            while batches.len() >= BATCHES {
                note(batches.join_next().await, &mut deferred).await;
            }
            while let Some(ended) = batches.try_join_next() {
                note(Some(ended), &mut deferred).await;
            }
        }
        while let Some(ended) = batches.join_next().await {
            note(Some(ended), &mut deferred).await;
        }
        info!("no more submits are taken in");
    }

    /// Pulls submits, until some come or those that are deferred are due.
    async fn pull(
        &self,
        most: NonZeroUsize,
        deferred: &DeferredSubmits,
        stop: &CancellationToken,
    ) -> Vec<Incoming> {
        let most = self.pace.turn(most).await;
        let until_due = deferred.due().map(|due| due.saturating_duration_since(Instant::now()));
        let wait = until_due.unwrap_or(PULL_WAIT).clamp(SHORTEST_PULL_WAIT, PULL_WAIT);
        // Never cancelled half-way: messages that were on their way would wait for the stream's patience.
        match self.submissions.pull(most, wait).await {
            Ok(batch) => {
                if let Some(lasted) = outage::record_success(PULL) {
                    info!(?lasted, "works again: {PULL}");
                }
                batch
            }
            Err(error) => {
                if outage::record_failure(PULL) {
                    warn!(%error, "cannot {PULL}; trying again until it works");
                }
                stop.run_until_cancelled(sleep(PAUSE)).await;
                Vec::new()
            }
        }
    }

    /// Takes a batch of messages in, and reminds the stream of them if that takes long. Returns how many were tried, and
    /// those that cannot be taken in now.
    async fn take_in(self: Arc<Self>, batch: Vec<Incoming>) -> (usize, Vec<Incoming>) {
        let tried = batch.len();
        let reminders: Vec<_> =
            batch.iter().filter_map(|message| message.receipt.ack_wait_extender()).collect();
        let reminding = async {
            loop {
                sleep(REMIND_EVERY).await;
                join_all(reminders.iter().map(|reminder| reminder.extend_ack_wait())).await;
            }
        };
        let left =
            tokio::select! { left = self.take_in_carefully(batch) => left, () = reminding => Vec::new() };
        (tried, left)
    }

    /// Takes in all together what comes for the first time, and after that, one by one, what schedulers may have ended by:
    /// whatever it does, it does to itself alone.
    async fn take_in_carefully(&self, batch: Vec<Incoming>) -> Vec<Incoming> {
        let (suspects, others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|message| message.delivered > SUSPECT_DELIVERIES);
        let mut left = if others.is_empty() { Vec::new() } else { self.take_in_together(others).await };
        for suspect in suspects {
            if suspect.delivered > POISON_DELIVERIES {
                let refusal = Refusal::Poison { deliveries: suspect.delivered };
                left.extend(self.bury(&refusal, suspect).await);
            } else {
                left.append(&mut self.take_in_together(vec![suspect]).await);
            }
        }
        left
    }

    /// Takes messages in, all together. Returns those that cannot be taken in now.
    async fn take_in_together(&self, batch: Vec<Incoming>) -> Vec<Incoming> {
        let read = self.read_all(batch).await;
        let good = || read.iter().filter_map(|(order, _)| order.as_ref().ok());
        let logs = self.desk.look_at_logs(good().map(|(run, _)| run.partition()));
        let (plans, ()) = tokio::join!(self.plans(good().map(|(_, order)| order)), logs);
        let checked =
            stream::iter(read).map(async |(order, message)| (self.check(order, &plans).await, message));
        let mut checked = pin!(checked.buffered(CHECKED_AT_ONCE));
        let (mut orders, mut refused) = (BTreeMap::<Partition, Orders>::new(), Vec::new());
        while let Some((order, message)) = checked.next().await {
            match order {
                Ok((partition, event)) => orders.entry(partition).or_default().add(event, message),
                Err(refusal) => refused.push((refusal, message)),
            }
        }
        let recorded = orders.into_iter().map(|(partition, orders)| self.record(partition, orders));
        let refused = refused.into_iter().map(|(refusal, message)| self.refuse(refusal, message));
        let (recorded, refused) = tokio::join!(join_all(recorded), join_all(refused));
        recorded.into_iter().flatten().chain(refused.into_iter().flatten()).collect()
    }

    /// What messages order, in their order. Large ones are read on another thread.
    async fn read_all(&self, batch: Vec<Incoming>) -> Vec<(Result<(RunId, Order), Refusal>, Incoming)> {
        let desk = Arc::clone(&self.desk);
        let bytes: usize = batch.iter().map(|message| message.body.len()).sum();
        let read = move || batch.into_iter().map(|message| (read_safely(&desk, &message), message)).collect();
        if bytes <= SMALL_BYTES { read() } else { on_blocking_thread(read).await }
    }

    /// The plans of all orders. Looked up after the messages were pulled, so a workflow that was registered before a
    /// submit was published is found.
    async fn plans(
        &self,
        orders: impl Iterator<Item = &Order>,
    ) -> BTreeMap<Wanted, Result<Arc<Plan>, Arc<Refusal>>> {
        let mut wanted: Vec<Wanted> = orders.map(wanted).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let looked_up =
            join_all(wanted.iter().map(|(namespace, workflow, version)| {
                self.desk.plan(namespace, workflow, version.as_deref())
            }));
        let plans: Vec<_> = looked_up.await.into_iter().map(|plan| plan.map_err(Arc::new)).collect();
        wanted.into_iter().zip(plans).collect()
    }

    /// The record of an order, and where it belongs.
    async fn check(
        &self,
        order: Result<(RunId, Order), Refusal>,
        plans: &BTreeMap<Wanted, Result<Arc<Plan>, Arc<Refusal>>>,
    ) -> Result<(Partition, Event), Arc<Refusal>> {
        let (run, order) = order?;
        match plans.get(&wanted(&order)) {
            Some(Ok(plan)) => {
                Ok((run.partition(), self.desk.check_published(run, order, Arc::clone(plan)).await?))
            }
            Some(Err(refusal)) => Err(Arc::clone(refusal)),
            None => Err(Refusal::Malformed("its workflow was not looked up".to_owned()))?,
        }
    }

    /// Records the orders of a partition together, and answers the stream. Returns the messages that have to wait.
    async fn record(&self, partition: Partition, orders: Orders) -> Vec<Incoming> {
        let Orders { events, messages } = orders;
        match self.desk.record(partition, &events).await {
            Ok(()) => {
                debug!(%partition, runs = events.len(), "submitted");
                audit::published(&events);
                join_all(messages.into_iter().map(|message| acknowledge(message.receipt))).await;
                Vec::new()
            }
            // One of them may be the reason, such as a record that is too large; the others have no part in that.
            Err(refusal) if !refusal.may_pass() => {
                debug!(%partition, %refusal, "submits are taken in one by one");
                let mut wait = Vec::new();
                for (event, message) in events.iter().zip(messages) {
                    match self.desk.record(partition, std::slice::from_ref(event)).await {
                        Ok(()) => {
                            audit::published(std::slice::from_ref(event));
                            acknowledge(message.receipt).await;
                        }
                        Err(refusal) => wait.extend(self.refuse(Arc::new(refusal), message).await),
                    }
                }
                wait
            }
            Err(refusal) => {
                log_deferred(&refusal, messages.len());
                messages
            }
        }
    }

    /// Returns a message that cannot be taken in now, and keeps one that is refused for good as a dead letter.
    async fn refuse(&self, refusal: Arc<Refusal>, message: Incoming) -> Option<Incoming> {
        if refusal.may_pass() {
            log_deferred(&refusal, 1);
            return Some(message);
        }
        self.bury(&refusal, message).await
    }
}

/// The same as [`read`]. A panic is the message's own, and takes no other message with it.
fn read_safely(desk: &Desk, message: &Incoming) -> Result<(RunId, Order), Refusal> {
    let poison = |_| Err(Refusal::Poison { deliveries: message.delivered });
    catch_unwind(AssertUnwindSafe(|| read(desk, message))).unwrap_or_else(poison)
}

/// What a message orders, and the run that it stands for.
fn read(desk: &Desk, message: &Incoming) -> Result<(RunId, Order), Refusal> {
    let order = order::read(message)?;
    let run = match &order.id {
        Some(id) => desk.run_of_id(&order.namespace, &order.workflow, id)?,
        None => desk.run_of_place(&order.namespace, &message.place),
    };
    Ok((run, order))
}

fn wanted(order: &Order) -> Wanted {
    (order.namespace.clone(), order.workflow.clone(), order.version.clone())
}

async fn acknowledge(receipt: Box<dyn Receipt>) {
    if let Err(error) = receipt.ack().await {
        debug!(%error, "not acknowledged; it will come once more and be the same run");
    }
}

/// Notes the end of a batch, and keeps what has to wait.
async fn note(ended: Option<Result<(usize, Vec<Incoming>), JoinError>>, deferred: &mut DeferredSubmits) {
    match ended {
        Some(Ok((tried, left))) => deferred.add(left, tried).await,
        Some(Err(error)) => error!(%error, "taking submits in panicked; this is a bug"),
        None => {}
    }
}
