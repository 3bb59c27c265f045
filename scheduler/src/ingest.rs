//! Ingest of published submits: pulls messages from the stream, checks them, appends them, and acknowledges them.
//!
//! ```text
//!   LS_SUBMIT ──Incoming──► decode ──SubmitRequest──► check ──► Submitted in the log ──► ack
//!                             └────────────┴── refused ──► dead letter ────────────────► ack
//! ```
//!
//! A message that is delivered twice is one run, because the run id is derived from the id of the client or from the message's
//! position in the stream. So after a failure the message is left to its next delivery.

mod dead_letter;
mod decode;
mod deferred;
mod masked;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use futures::{StreamExt, stream};
use longshore_ports::{DeadLetters, Incoming, Receipt, Submissions, on_blocking_thread, outage};
use longshore_proto::{Event, Namespace, Partition, RunId, WorkflowName};
use longshore_workflow::Plan;
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

pub(crate) use self::decode::decode_dead_letter;
use self::deferred::{BatchResult, DeferredSubmits, log_deferred};
use crate::audit::audit_published;
use crate::backpressure::Backpressure;
use crate::blocking::SMALL_BYTES;
use crate::refusal::Refusal;
use crate::submit::{SubmitDigest, SubmitHandler};
use crate::submit_request::SubmitRequest;

/// Maximum number of messages of a batch. Each workflow is looked up once for a batch.
const BATCH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

/// Factor by which batches grow after the start of the process.
const GROWTH: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Batches that are processed concurrently: while one waits for the log, the next one is decoded.
const CONCURRENT_BATCHES: usize = 2;

/// Submits of a batch that are checked concurrently. A check waits only if large inputs are stored as a blob.
const CONCURRENT_CHECKS: usize = 32;

/// Longest wait of a pull, and so the longest delay of a stop.
const PULL_WAIT: Duration = Duration::from_secs(2);

/// Shortest wait of a pull while submits are deferred.
const SHORTEST_PULL_WAIT: Duration = Duration::from_millis(50);

/// Pause after a failed pull.
const PULL_PAUSE: Duration = Duration::from_secs(1);

/// Key of the outage log.
const PULL: &str = "pull submits";

/// Interval of progress notices to the stream while a batch is processed. Well below the time after which the stream delivers a
/// message again.
const REMIND_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum number of deliveries after which a message is still processed together with others. A lost connection and a
/// scheduler that is stopped cost a delivery as well, so a few mean nothing.
const SUSPECT_DELIVERIES: u32 = 2;

/// Maximum number of deliveries after which a message is decoded at all.
const POISON_DELIVERIES: u32 = 5;

/// Ingests published submits.
pub struct Ingest {
    submits: Arc<SubmitHandler>,
    submissions: Arc<dyn Submissions>,
    dead_letters: Arc<dyn DeadLetters>,
    backpressure: Backpressure,
}

/// A submit that was checked.
struct CheckedSubmit {
    event: Event,
    partition: Partition,
    /// The client chose an id.
    has_id: bool,
}

/// Checked submits of one partition: the event of each, and its message.
#[derive(Default)]
struct CheckedSubmits {
    events: Vec<Event>,
    messages: Vec<Incoming>,
}

impl CheckedSubmits {
    fn add(&mut self, event: Event, message: Incoming) {
        self.events.push(event);
        self.messages.push(message);
    }
}

/// A decoded message and its run.
type DecodedMessage = Result<(RunId, SubmitRequest), Refusal>;

/// Namespace, name and version of a workflow.
type PlanKey = (Namespace, WorkflowName, Option<String>);

type PlanLookups = BTreeMap<PlanKey, Result<Arc<Plan>, Arc<Refusal>>>;

type RoomChecks = BTreeMap<Partition, Result<(), Arc<Refusal>>>;

impl Ingest {
    /// Creates the ingest of a stream, as fast as the backpressure allows.
    pub fn new(
        submits: Arc<SubmitHandler>,
        submissions: Arc<dyn Submissions>,
        dead_letters: Arc<dyn DeadLetters>,
        backpressure: Backpressure,
    ) -> Self {
        Self { submits, submissions, dead_letters, backpressure }
    }

