//! The decisions about one job.
//!
//! [`Machine`] knows the delivery, the claim, the attempts and the first interrupt, and decides from these alone.

use std::mem;
use std::time::Duration;

use longshore_proto::{
    Attempt, AttemptRecord, BLOB_LIMIT_BYTES, ClaimKey, ClaimResult, Event, Fault, FaultClass, GrantDecision,
    IN_PLACE_RETRY_LIMIT, Job, NodeId, OnToolError, Outcome, Output, RetryDecision, Sent, Settlement,
    SpilledPayload, Timestamp,
};

use crate::call::{CallFault, FinishedCall, SpilledAnswer};
use crate::holder::worker_of;
use crate::{DeliveryEnd, Effect, Input, Interrupt, InterruptEffect};

/// Deliveries of a job after which it is not called again, because each further call may kill one more worker. The limit
/// is this high because some deliveries are counted that killed none: those to a worker that was ending, or over a
/// connection that had just been lost. Two of those for each restart are usual.
const DELIVERIES_LIMIT: u32 = 10;

/// Maximum number of calls for one delivery. A policy may allow thousands of attempts without a delay. The limit gives
/// the slot to other jobs in time, and the records of these calls fit into one entry of the log.
const IN_PLACE_CALLS: usize = 10;

/// Shortest delay until the next delivery of a job on which another worker is busy: the lease ends by that machine's clock.
const SHORTEST_BUSY_DELAY: Duration = Duration::from_secs(1);

/// The longest of these delays: the claim may be released long before its lease ends.
const LONGEST_BUSY_DELAY: Duration = Duration::from_secs(30);

/// Delay until the next delivery of a job that this worker may not claim. Another worker takes it, or this one again.
const DENIED_DELAY: Duration = Duration::from_secs(2);

/// Delay until the next delivery of a job that could not be processed because a backend failed.
const BACKEND_FAILED_DELAY: Duration = Duration::from_secs(5);

/// State of one job in this worker.
pub struct Machine<'a> {
    job: &'a Job,
    worker: &'a NodeId,
    delivery_count: u32,
    /// The claim, while it is held.
    claim: Option<ClaimKey>,
    /// This delivery asked for a grant, and may have it.
    may_be_granted: bool,
    /// Delay of the next delivery, while the grant is being returned.
    return_delay: Option<Duration>,
    /// A call may have happened: one of this worker, or one of a holder whose claim lapsed.
    maybe_called: bool,
    /// An earlier delivery may have made a call without reporting it.
    has_unreported_attempt: bool,
    /// The worker of that delivery, if the claim names it.
    unreported_worker: Option<NodeId>,
    /// The first interrupt. Later ones are ignored.
    interrupt: Option<Interrupt>,
    attempts: Vec<AttemptRecord>,
    phase: JobPhase,
}

/// The part of the state that an interrupt can change.
enum JobPhase {
    /// The decision about the grant is awaited.
    Asking,
    /// The claim is requested. The store may be full, or away for long.
    Claiming,
    Calling,
    Waiting {
        due: Timestamp,
        fault: Fault,
    },
    /// The job is being settled or finished, which is always completed.
    Uninterruptible,
}

impl<'a> Machine<'a> {
    /// Creates the machine of a job that was just delivered.
    pub fn new(job: &'a Job, worker: &'a NodeId) -> Self {
        Self {
            job,
            worker,
            delivery_count: 0,
            claim: None,
            may_be_granted: false,
            return_delay: None,
            maybe_called: false,
            has_unreported_attempt: false,
            unreported_worker: None,
            interrupt: None,
            attempts: Vec::new(),
            phase: JobPhase::Uninterruptible,
        }
    }

