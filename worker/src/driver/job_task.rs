//! The task of one delivered job: performs the effects of [`Machine`] one after the other, and passes interrupts to it.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use longshore_attempt::{
    DeliveryEnd, Effect, Input, Interrupt, InterruptEffect, Machine, claim_holder, worker_of,
};
use longshore_ports::{Backend, Delivery, Error, ErrorCause, clock};
use longshore_proto::{Attempt, ClaimKey, ClaimResult, DeliveryId, Fault, Job, JobId, NodeId, RunStatus};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::WorkerContext;
use super::activity_updates::ActivityUpdates;
use super::finish::finish;
use super::job_slots::JobSlot;
use super::job_waits::WaitReason;
use super::lease_heartbeat::LeaseHeartbeat;
use super::retry::retry;

/// Time that a job keeps its slot while it waits for a store: many times that of an answer.
const SLOT_PATIENCE: Duration = Duration::from_secs(1);

/// Time that a granted call waits for a slot; then the job returns to the queue. The scheduler gives a granted call its own time and
/// five minutes more until it is in doubt.
const GRANTED_PATIENCE: Duration = Duration::from_secs(60);

/// Deliveries of a job that is returned because this worker may not claim it. After more of them, the job waits here for the
/// permission: each delivery counts towards the limit after which a job is taken for poison.
const DENIED_DELIVERIES: u32 = 5;

/// Processes one delivery until it is acknowledged or returned to the queue.
pub(super) async fn process(context: &WorkerContext, delivery: Delivery, slot: JobSlot) {
    let Delivery { job, delivered, recalled, recall_missed, receipt, .. } = delivery;
    slot.count_as_busy();
    let id = context.next_delivery();
    let holder = claim_holder(&id.worker, id.number);
    if recall_missed {
        match run_status(&context.backend, &job).await {
            // The run has ended, so no outcome is wanted.
            Some(status) if status.is_terminal() => {
                let end = DeliveryEnd::Acknowledge { complete: None };
                return finish(&context.backend, &holder, receipt, end).await;
            }
            Some(RunStatus::Cancelling) => recalled.cancel(),
            _ => {}
        }
    }
    let end = {
        let task = JobTask {
            context,
            job: &job,
            delivery_count: delivered,
            id: &id,
            slot: &slot,
            holder: &holder,
            heartbeat: LeaseHeartbeat::new(&*receipt, &*context.backend.claims, &holder),
            updates: ActivityUpdates::new(&job, context.updates.as_deref()),
            fetched_arguments: OnceCell::new(),
            call_cancelled: CancellationToken::new(),
            is_granted: AtomicBool::new(false),
        };
        let is_recalled = recalled.is_cancelled();
        let input = Input::Delivered { delivery_count: delivered, is_recalled };
        task.run(input, &recalled).await
    };
    finish(&context.backend, &holder, receipt, end).await;
}

/// Returns the status of a job's run in the last checkpoint. The run may have been cancelled or have ended before this process
/// listened to recalls; then its tool must not be called any more.
async fn run_status(backend: &Backend, job: &Job) -> Option<RunStatus> {
    match backend.checkpoints.run(job.id.run).await {
        Ok(row) => row.map(|row| row.summary.status),
        Err(error) => {
            warn!(%error, run = %job.id.run, "the status of the run cannot be looked up; processing its job");
            None
        }
    }
}

/// The state of one delivery while its effects are performed.
pub(super) struct JobTask<'a> {
    pub(super) context: &'a WorkerContext,
    pub(super) job: &'a Job,
    /// Delivery count, starting at 1.
    pub(super) delivery_count: u32,
    /// This delivery.
    pub(super) id: &'a DeliveryId,
    pub(super) slot: &'a JobSlot,
    /// This delivery as the holder of a claim.
    pub(super) holder: &'a NodeId,
    pub(super) heartbeat: LeaseHeartbeat<'a>,
    /// Progress updates for people who watch the run.
    pub(super) updates: ActivityUpdates<'a>,
    /// Arguments that were fetched from a blob, or the fault of a blob that cannot be used.
    pub(super) fetched_arguments: OnceCell<Result<Map<String, Value>, Fault>>,
    /// Cancels the call that is under way.
    pub(super) call_cancelled: CancellationToken,
    /// The calls were granted to this delivery.
    pub(super) is_granted: AtomicBool,
}

