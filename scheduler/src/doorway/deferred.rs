//! Submits that cannot be taken in now: the logs are full, or something behind the scheduler is away.
//!
//! They are kept here, a bounded number of them, and tried again with growing pauses. While too many are kept, no more are
//! pulled: the others wait in their stream, where they cost nothing. They are not given back, which would count as a
//! delivery each time and so hide how often a submit has ended a scheduler.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures::future::join_all;
use longshore_ports::{Incoming, outage};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::desk::Refusal;

/// How many submits, and how many bytes of them, are kept before no more are pulled. What is under way then comes on top,
/// which is at most as much again.
const MOST_KEPT: usize = 256;
const MOST_KEPT_BYTES: usize = 4 * 1024 * 1024;

/// First and longest pause before they are tried again. Far below the time after which a stream delivers a message again
/// that is neither acknowledged nor said to be under way.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What fails while submits wait, for the log.
const TAKE_IN: &str = "take submits in";

/// Submits that wait in this process.
pub(super) struct DeferredSubmits {
    messages: VecDeque<Incoming>,
    bytes: usize,
    pause: Duration,
    due: Instant,
}

impl DeferredSubmits {
    pub(super) fn new() -> Self {
        Self { messages: VecDeque::new(), bytes: 0, pause: PAUSE.0, due: Instant::now() }
    }

    /// Whether no more submits may be pulled.
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MOST_KEPT || self.bytes >= MOST_KEPT_BYTES
    }

    /// Whether it is time to try again.
    pub(super) fn is_due(&self) -> bool {
        !self.messages.is_empty() && self.due <= Instant::now()
    }

    /// When to try again, unless nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.messages.is_empty()).then_some(self.due)
    }

    /// Waits until it is time to try again. Safe to cancel.
    pub(super) async fn until_due(&self) {
        sleep_until(self.due).await;
    }

    /// Hands out as many as are tried together, those that have waited longest.
    pub(super) fn take(&mut self, most: NonZeroUsize) -> Vec<Incoming> {
        let count = self.messages.len().min(most.get());
        let taken: Vec<_> = self.messages.drain(..count).collect();
        self.bytes = self.bytes.saturating_sub(taken.iter().map(|message| message.body.len()).sum());
        taken
    }

    /// Takes up what is left of a batch of `tried` submits, and tells the stream that it is under way.
    pub(super) async fn add(&mut self, left: Vec<Incoming>, tried: usize) {
        if left.len() < tried {
            self.pause = PAUSE.0;
        }
        if left.is_empty() {
            if self.messages.is_empty()
                && let Some(lasted) = outage::record_success(TAKE_IN)
            {
                info!(?lasted, "submits are taken in again");
            }
            return;
        }
        self.due = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
        join_all(left.iter().map(|message| message.receipt.extend_ack_wait())).await.into_iter().for_each(|told| {
            if let Err(error) = told {
                debug!(%error, "the stream does not know that a submit is under way; it may come once more");
            }
        });
        self.bytes += left.iter().map(|message| message.body.len()).sum::<usize>();
        self.messages.extend(left);
    }
}

/// Logs why submits wait: when they begin to, and once a minute.
pub(super) fn log_deferred(refusal: &Refusal, submits: usize) {
    if outage::record_failure(TAKE_IN) {
        warn!(%refusal, submits, "submits wait; trying again until they can be taken in");
    }
}
