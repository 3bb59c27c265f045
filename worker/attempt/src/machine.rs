//! The decisions: one job, from its delivery to its end.
//!
//! All branching stands in [`Machine`]; it knows what was delivered, what was claimed, which attempts were made and
//! what interrupted them, and nothing else.

use std::mem;
use std::time::Duration;

use longshore_proto::{
    Attempt, AttemptRecord, BLOB_LIMIT_BYTES, ClaimKey, ClaimResult, Digest, Event, Fault, FaultClass,
    IN_PLACE_RETRY_LIMIT, INLINE_LIMIT_BYTES, Job, NodeId, OnToolError, Outcome, Output, Payload,
    RepeatSafety, RetryDecision, Sent, ServerInstance, Settlement, Timestamp,
};
use serde_json::Value;

use crate::call::{Answer, CallFault};
use crate::holder::worker_of;
use crate::{Effect, End, Input, Interrupt, Reaction};

/// A job that was delivered more often than this is not called again: each further try may cost one more worker. Not
/// every delivery did: one that came while its worker was ending, or on a connection that had just been lost, counts
/// as well, and two of those for each restart are usual.
const DELIVERIES_LIMIT: u32 = 10;

/// The most calls made for one delivery. A policy may allow thousands of attempts without a delay; this many keep a
/// slot from the others, and their records fit into one entry of the log.
const IN_PLACE_CALLS: usize = 10;

/// How soon a job is looked at again that another worker is busy with, at the earliest and at the latest. Its lease may
/// end by another machine's clock, and may be renewed many times.
const BUSY_DELAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// By how much the clocks of the queue and of the store of claims may differ: machines that keep time by NTP differ by
/// some milliseconds. Counting a claim as lost that never was costs a step its outcome, in the first second of a store
/// and only where a job is delivered again; missing one repeats a call.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// How long a job is left alone that could not be brought on for lack of a working backend.
const BROKEN_DELAY: Duration = Duration::from_secs(5);

/// The life of one job in this worker.
pub struct Machine<'a> {
    job: &'a Job,
    worker: &'a NodeId,
    delivered: u32,
    queued_at: Option<Timestamp>,
    /// The claim, while it is held.
    claim: Option<ClaimKey>,
    /// Whether a call may have happened: one of this worker's, or of one that held the claim and vanished.
    spent: bool,
    /// Whether an earlier delivery may have made a call that nobody reported.
    unreported: bool,
    /// The worker of that delivery, where the claim names it.
    unreported_worker: Option<NodeId>,
    /// The first interrupt; later ones change nothing.
    interrupt: Option<Interrupt>,
    attempts: Vec<AttemptRecord>,
    phase: Phase,
}

/// What is under way, as far as an interrupt can change it.
enum Phase {
    Calling,
    Waiting {
        due: Timestamp,
        fault: Fault,
    },
    /// Claiming, settling, ending: not to be left half done.
    Bound,
}

impl<'a> Machine<'a> {
    /// A job that this worker is about to look at.
    pub fn new(job: &'a Job, worker: &'a NodeId) -> Self {
        Self {
            job,
            worker,
            delivered: 0,
            queued_at: None,
            claim: None,
            spent: false,
            unreported: false,
            unreported_worker: None,
            interrupt: None,
            attempts: Vec::new(),
            phase: Phase::Bound,
        }
    }

    /// Takes the end of one effect and says which is next.
    pub fn handle(&mut self, input: Input) -> Effect {
        self.phase = Phase::Bound;
        match input {
            Input::Delivered { delivered, queued_at, recalled } => {
                (self.delivered, self.queued_at) = (delivered, queued_at);
                self.delivered(recalled)
            }
            Input::Claimed { claimed, now } => self.claimed(claimed, now),
            Input::Born(born) => self.born(born),
            Input::Ended { process, started_at, took, masked, result } => {
                self.ended((process, masked), (started_at, took), result)
            }
            Input::RetryDue => self.call(),
            Input::Settled => Effect::End(End::Acknowledge { done: self.claim.take() }),
            Input::Broken => self.give_back(Some(BROKEN_DELAY)),
        }
    }

