//! One job's life: performs what [`Machine`] asks for, one effect after the other, and tells it what interrupts.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use longshore_attempt::{Answer, CallFault, Effect, End, Input, Interrupt, Machine, Reaction, worker_of};
use longshore_ports::{Backend, Blobs, Delivery, Error, ErrorCause, Receipt, clock};
use longshore_proto::{
    Attempt, CallActivity, ClaimKey, ClaimResult, Digest, Event, Fault, FaultClass, Job, JobId, NodeId,
    Outcome, Payload, RunStatus, Sent, ServerInstance, Settlement,
};
use metrics::{counter, gauge, histogram};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::Shared;
use super::activity::ActivityUpdates;
use super::insist::insist;
use super::pulse::Pulse;
use super::slots::Slot;
use crate::mcp::{CallingJob, SecretRecipient, ToolCall};

/// How long a store of claims may take to note how a call went. What is not noted costs the next delivery, if there is
/// one, a wait for the end of the lease.
const CLAIM_END_LIMIT: Duration = Duration::from_secs(5);

/// How long to wait for room for a large result. Room comes from the operator, and the slot is needed for other jobs.
const NO_ROOM_LIMIT: Duration = Duration::from_secs(20);

/// Sees one delivery through to its end.
pub(super) async fn live(shared: &Shared, delivery: Delivery, mut slot: Slot) {
    let Delivery { job, delivered, queued_at, recalled, recall_missed, receipt, .. } = delivery;
    let _busy = Busy::new();
    let holder = shared.next_holder();
    if recall_missed {
        match status(&shared.backend, &job).await {
            // Nothing is left to report to.
            Some(status) if status.is_terminal() => {
                return part(&shared.backend, &holder, receipt, End::Acknowledge { done: None }).await;
            }
            Some(RunStatus::Cancelling) => recalled.cancel(),
            _ => {}
        }
    }
    let end = {
        let pulse = Pulse::new(&*receipt, &*shared.backend.claims, &holder);
        let (fetched, cancel) = (OnceCell::new(), CancellationToken::new());
        let updates = ActivityUpdates::new(&job, shared.updates.as_deref());
        let life = Life { shared, job: &job, delivered, holder: &holder, pulse, updates, fetched, cancel };
        let delivered = Input::Delivered { delivered, queued_at, recalled: recalled.is_cancelled() };
        life.run(delivered, &recalled, &mut slot).await
    };
    part(&shared.backend, &holder, receipt, end).await;
}

/// Where the run of a job stands, as far as the last checkpoint tells: it may have been cancelled, or have ended, while
/// nobody here could hear of it, and then its tool must not be called any more.
async fn status(backend: &Backend, job: &Job) -> Option<RunStatus> {
    match backend.checkpoints.run(job.id.run).await {
        Ok(row) => row.map(|row| row.summary.status),
        Err(error) => {
            warn!(%error, run = %job.id.run, "whether the run goes on cannot be looked up; its job is carried out");
            None
        }
    }
}

/// Counts a slot as busy for as long as it lives, however the job ends.
struct Busy;

impl Busy {
    fn new() -> Self {
        gauge!("longshore_worker_slots", "state" => "busy").increment(1);
        Self
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        gauge!("longshore_worker_slots", "state" => "busy").decrement(1);
    }
}

struct Life<'a> {
    shared: &'a Shared,
    job: &'a Job,
    /// Delivery count, starting at 1.
    delivered: u32,
    /// Who holds the claim: this delivery.
    holder: &'a NodeId,
    pulse: Pulse<'a>,
    /// Updates of its calls for people who watch the run.
    updates: ActivityUpdates<'a>,
    /// Arguments that came as a blob, or why there are none.
    fetched: OnceCell<Result<Map<String, Value>, Fault>>,
    /// Cancels the call that is under way.
    cancel: CancellationToken,
}