impl JobTask<'_> {
    async fn run(&self, delivered: Input, recalled: &CancellationToken) -> DeliveryEnd {
        let mut machine = Machine::new(self.job, &self.context.node);
        let mut work = pin!(self.perform(machine.handle(delivered)));
        let mut interrupt = pin!(self.interrupt(recalled));
        let mut is_interrupted = false;
        let mut background =
            pin!(async { tokio::join!(self.heartbeat.run(), self.updates.run(), self.keep_grant()) });
        loop {
            let effect = tokio::select! {
                biased;
                interrupt = &mut interrupt, if !is_interrupted => {
                    is_interrupted = true;
                    match machine.interrupt(interrupt) {
                        InterruptEffect::Continue => continue,
                        InterruptEffect::CancelCall => {
                            self.call_cancelled.cancel();
                            continue;
                        }
                        InterruptEffect::ReplaceWith(effect) => effect,
                    }
                }
                done = &mut work => match done {
                    ControlFlow::Continue(input) => machine.handle(input),
                    ControlFlow::Break(end) => return end,
                },
                (never, _, _) = &mut background => match never {},
            };
            if matches!(effect, Effect::Settle { .. }) {
                self.slot.release_server();
            }
            work.set(self.perform(effect));
        }
    }

    /// Waits for the first interrupt. The machine ignores later ones.
    async fn interrupt(&self, recalled: &CancellationToken) -> Interrupt {
        tokio::select! {
            biased;
            () = recalled.cancelled() => Interrupt::Recalled,
            () = self.heartbeat.claim_lost.cancelled() => Interrupt::ClaimLost,
            () = self.context.drain_expired.cancelled() => Interrupt::Stopping,
        }
    }

    async fn perform(&self, effect: Effect) -> ControlFlow<DeliveryEnd, Input> {
        let result = match effect {
            Effect::Claim(key) => {
                let _wait = self.context.waits.begin(WaitReason::Claim);
                self.without_slot(self.claim(key)).await
            }
            Effect::RequestGrant => {
                let _wait = self.context.waits.begin(WaitReason::Grant);
                self.without_slot(self.request_grant()).await
            }
            Effect::ReturnGrant => self.return_grant().await,
            Effect::Call(number) => self.call_with_slot(number).await,
            Effect::Wait(delay) => {
                sleep(delay).await;
                Ok(Input::RetryDue)
            }
            Effect::Settle { blobs, release, event } => self.settle(blobs, release, *event).await,
            Effect::Finish(end) => return ControlFlow::Break(end),
        };
        ControlFlow::Continue(result.unwrap_or_else(|error| {
            error!(%error, "cannot process job; returning it to the queue");
            Input::EffectFailed
        }))
    }

    /// Waits for an answer. The slot is released if that takes long, because other jobs may not need the answer.
    async fn without_slot(&self, answer: impl Future<Output = Result<Input, Error>>) -> Result<Input, Error> {
        let mut answer = pin!(answer);
        match timeout(SLOT_PATIENCE, &mut answer).await {
            Ok(input) => input,
            Err(_elapsed) => {
                self.slot.release_for_wait();
                answer.await
            }
        }
    }

    /// Makes one attempt, once the job has its slot again. A job whose call was granted does not wait long for it.
    async fn call_with_slot(&self, number: Attempt) -> Result<Input, Error> {
        let is_granted = self.is_granted.load(Ordering::Relaxed);
        tokio::select! {
            biased;
            () = self.slot.hold() => {}
            () = self.call_cancelled.cancelled() => {}
            () = sleep(GRANTED_PATIENCE), if is_granted => return Ok(Input::NoSlot),
        }
        self.call(number).await
    }

    async fn claim(&self, key: ClaimKey) -> Result<Input, Error> {
        let (claims, lease) = (&self.context.backend.claims, self.heartbeat.lease());
        let may_return = self.delivery_count <= DENIED_DELIVERIES;
        let claimed = retry("claim a call", || async {
            let requested_at = Instant::now();
            match claims.claim(&key, self.holder, lease).await {
                Err(error) if may_return && error.cause == ErrorCause::Denied => {
                    warn!(%error, run = %self.job.id.run, step = %self.job.id.step, "this worker may not claim calls; leaving the job to another one");
                    Ok(None)
                }
                claimed => Ok(Some((claimed?, requested_at))),
            }
        })
        .await?;
        let Some((claimed, requested_at)) = claimed else { return Ok(Input::ClaimDenied) };
        if let ClaimResult::Lapsed { holder } = &claimed {
            let worker =
                holder.as_ref().map_or_else(|| "unknown".to_owned(), |holder| worker_of(holder).to_string());
            let JobId { run, step, attempt } = &self.job.id;
            warn!(%run, %step, %attempt, worker, "a worker claimed this call and did not report it; the call may have been made");
        }
        if matches!(claimed, ClaimResult::Won | ClaimResult::Lapsed { .. }) {
            self.heartbeat.hold_claim(key, requested_at);
        }
        Ok(Input::ClaimResult { claimed, now: clock::now() })
    }
}