    /// Takes what came in the middle of an effect and says what becomes of that effect.
    pub fn interrupt(&mut self, why: Interrupt) -> Reaction {
        if self.interrupt.is_some() {
            return Reaction::GoOn;
        }
        self.interrupt = Some(why);
        match mem::replace(&mut self.phase, Phase::Bound) {
            Phase::Bound => Reaction::GoOn,
            Phase::Calling => Reaction::CancelCall,
            Phase::Waiting { due, fault } => Reaction::Instead(match why {
                Interrupt::Recalled => self.done(Outcome::Fault(cancelled_after(&fault))),
                Interrupt::Stopping | Interrupt::ClaimLost => {
                    self.settle(Settlement::Again { at: due, fault })
                }
            }),
        }
    }

    fn delivered(&mut self, recalled: bool) -> Effect {
        self.interrupt = recalled.then_some(Interrupt::Recalled);
        match self.job.claim() {
            Some(key) => Effect::Claim(key),
            None => self.begin(),
        }
    }

    fn claimed(&mut self, claimed: ClaimResult, now: Timestamp) -> Effect {
        match claimed {
            ClaimResult::Done => return self.done(Outcome::Indeterminate(done_before())),
            ClaimResult::Busy { until } => {
                let (earliest, latest) = BUSY_DELAY;
                return self.give_back(Some(until.since(now).clamp(earliest, latest)));
            }
            ClaimResult::Won => {}
            ClaimResult::Lapsed { holder } => {
                self.spent = true;
                self.unreported_worker = holder.as_ref().map(worker_of);
            }
        }
        self.claim = self.job.claim();
        if !self.spent && self.delivered > 1 && self.queued_at.is_some() {
            return Effect::AskBirth;
        }
        self.begin()
    }

    /// A store that is younger than the job may have lost the claim of an earlier delivery, and with it the trace of a
    /// call.
    fn born(&mut self, born: Timestamp) -> Effect {
        self.spent = self.queued_at.is_some_and(|queued_at| queued_at < born.plus(CLOCKS_DIFFER));
        self.begin()
    }

    /// The last look before the first call.
    fn begin(&mut self) -> Effect {
        // A claim tells who called and vanished. Of a job that needs none only the queue knows that somebody had it.
        self.unreported = self.spent || (self.job.claim().is_none() && self.delivered > 1);
        let unsafe_to_repeat = self.job.safety == RepeatSafety::Unknown;
        if self.spent && unsafe_to_repeat {
            let fault = lost(self.unreported_worker.as_ref());
            return self.done(Outcome::Indeterminate(fault));
        }
        if self.delivered > DELIVERIES_LIMIT {
            let fault =
                internal(format!("poison: delivered {} times, and no worker came to an end", self.delivered));
            return self.done(if unsafe_to_repeat {
                Outcome::Indeterminate(fault)
            } else {
                Outcome::Fault(fault)
            });
        }
        match self.interrupt {
            None => self.call(),
            Some(Interrupt::Recalled) => {
                let fault = Fault::new(FaultClass::Cancelled, "cancelled before the call");
                self.done(Outcome::Fault(fault))
            }
            Some(Interrupt::Stopping | Interrupt::ClaimLost) => self.give_back(None),
        }
    }

    fn call(&mut self) -> Effect {
        self.phase = Phase::Calling;
        Effect::Call(self.number())
    }

    /// The number of the attempt that is under way or comes next.
    fn number(&self) -> Attempt {
        let made = u32::try_from(self.attempts.len()).unwrap_or(u32::MAX);
        Attempt(self.job.id.attempt.0.saturating_add(made))
    }

    fn ended(
        &mut self,
        (process, masked): (Option<ServerInstance>, Vec<String>),
        (started_at, took): (Timestamp, Duration),
        result: Result<Answer, CallFault>,
    ) -> Effect {
        let number = self.number();
        let result = result.and_then(|answer| self.judged(answer));
        let (fault, sent) = match &result {
            Ok(_) => (None, Sent::Answered),
            Err(CallFault { fault, sent }) => (Some(fault.clone()), *sent),
        };
        self.spent |= sent != Sent::Never;
        let worker = Some(self.worker.clone());
        self.attempts.push(AttemptRecord { number, started_at, took, fault, sent, worker, process, masked });
        match result {
            Ok(answer) => self.answered(answer),
            Err(CallFault { fault, sent }) => self.faulted(number, fault, sent, started_at.plus(took)),
        }
    }

    /// What the step says about answers that report an error.
    fn judged(&self, answer: Answer) -> Result<Answer, CallFault> {
        if answer.is_error && self.job.on_tool_error == OnToolError::Fail {
            let fault = Fault::new(FaultClass::ToolError, answer.error_text);
            return Err(CallFault { fault, sent: Sent::Answered });
        }
        Ok(answer)
    }