    /// Applies the result of one effect and returns the next effect.
    pub fn handle(&mut self, input: Input) -> Effect {
        self.phase = JobPhase::Uninterruptible;
        match input {
            Input::Delivered { delivery_count, is_recalled } => {
                self.delivery_count = delivery_count;
                self.delivered(is_recalled)
            }
            Input::ClaimResult { claimed, now } => self.claimed(claimed, now),
            Input::ClaimDenied => self.return_to_queue(Some(DENIED_DELAY)),
            Input::Decided(GrantDecision::Granted) => self.begin(),
            Input::Decided(GrantDecision::Denied) => {
                Effect::Finish(DeliveryEnd::Acknowledge { complete: self.claim.take() })
            }
            Input::GrantReturned => self.finish_return(),
            Input::CallEnded(call) => self.call_ended(*call),
            Input::RetryDue => self.call(),
            Input::Settled => Effect::Finish(DeliveryEnd::Acknowledge { complete: self.claim.take() }),
            // The next delivery has a slot from the start.
            Input::NoSlot => self.return_to_queue(None),
            Input::EffectFailed => self.return_to_queue(Some(BACKEND_FAILED_DELAY)),
        }
    }

    /// Applies an interrupt and returns its effect on what is under way.
    pub fn interrupt(&mut self, interrupt: Interrupt) -> InterruptEffect {
        if self.interrupt.is_some() {
            return InterruptEffect::Continue;
        }
        self.interrupt = Some(interrupt);
        match mem::replace(&mut self.phase, JobPhase::Uninterruptible) {
            JobPhase::Uninterruptible => InterruptEffect::Continue,
            JobPhase::Claiming => self.interrupt_claim(interrupt),
            JobPhase::Calling => InterruptEffect::CancelCall,
            JobPhase::Asking => match interrupt {
                // The decision shows if the call was made.
                Interrupt::Recalled | Interrupt::ClaimLost => {
                    self.phase = JobPhase::Asking;
                    InterruptEffect::Continue
                }
                Interrupt::Stopping => InterruptEffect::ReplaceWith(self.return_to_queue(None)),
            },
            JobPhase::Waiting { due, fault } => InterruptEffect::ReplaceWith(match interrupt {
                Interrupt::Recalled => self.done(Outcome::Fault(cancelled_after(&fault))),
                Interrupt::Stopping | Interrupt::ClaimLost => {
                    self.settle(Settlement::Again { at: due, fault })
                }
            }),
        }
    }

    fn delivered(&mut self, is_recalled: bool) -> Effect {
        self.interrupt = is_recalled.then_some(Interrupt::Recalled);
        match self.job.claim() {
            // Calls with a claim are safe to repeat, so it does not matter if an earlier delivery made one.
            Some(key) if !is_recalled => {
                self.phase = JobPhase::Claiming;
                Effect::Claim(key)
            }
            _ => self.before_calls(),
        }
    }

    /// Ends the wait for the claim. The request may have been executed; the claim then lapses when its lease ends.
    fn interrupt_claim(&mut self, interrupt: Interrupt) -> InterruptEffect {
        match interrupt {
            Interrupt::Recalled => InterruptEffect::ReplaceWith(self.cancelled_before_call()),
            Interrupt::Stopping => {
                let end = DeliveryEnd::ReturnToQueue { release: self.job.claim(), delay: None };
                InterruptEffect::ReplaceWith(Effect::Finish(end))
            }
            Interrupt::ClaimLost => InterruptEffect::Continue,
        }
    }

    fn cancelled_before_call(&mut self) -> Effect {
        self.done(Outcome::Fault(Fault::new(FaultClass::Cancelled, "cancelled before the call")))
    }

    fn claimed(&mut self, claimed: ClaimResult, now: Timestamp) -> Effect {
        match claimed {
            ClaimResult::Busy { until } => {
                let delay = until.since(now).clamp(SHORTEST_BUSY_DELAY, LONGEST_BUSY_DELAY);
                return self.return_to_queue(Some(delay));
            }
            ClaimResult::Won => {}
            // The step has an outcome, or its report was one of an old attempt and did not count. The call is safe to repeat.
            ClaimResult::Done => self.maybe_called = true,
            ClaimResult::Lapsed { holder } => {
                self.maybe_called = true;
                self.unreported_worker = holder.as_ref().map(worker_of);
            }
        }
        self.claim = self.job.claim();
        self.before_calls()
    }

