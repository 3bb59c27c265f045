//! What follows from what happened to a job: its whole life in a worker, decided.
//!
//! ```text
//! claim ─► call ─► settle ─► acknowledge
//!   │      ▲  └► wait in place ─┐
//!   │      └────────────────────┘
//!   └► settle without a call, or give back
//! ```
//!
//! The claim comes before everything else, even before the checks for poison and recall: only the claim can tell
//! whether an earlier delivery made the call, and the queue counts a job that was given back like one that killed its
//! worker. Nothing here waits, reads a clock or sends: the worker's driver performs the one [`Effect`] that
//! is asked for and reports its end as the next [`Input`]. *When* a call is tried again belongs to
//! [`RetryPolicy`](longshore_proto::RetryPolicy).

mod call;
mod holder;
mod machine;

use std::time::Duration;

use longshore_proto::{Attempt, ClaimKey, ClaimResult, Event, ServerInstance, Timestamp};

pub use call::{Answer, CallFault};
pub use holder::{holder, worker_of};
pub use machine::Machine;

/// The end of what an [`Effect`] asked for.
#[derive(Debug)]
pub enum Input {
    /// The job came out of the queue.
    Delivered {
        /// Delivery count, starting at 1.
        delivered: u32,
        /// When it was queued, where that is known.
        queued_at: Option<Timestamp>,
        /// Whether its outcome is no longer wanted.
        recalled: bool,
    },
    /// [`Effect::Claim`] was answered.
    Claimed {
        /// The answer.
        claimed: ClaimResult,
        /// The time of day.
        now: Timestamp,
    },
    /// [`Effect::AskBirth`] was answered: since when the store has known every claim.
    Born(Timestamp),
    /// [`Effect::Call`] ended.
    Ended {
        /// The process of the server that it was sent to.
        process: Option<ServerInstance>,
        /// When the call began.
        started_at: Timestamp,
        /// How long it took.
        took: Duration,
        /// The variables and headers whose values were replaced in the answer.
        masked: Vec<String>,
        /// What came of it.
        result: Result<Answer, CallFault>,
    },
    /// [`Effect::Wait`] is over.
    RetryDue,
    /// [`Effect::Settle`] was done, and is durable.
    Settled,
    /// The effect could not be performed, and asking again will not help. Of a call: it was not begun.
    Broken,
}

/// What comes from outside, in the middle of an effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interrupt {
    /// The outcome is no longer wanted.
    Recalled,
    /// The worker must end now.
    Stopping,
    /// Nobody can say any more that this worker has the claim: another may be making the call.
    ClaimLost,
}

/// The one thing to do next.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Ask for the claim.
    Claim(ClaimKey),
    /// Ask since when the store of claims has known every claim.
    AskBirth,
    /// Call the tool.
    Call(Attempt),
    /// Wait, holding the slot.
    Wait(Duration),
    /// Report what became of the job. In this order, so that the event is true once it is in the log.
    Settle {
        /// Large values that the event refers to.
        blobs: Vec<Vec<u8>>,
        /// The claim to let go, if the next attempt may begin afresh.
        release: Option<ClaimKey>,
        /// The report.
        event: Box<Event>,
    },
    /// Part with the job.
    End(End),
}

/// How a worker parts with a job.
#[derive(Debug, PartialEq)]
pub enum End {
    /// What became of it is in the log: mark the claim as done and take the job off the queue, in any order.
    Acknowledge {
        /// The claim, if one is held.
        done: Option<ClaimKey>,
    },
    /// Somebody else shall have it.
    GiveBack {
        /// The claim to let go first, if whoever comes next may begin afresh.
        release: Option<ClaimKey>,
        /// Not before this time has passed.
        delay: Option<Duration>,
    },
}

/// What follows from an [`Interrupt`].
#[derive(Debug, PartialEq)]
pub enum Reaction {
    /// Go on with what is under way; the interrupt is remembered where it matters.
    GoOn,
    /// Cancel the call that is under way, and report how it ended.
    CancelCall,
    /// Drop what is under way and do this.
    Instead(Effect),
}

#[cfg(test)]
mod tests;