impl Life<'_> {
    async fn run(&self, delivered: Input, recalled: &CancellationToken, slot: &mut Slot) -> End {
        let mut machine = Machine::new(self.job, &self.shared.node);
        let mut work = pin!(self.perform(machine.handle(delivered)));
        let mut interrupt = pin!(self.interrupt(recalled));
        let mut interrupted = false;
        let mut background = pin!(async { tokio::join!(self.pulse.run(), self.updates.run()) });
        loop {
            let effect = tokio::select! {
                biased;
                why = &mut interrupt, if !interrupted => {
                    interrupted = true;
                    match machine.interrupt(why) {
                        Reaction::GoOn => continue,
                        Reaction::CancelCall => {
                            self.cancel.cancel();
                            continue;
                        }
                        Reaction::Instead(effect) => effect,
                    }
                }
                done = &mut work => match done {
                    ControlFlow::Continue(input) => machine.handle(input),
                    ControlFlow::Break(end) => return end,
                },
                (never, _) = &mut background => match never {},
            };
            if matches!(effect, Effect::Settle { .. }) {
                slot.leave_server();
            }
            work.set(self.perform(effect));
        }
    }

    /// The first thing that comes from outside; the machine has no use for a second one.
    async fn interrupt(&self, recalled: &CancellationToken) -> Interrupt {
        tokio::select! {
            biased;
            () = recalled.cancelled() => Interrupt::Recalled,
            () = self.pulse.lost.cancelled() => Interrupt::ClaimLost,
            () = self.shared.cut.cancelled() => Interrupt::Stopping,
        }
    }

    async fn perform(&self, effect: Effect) -> ControlFlow<End, Input> {
        let done = match effect {
            Effect::Claim(key) => self.claim(key).await,
            Effect::AskBirth => {
                let claims = &self.shared.backend.claims;
                insist("asking since when there are claims", || claims.complete_since())
                    .await
                    .map(Input::Born)
            }
            Effect::Call(number) => self.call(number).await,
            Effect::Wait(delay) => {
                sleep(delay).await;
                Ok(Input::RetryDue)
            }
            Effect::Settle { blobs, release, event } => self.settle(blobs, release, *event).await,
            Effect::End(end) => return ControlFlow::Break(end),
        };
        ControlFlow::Continue(done.unwrap_or_else(|error| {
            error!(%error, "the job cannot be brought on; it goes back to the queue");
            Input::Broken
        }))
    }

    async fn claim(&self, key: ClaimKey) -> Result<Input, Error> {
        let claims = &self.shared.backend.claims;
        let (claimed, asked) = insist("claiming a call", || async {
            let asked = Instant::now();
            Ok((claims.claim(&key, self.holder, self.pulse.lease()).await?, asked))
        })
        .await?;
        if let ClaimResult::Lapsed { holder } = &claimed {
            let lost =
                holder.as_ref().map_or_else(|| "unknown".to_owned(), |holder| worker_of(holder).to_string());
            let JobId { run, step, attempt } = &self.job.id;
            warn!(%run, %step, %attempt, worker = lost, "a worker claimed this call and did not report it; the call may have been made");
        }
        if matches!(claimed, ClaimResult::Won | ClaimResult::Lapsed { .. }) {
            self.pulse.hold(key, asked);
        }
        Ok(Input::Claimed { claimed, now: clock::now() })
    }

    async fn call(&self, number: Attempt) -> Result<Input, Error> {
        let arguments = self.arguments().await?;
        let (started_at, start) = (clock::now(), Instant::now());
        let pool = &self.shared.pool;
        let filled = arguments.map_err(Fault::clone);
        let (mut process, mut masked) = (None, Vec::new());
        let Job { namespace, server, tool, secrets, .. } = self.job;
        let recipient = SecretRecipient { namespace, server, tool };
        let filled = filled.and_then(|arguments| pool.vault().fill(&recipient, arguments, secrets));
        let result = match filled {
            Err(fault) => Err(CallFault { fault, sent: Sent::Never }),
            Ok(filled) => {
                let call = ToolCall {
                    server: &self.job.server,
                    tool: &self.job.tool,
                    arguments: &filled,
                    timeout: self.job.timeout,
                    max_timeout: self.job.max_timeout,
                    idempotency_key: &self.job.idempotency_key,
                    trace: self.job.trace.as_ref(),
                    job: Some(CallingJob {
                        run: self.job.id.run,
                        step: &self.job.id.step,
                        delivered: self.delivered,
                    }),
                };
                let ended = pool.call(call, &|activity| self.report(number, activity), &self.cancel).await;
                (process, masked) = (ended.process, ended.masked);
                ended.result
            }
        };
        let took = start.elapsed();
        count_call(self.job, number, took, &result);
        log_attempt(self.job, number, (&self.shared.node, process.as_ref()), took, &result);
        self.shared.warn_of_masked(self.job, &masked);
        Ok(Input::Ended { process, started_at, took, masked, result })
    }

    fn report(&self, number: Attempt, activity: CallActivity) {
        if matches!(activity, CallActivity::Progress(_)) {
            self.pulse.progress();
        }
        self.updates.note(number, activity);
    }

    /// The arguments of the call, or why there are none.
    async fn arguments(&self) -> Result<Result<&Map<String, Value>, &Fault>, Error> {
        if let Payload::Inline(Value::Object(arguments)) = &self.job.arguments {
            return Ok(Ok(arguments));
        }
        let fetched = self.fetched.get_or_try_init(|| async {
            match &self.job.arguments {
                Payload::Inline(other) => Ok(as_object(other.clone())),
                Payload::Blob { digest, .. } => self.fetch(*digest).await,
            }
        });
        Ok(fetched.await?.as_ref())
    }

    async fn fetch(&self, digest: Digest) -> Result<Result<Map<String, Value>, Fault>, Error> {
        let blobs = &self.shared.backend.blobs;
        let Some(text) = insist("fetching arguments", || blobs.get(digest)).await? else {
            return Ok(Err(unfit(format!("the blob {digest} that holds the arguments is missing"))));
        };
        Ok(match serde_json::from_slice(&text) {
            Ok(value) => as_object(value),
            Err(error) => {
                Err(unfit(format!("the blob {digest} that holds the arguments is not JSON: {error}")))
            }
        })
    }

    async fn settle(
        &self,
        blobs: Vec<Vec<u8>>,
        release: Option<ClaimKey>,
        mut event: Event,
    ) -> Result<Input, Error> {
        let Backend { log, blobs: store, claims, .. } = &self.shared.backend;
        for blob in blobs {
            if let Some(full) = keep_large(&**store, &blob).await? {
                without_result(&mut event, blob.len(), &full);
                break;
            }
        }
        if let Some(key) = release {
            insist("releasing a claim", || claims.release(&key, self.holder)).await?;
        }
        let partition = self.job.id.run.partition();
        insist("appending an outcome", || log.append(partition, std::slice::from_ref(&event))).await?;
        Ok(Input::Settled)
    }
}