    fn answered(&mut self, answer: Answer) -> Effect {
        let mut blobs = Vec::new();
        let value = carried(answer.value, &mut blobs);
        let content = self.job.keep_content.then(|| carried(answer.content, &mut blobs));
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
            (RetryDecision::Indeterminate, why) => self.done(Outcome::Indeterminate(in_doubt(fault, why))),
            (RetryDecision::Again(_), Some(Interrupt::Recalled)) => {
                self.done(Outcome::Fault(cancelled_after(&fault)))
            }
            (RetryDecision::Again(delay), None)
                if delay <= IN_PLACE_RETRY_LIMIT && self.attempts.len() < IN_PLACE_CALLS =>
            {
                self.phase = Phase::Waiting { due: now.plus(delay), fault };
                Effect::Wait(delay)
            }
            (RetryDecision::Again(delay), _) => self.settle(Settlement::Again { at: now.plus(delay), fault }),
            (RetryDecision::GiveUp, Some(Interrupt::Stopping | Interrupt::ClaimLost))
                if fault.class == FaultClass::Cancelled =>
            {
                self.give_back(None)
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

    /// Settles with what needs no blobs.
    fn settle(&mut self, settlement: Settlement) -> Effect {
        let release = match settlement {
            Settlement::Done(_) => None,
            Settlement::Again { .. } => self.unspent_claim(),
        };
        Effect::Settle { blobs: Vec::new(), release, event: self.event(settlement) }
    }

    fn event(&mut self, settlement: Settlement) -> Box<Event> {
        Box::new(Event::Settled {
            job: self.job.id.clone(),
            settlement,
            attempts: mem::take(&mut self.attempts),
            worker: self.worker.clone(),
            unreported: self.unreported,
            unreported_worker: self.unreported_worker.clone(),
        })
    }

    fn give_back(&mut self, delay: Option<Duration>) -> Effect {
        Effect::End(End::GiveBack { release: self.unspent_claim(), delay })
    }

    /// The claim, if whoever comes next may begin afresh: because nothing was called, or because it does no harm.
    fn unspent_claim(&mut self) -> Option<ClaimKey> {
        if self.spent && self.job.safety == RepeatSafety::Unknown { None } else { self.claim.take() }
    }
}

/// A value as it travels in a record: a large one as the address of a blob, which is put aside.
fn carried(value: Value, blobs: &mut Vec<Vec<u8>>) -> Payload {
    match serde_json::to_vec(&value) {
        Ok(text) if text.len() > INLINE_LIMIT_BYTES => {
            let address = Payload::Blob { digest: Digest::of(&text), bytes: text.len() as u64 };
            blobs.push(text);
            address
        }
        _ => Payload::Inline(value),
    }
}

/// The fault of a call that a worker claimed and did not report.
fn lost(worker: Option<&NodeId>) -> Fault {
    let who = match worker {
        Some(worker) => format!("worker {worker} claimed this call and"),
        None => "the worker that claimed this call".to_owned(),
    };
    let message = format!(
        "{who} did not report it; the call may have happened, and is not repeated because the step does not say that it \
         is safe (`retry`)"
    );
    Fault::new(FaultClass::Unavailable, message)
}

/// What is known of a call whose outcome was reported. Where the log has taken that report, it refuses this one; where
/// it came from an attempt that was no longer current and was dropped, the step would else wait for its outcome until
/// the claim is forgotten, and then be called once more.
fn done_before() -> Fault {
    let message = "an earlier attempt made this call, and its report came too late to count; the call may have \
                   happened, and is not repeated";
    Fault::new(FaultClass::Unavailable, message)
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

/// Says why a call was cut off whose effect nobody knows.
fn in_doubt(fault: Fault, why: Option<Interrupt>) -> Fault {
    let class = fault.class;
    match why {
        Some(Interrupt::Recalled) if class == FaultClass::Cancelled => {
            Fault::new(FaultClass::Cancelled, "cancelled in flight; the call may have happened")
        }
        Some(Interrupt::Stopping) if class == FaultClass::Cancelled => {
            internal("the worker stopped during the call; the call may have happened")
        }
        Some(Interrupt::ClaimLost) if class == FaultClass::Cancelled => {
            internal("the worker lost its claim during the call; the call may have happened")
        }
        _ => fault,
    }
}