    /// Ingests submits until `stop`, and finishes the batches that are under way.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let (mut batches, mut deferred) = (JoinSet::new(), DeferredSubmits::new());
        // Starts with one message: if it ends the process, it costs few other messages a delivery.
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
                batches.spawn(Arc::clone(&this).ingest(batch));
                // Lets the batch start before the next pull.
                yield_now().await;
            }
            while batches.len() >= CONCURRENT_BATCHES {
                note_end_of_batch(batches.join_next().await, &mut deferred).await;
            }
            while let Some(ended) = batches.try_join_next() {
                note_end_of_batch(Some(ended), &mut deferred).await;
            }
        }
        while let Some(ended) = batches.join_next().await {
            note_end_of_batch(Some(ended), &mut deferred).await;
        }
        info!("ingest of submits stopped");
    }

    /// Pulls submits. Waits until some arrive or deferred ones are due.
    async fn pull(
        &self,
        most: NonZeroUsize,
        deferred: &DeferredSubmits,
        stop: &CancellationToken,
    ) -> Vec<Incoming> {
        let most = self.backpressure.admit(most).await;
        let until_due = deferred.due_at().map(|due| due.saturating_duration_since(Instant::now()));
        let wait = until_due.unwrap_or(PULL_WAIT).clamp(SHORTEST_PULL_WAIT, PULL_WAIT);
        // Never cancelled: messages on their way would not be delivered again before the stream's timeout.
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
                stop.run_until_cancelled(sleep(PULL_PAUSE)).await;
                Vec::new()
            }
        }
    }

    /// Ingests a batch of messages, and sends progress notices to the stream meanwhile.
    async fn ingest(self: Arc<Self>, batch: Vec<Incoming>) -> BatchResult {
        let tried = batch.len();
        let reminders: Vec<_> =
            batch.iter().filter_map(|message| message.receipt.ack_wait_extender()).collect();
        let reminding = async {
            loop {
                sleep(REMIND_INTERVAL).await;
                join_all(reminders.iter().map(|reminder| reminder.extend_ack_wait())).await;
            }
        };
        let deferred = tokio::select! {
            deferred = self.ingest_isolating_suspects(batch) => deferred,
            () = reminding => Vec::new(),
        };
        BatchResult { tried, deferred }
    }

    /// Ingests messages together, except for those that schedulers may have ended by: they are ingested one by one, so that
    /// their effect is limited to themselves. Returns the messages that cannot be ingested now.
    async fn ingest_isolating_suspects(&self, batch: Vec<Incoming>) -> Vec<Incoming> {
        let (suspects, others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|message| message.delivered > SUSPECT_DELIVERIES);
        let mut deferred = if others.is_empty() { Vec::new() } else { self.ingest_together(others).await };
        for suspect in suspects {
            if suspect.delivered > POISON_DELIVERIES {
                let refusal = Refusal::Poison { deliveries: suspect.delivered };
                deferred.extend(self.store_dead_letter(&refusal, suspect).await);
            } else {
                deferred.append(&mut self.ingest_together(vec![suspect]).await);
            }
        }
        deferred
    }

    /// Ingests messages together. Returns those that cannot be ingested now.
    async fn ingest_together(&self, batch: Vec<Incoming>) -> Vec<Incoming> {
        let decoded = self.decode_all(batch).await;
        let requests = || decoded.iter().filter_map(|(request, _)| request.as_ref().ok());
        let partitions = requests().map(|(run, _)| run.partition()).collect();
        let (plans, rooms) = tokio::join!(
            self.plans(requests().map(|(_, request)| request)),
            self.submits.log_room.check_all(partitions)
        );
        let checks = stream::iter(decoded)
            .map(async |(request, message)| (self.check(request, &plans, &rooms).await, message));
        let mut checked = pin!(checks.buffered(CONCURRENT_CHECKS));
        let (mut accepted, mut refused) = (BTreeMap::<Partition, CheckedSubmits>::new(), Vec::new());
        let mut with_id = Vec::new();
        while let Some((result, message)) = checked.next().await {
            match result {
                Ok(CheckedSubmit { event, partition, has_id }) => {
                    with_id.extend(SubmitDigest::of(&event).filter(|_| has_id));
                    accepted.entry(partition).or_default().add(event, message);
                }
                Err(refusal) => refused.push((refusal, message)),
            }
        }
        self.submits.note_published(&with_id).await;
        let appended = accepted.into_iter().map(|(partition, submits)| self.append(partition, submits));
        let refused = refused.into_iter().map(|(refusal, message)| self.refuse(refusal, message));
        let (appended, refused) = tokio::join!(join_all(appended), join_all(refused));
        appended.into_iter().flatten().chain(refused.into_iter().flatten()).collect()
    }

    /// Decodes messages, in their order. A large batch is decoded on another thread.
    async fn decode_all(&self, batch: Vec<Incoming>) -> Vec<(DecodedMessage, Incoming)> {
        let submits = Arc::clone(&self.submits);
        let bytes: usize = batch.iter().map(|message| message.body.len()).sum();
        let decode =
            move || batch.into_iter().map(|message| (decode_safely(&submits, &message), message)).collect();
        if bytes <= SMALL_BYTES { decode() } else { on_blocking_thread(decode).await }
    }

    /// Returns the plans of all requests. They are looked up after the pull, so a workflow that was registered before a
    /// submit was published is found.
    async fn plans(&self, requests: impl Iterator<Item = &SubmitRequest>) -> PlanLookups {
        let mut keys: Vec<PlanKey> = requests.map(plan_key).collect();
        keys.sort_unstable();
        keys.dedup();
        let registry = &self.submits.registry;
        let lookups = keys
            .iter()
            .map(|(namespace, workflow, version)| registry.plan(namespace, workflow, version.as_deref()));
        let plans: Vec<_> = join_all(lookups).await.into_iter().map(|plan| plan.map_err(Arc::new)).collect();
        keys.into_iter().zip(plans).collect()
    }

    /// Checks a decoded message.
    async fn check(
        &self,
        decoded: DecodedMessage,
        plans: &PlanLookups,
        rooms: &RoomChecks,
    ) -> Result<CheckedSubmit, Arc<Refusal>> {
        let (run, request) = decoded?;
        let (partition, has_id) = (run.partition(), request.id.is_some());
        let not_looked_up = || Err(Arc::new(Refusal::Malformed("its workflow was not looked up".to_owned())));
        let plan = plans.get(&plan_key(&request)).cloned().unwrap_or_else(not_looked_up)?;
        let room = rooms.get(&partition).cloned().unwrap_or(Ok(()));
        let event = self.submits.check_published(run, request, &plan, room).await?;
        Ok(CheckedSubmit { event, partition, has_id })
    }

    /// Appends submits of a partition together, and acknowledges their messages. Returns the messages that are deferred.
    async fn append(&self, partition: Partition, submits: CheckedSubmits) -> Vec<Incoming> {
        let CheckedSubmits { events, messages } = submits;
        match self.append_events(partition, &events).await {
            Ok(()) => {
                debug!(%partition, runs = events.len(), "submitted");
                join_all(messages.into_iter().map(|message| acknowledge(message.receipt))).await;
                Vec::new()
            }
            Err(refusal) if refusal.is_temporary() => {
                log_deferred(&refusal, messages.len());
                messages
            }
            // One of them may be the cause, such as an entry that is too large. The others are not affected by it.
            Err(refusal) => {
                debug!(%partition, %refusal, "cannot append submits together; appending them one by one");
                let mut deferred = Vec::new();
                for (event, message) in events.iter().zip(messages) {
                    match self.append_events(partition, std::slice::from_ref(event)).await {
                        Ok(()) => acknowledge(message.receipt).await,
                        Err(refusal) => deferred.extend(self.refuse(Arc::new(refusal), message).await),
                    }
                }
                deferred
            }
        }
    }

    async fn append_events(&self, partition: Partition, events: &[Event]) -> Result<(), Refusal> {
        self.submits.intake.append(partition, events).await?;
        audit_published(events);
        Ok(())
    }

    /// Returns a message that may be accepted later, and stores any other refused message as a dead letter.
    async fn refuse(&self, refusal: Arc<Refusal>, message: Incoming) -> Option<Incoming> {
        if refusal.is_temporary() {
            log_deferred(&refusal, 1);
            return Some(message);
        }
        self.store_dead_letter(&refusal, message).await
    }
}