    /// Asks for a grant if the calls need one.
    fn before_calls(&mut self) -> Effect {
        if !self.job.needs_grant() {
            return self.begin();
        }
        self.phase = JobPhase::Asking;
        self.may_be_granted = true;
        Effect::RequestGrant
    }

    /// Runs the last checks before the first call.
    fn begin(&mut self) -> Effect {
        // A grant shows that no earlier delivery made a call. Without a claim, only the delivery count shows that another worker
        // had the job.
        let is_granted = self.may_be_granted;
        let was_delivered_before = self.job.claim().is_none() && !is_granted && self.delivery_count > 1;
        self.has_unreported_attempt = self.maybe_called || was_delivered_before;
        if self.delivery_count > DELIVERIES_LIMIT {
            let message =
                format!("poison: delivered {} times, and no worker reported a result", self.delivery_count);
            return self.done(Outcome::Fault(internal(message)));
        }
        match self.interrupt {
            None => self.call(),
            Some(Interrupt::Recalled) => self.cancelled_before_call(),
            Some(Interrupt::Stopping | Interrupt::ClaimLost) => self.return_to_queue(None),
        }
    }

    fn call(&mut self) -> Effect {
        self.phase = JobPhase::Calling;
        Effect::Call(self.attempt_number())
    }

    /// Returns the number of the attempt that is under way or comes next.
    fn attempt_number(&self) -> Attempt {
        let made = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        Attempt(self.job.id.attempt.0.saturating_add(made))
    }

    fn call_ended(&mut self, call: FinishedCall) -> Effect {
        let FinishedCall { process, started_at, took, masked, result } = call;
        let number = self.attempt_number();
        let rounded = result.as_ref().ok().and_then(|answer| answer.rounded.clone());
        let result = result.and_then(|answer| self.apply_on_tool_error(answer));
        let (fault, sent) = match &result {
            Ok(_) => (None, Sent::Answered),
            Err(CallFault { fault, sent }) => (Some(fault.clone()), *sent),
        };
        self.maybe_called |= sent != Sent::Never;
        let worker = Some(self.worker.clone());
        self.attempts.push(AttemptRecord {
            number,
            started_at,
            took,
            fault,
            sent,
            worker,
            process,
            masked,
            rounded,
        });
        match result {
            Ok(answer) => self.answered(answer),
            Err(CallFault { fault, sent }) => self.faulted(number, fault, sent, started_at.plus(took)),
        }
    }

    /// Turns an answer that reports an error into a fault, unless the step takes such an answer as its output.
    fn apply_on_tool_error(&self, answer: SpilledAnswer) -> Result<SpilledAnswer, CallFault> {
        if answer.is_error && self.job.on_tool_error == OnToolError::Fail {
            let fault = Fault::new(FaultClass::ToolError, answer.error_text);
            return Err(CallFault { fault, sent: Sent::Answered });
        }
        Ok(answer)
    }

    fn answered(&mut self, answer: SpilledAnswer) -> Effect {
        let SpilledAnswer { value: SpilledPayload { payload: value, blob }, content, .. } = answer;
        let mut blobs: Vec<Vec<u8>> = blob.into_iter().collect();
        let content = content.map(|SpilledPayload { payload, blob }| {
            blobs.extend(blob);
            payload
        });
        if let Some(large) = blobs.iter().map(Vec::len).find(|bytes| *bytes > BLOB_LIMIT_BYTES) {
            let problem =
                format!("the tool answered, with {large} bytes; at most {BLOB_LIMIT_BYTES} can be kept");
            return self.done(Outcome::Fault(Fault::new(FaultClass::ProtocolError, problem)));
        }
        let event = self.event(Settlement::Done(Outcome::Output(Output { value, content })));
        Effect::Settle { blobs, release: None, event }
    }

