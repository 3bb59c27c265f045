//! State machine of one job in a worker, from its delivery until the worker has no further use for it.
//!
//! ```text
//! claim, or ask for a grant ─► call ─► settle ─► acknowledge
//!   │                          ▲  └► wait in place ─┐
//!   │                          └────────────────────┘
//!   └► settle or acknowledge without a call, or return to the queue
//! ```
//!
//! Only a step with a key of its own makes a claim, and only a call that is not safe to repeat needs a grant. A key makes a
//! call safe to repeat, so no job needs both, and most jobs need neither. A grant shows that no other delivery made or will make the call, so it comes before the checks for poison and
//! recall.
//! The machine never waits, reads a clock or sends. The worker's driver performs one [`Effect`] at a time and reports its
//! result as the next [`Input`]. [`RetryPolicy`](longshore_proto::RetryPolicy) decides when a call is tried again.

mod call;
mod holder;
mod machine;

use std::time::Duration;

use longshore_proto::{Attempt, ClaimKey, ClaimResult, Event, GrantDecision, Timestamp};

pub use call::{Answer, CallFault, FinishedCall, SpilledAnswer};
pub use holder::{claim_holder, worker_of};
pub use machine::Machine;

/// The result of an [`Effect`].
#[derive(Debug)]
pub enum Input {
    /// The job was delivered by the queue.
    Delivered {
        /// Delivery count, starting at 1.
        delivery_count: u32,
        /// The outcome of the job is no longer wanted.
        is_recalled: bool,
    },
    /// [`Effect::Claim`] was answered.
    ClaimResult {
        /// Answer of the claim store.
        claimed: ClaimResult,
        /// Time of day.
        now: Timestamp,
    },
    /// The claim store refuses this worker. Another worker may be able to claim.
    ClaimDenied,
    /// [`Effect::RequestGrant`] was answered.
    Decided(GrantDecision),
    /// [`Effect::ReturnGrant`] was performed.
    GrantReturned,
    /// [`Effect::Call`] ended.
    CallEnded(Box<FinishedCall>),
    /// [`Effect::Call`] was not performed: other jobs have all slots of the server or of the worker.
    NoSlot,
    /// [`Effect::Wait`] is over.
    RetryDue,
    /// [`Effect::Settle`] was performed, and its event is durable.
    Settled,
    /// The effect failed for good: repeating it does not help. If the effect was a call, the call was not sent.
    EffectFailed,
}

/// An event from outside that may change what is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interrupt {
    /// The outcome is no longer wanted.
    Recalled,
    /// The worker must end now.
    Stopping,
    /// The worker cannot be sure any more that it holds the claim: another worker may be making the call.
    ClaimLost,
}

/// The next action of the driver.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Ask for the claim.
    Claim(ClaimKey),
    /// Append that this delivery is about to make the calls, and wait for the decision of the leader.
    RequestGrant,
    /// Append that this delivery, which may have been granted, made no call.
    ReturnGrant,
    /// Call the tool.
    Call(Attempt),
    /// Wait, and keep the slot.
    Wait(Duration),
    /// Report the result of the job: store the blobs, release the claim, append the event. The order makes the event true
    /// as soon as it is in the log.
    Settle {
        /// Large values to which the event refers.
        blobs: Vec<Vec<u8>>,
        /// The claim to release, if the next attempt may start without it.
        release: Option<ClaimKey>,
        /// The report.
        event: Box<Event>,
    },
    /// Finish the delivery.
    Finish(DeliveryEnd),
}

/// The end of a delivery.
#[derive(Debug, PartialEq)]
pub enum DeliveryEnd {
    /// The result is in the log, or none is wanted: complete the claim and acknowledge the job, in any order.
    Acknowledge {
        /// The claim to complete, if one is held.
        complete: Option<ClaimKey>,
    },
    /// Another delivery has to handle the job.
    ReturnToQueue {
        /// The claim to release first, if the next delivery may make the call.
        release: Option<ClaimKey>,
        /// Minimum time until the next delivery.
        delay: Option<Duration>,
    },
}

/// The effect of an [`Interrupt`] on what is under way.
#[derive(Debug, PartialEq)]
pub enum InterruptEffect {
    /// Continue. The machine remembers the interrupt if it matters later.
    Continue,
    /// Cancel the call that is under way, and report how it ended.
    CancelCall,
    /// Drop what is under way and perform this effect.
    ReplaceWith(Effect),
}

#[cfg(test)]
mod tests;