/// Decodes a message. A panic refuses this message and affects no other one.
fn decode_safely(submits: &SubmitHandler, message: &Incoming) -> DecodedMessage {
    let poison = |_| Err(Refusal::Poison { deliveries: message.delivered });
    catch_unwind(AssertUnwindSafe(|| decode_with_run(submits, message))).unwrap_or_else(poison)
}

fn decode_with_run(submits: &SubmitHandler, message: &Incoming) -> DecodedMessage {
    let request = decode::decode(message)?;
    let run = match &request.id {
        Some(id) => submits.run_of_id(&request.namespace, &request.workflow, id)?,
        None => submits.run_of_position(&request.namespace, &message.place),
    };
    Ok((run, request))
}

fn plan_key(request: &SubmitRequest) -> PlanKey {
    (request.namespace.clone(), request.workflow.clone(), request.version.clone())
}

async fn acknowledge(receipt: Box<dyn Receipt>) {
    if let Err(error) = receipt.ack().await {
        debug!(%error, "cannot acknowledge a submit; its next delivery is the same run");
    }
}

/// Notes the end of a batch, and keeps its deferred messages.
async fn note_end_of_batch(ended: Option<Result<BatchResult, JoinError>>, deferred: &mut DeferredSubmits) {
    match ended {
        Some(Ok(result)) => deferred.add(result).await,
        Some(Err(error)) => error!(%error, "a batch of submits panicked; this is a bug"),
        None => {}
    }
}