    fn faulted(&mut self, number: Attempt, fault: Fault, sent: Sent, now: Timestamp) -> Effect {
        let Job { id, retry, safety, .. } = self.job;
        match (retry.decide(id, number, &fault, sent, *safety), self.interrupt) {
            (RetryDecision::Indeterminate, interrupt) => {
                let fault = with_interrupt(fault, interrupt);
                // The attempt and the step have one fault, so that it is shown once.
                if let Some(attempt) = self.attempts.last_mut() {
                    attempt.fault = Some(fault.clone());
                }
                self.done(Outcome::Indeterminate(fault))
            }
            (RetryDecision::Again(_), Some(Interrupt::Recalled)) => {
                self.done(Outcome::Fault(cancelled_after(&fault)))
            }
            (RetryDecision::Again(delay), None)
                if delay <= IN_PLACE_RETRY_LIMIT && self.attempts.len() < IN_PLACE_CALLS =>
            {
                self.phase = JobPhase::Waiting { due: now.plus(delay), fault };
                Effect::Wait(delay)
            }
            (RetryDecision::Again(delay), _) => self.settle(Settlement::Again { at: now.plus(delay), fault }),
            (RetryDecision::GiveUp, Some(Interrupt::Stopping | Interrupt::ClaimLost))
                if fault.class == FaultClass::Cancelled =>
            {
                self.return_to_queue(None)
            }
            (RetryDecision::GiveUp, _) => {
                let not_retried = retry.not_retried_reason(number, &fault, *safety);
                self.done(Outcome::Fault(Fault { not_retried, ..fault }))
            }
        }
    }

    fn done(&mut self, outcome: Outcome) -> Effect {
        self.settle(Settlement::Done(outcome))
    }

    /// Settles with a settlement that refers to no blobs.
    fn settle(&mut self, settlement: Settlement) -> Effect {
        let release = match settlement {
            Settlement::Done(_) => None,
            Settlement::Again { .. } => self.claim.take(),
        };
        Effect::Settle { blobs: Vec::new(), release, event: self.event(settlement) }
    }

    fn event(&mut self, settlement: Settlement) -> Box<Event> {
        Box::new(Event::Settled {
            job: self.job.id.clone(),
            settlement,
            attempts: mem::take(&mut self.attempts),
            worker: self.worker.clone(),
            unreported: self.has_unreported_attempt,
            unreported_worker: self.unreported_worker.clone(),
        })
    }

    /// Returns the job to the queue, and before it the grant that this delivery may have.
    fn return_to_queue(&mut self, delay: Option<Duration>) -> Effect {
        self.return_delay = delay;
        if self.may_be_granted && !self.maybe_called {
            self.may_be_granted = false;
            return Effect::ReturnGrant;
        }
        self.finish_return()
    }

    fn finish_return(&mut self) -> Effect {
        let (release, delay) = (self.claim.take(), self.return_delay);
        Effect::Finish(DeliveryEnd::ReturnToQueue { release, delay })
    }
}

fn internal(message: impl Into<String>) -> Fault {
    Fault::new(FaultClass::Internal, message)
}

fn cancelled_after(fault: &Fault) -> Fault {
    Fault::new(
        FaultClass::Cancelled,
        format!("cancelled before the next attempt; the last one ended in {fault}"),
    )
}

/// Returns the fault of an indeterminate call, with the interrupt that cut it off as its reason.
fn with_interrupt(fault: Fault, interrupt: Option<Interrupt>) -> Fault {
    let class = fault.class;
    match interrupt {
        Some(Interrupt::Recalled) if class == FaultClass::Cancelled => {
            Fault::new(FaultClass::Cancelled, "cancelled in flight; the call may have happened")
        }
        Some(Interrupt::Stopping) if class == FaultClass::Cancelled => {
            let message = "cancelled because the worker stopped during the call; the call may have happened";
            Fault::new(FaultClass::Cancelled, message)
        }
        // A call with a claim is safe to repeat, so the loss of a claim makes none indeterminate.
        _ => fault,
    }
}