/// Logs one attempt in one line. The message of a fault stays at debug: it can be long, and the run has it.
fn log_attempt(
    job: &Job,
    number: Attempt,
    (worker, process): (&NodeId, Option<&ServerInstance>),
    took: Duration,
    result: &Result<Answer, CallFault>,
) {
    let Job { id, server, tool, .. } = job;
    let outcome = match result {
        Ok(answer) if answer.is_error => "tool_error",
        Ok(_) => "answered",
        Err(CallFault { fault, .. }) => fault.class.as_str(),
    };
    let process = process.map_or_else(|| "none".to_owned(), ToString::to_string);
    info!(%server, %tool, run = %id.run, step = %id.step, attempt = %number, %worker, process, ?took, outcome, "called a tool");
    if let Err(CallFault { fault, sent }) = result {
        debug!(run = %id.run, step = %id.step, attempt = %number, %fault, ?sent, "the call faulted");
    }
}

/// Keeps a large value. Returns the error if there was no room for it for [`NO_ROOM_LIMIT`].
async fn keep_large(store: &dyn Blobs, blob: &[u8]) -> Result<Option<Error>, Error> {
    let full_since = OnceLock::new();
    insist("keeping a large value", || async {
        match store.put(blob.to_vec()).await {
            Err(error)
                if error.cause == ErrorCause::Full
                    && full_since.get_or_init(Instant::now).elapsed() >= NO_ROOM_LIMIT =>
            {
                Ok(Some(error))
            }
            kept => kept.map(|_| None),
        }
    })
    .await
}

/// Reports a fault in place of a result that cannot be kept.
fn without_result(event: &mut Event, bytes: usize, full: &Error) {
    if let Event::Settled { settlement, .. } = event {
        let problem = format!(
            "the tool answered, with {bytes} bytes, and there is no room to keep them ({full}): raise `max_bytes` of the \
             stream of blobs, or what the account may store"
        );
        warn!(bytes, %full, "a result cannot be kept; the step ends with a fault");
        *settlement = Settlement::Done(Outcome::Fault(Fault::new(FaultClass::Internal, problem)));
    }
}

/// Parts with a job.
async fn part(backend: &Backend, holder: &NodeId, receipt: Box<dyn Receipt>, end: End) {
    let claims = &backend.claims;
    let parted = match end {
        End::Acknowledge { done: None } => receipt.ack().await,
        End::Acknowledge { done: Some(key) } => {
            let done = noted(insist("marking a claim as done", || claims.done(&key, holder)));
            tokio::join!(receipt.ack(), done).0
        }
        End::GiveBack { release, delay } => {
            if let Some(key) = release {
                noted(insist("releasing a claim", || claims.release(&key, holder))).await;
            }
            receipt.give_back(delay).await
        }
    };
    if let Err(error) = parted {
        warn!(%error, "the queue was not told how the job ended; it will deliver it again");
    }
}

/// Waits for a claim's last word, for as long as that is worth it.
async fn noted(word: impl Future<Output = Result<(), Error>>) {
    match timeout(CLAIM_END_LIMIT, word).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "the claim was left as it is"),
        Err(_elapsed) => warn!("the claim was left as it is: no answer in {CLAIM_END_LIMIT:?}"),
    }
}

/// Counts a call that was made, or could not be.
fn count_call(job: &Job, number: Attempt, took: Duration, result: &Result<Answer, CallFault>) {
    let outcome = match result {
        Ok(answer) if answer.is_error => FaultClass::ToolError.as_str(),
        Ok(_) => "ok",
        Err(CallFault { fault, .. }) => fault.class.as_str(),
    };
    let called = [("server", job.server.to_string()), ("tool", job.tool.to_string())];
    histogram!("longshore_tool_call_duration_seconds", &called).record(took);
    let [server, tool] = called;
    counter!("longshore_tool_calls_total", &[server.clone(), tool, ("outcome", outcome.to_owned())])
        .increment(1);
    if number > job.id.attempt {
        let reason = ("reason", "in_place".to_owned());
        counter!("longshore_step_retries_total", &[server, reason]).increment(1);
    }
}

fn as_object(value: Value) -> Result<Map<String, Value>, Fault> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(unfit("the arguments are not an object")),
    }
}

fn unfit(message: impl Into<String>) -> Fault {
    Fault::new(FaultClass::Internal, message)
}
