//! Submits that cannot be ingested now, because the logs are full, or NATS or Redis fails.
//!
//! A bounded number of them is kept here and tried again with growing pauses. While too many are kept, no more are pulled:
//! the others wait in their stream, where they cost nothing. They are not returned to the stream, because each return would
//! count as a delivery, and the delivery count says how often a submit may have ended a scheduler.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures::future::join_all;
use longshore_ports::{Incoming, outage};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::refusal::Refusal;

/// Number of deferred submits, and their total bytes, at which no more are pulled. Batches that are under way then are kept as
/// well, which is at most as much again.
const MOST_SUBMITS: usize = 256;
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// First and longest pause before they are tried again. Far below the time after which a stream delivers a message again that
/// has neither an acknowledgement nor a progress notice.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Key of the outage log.
const INGEST: &str = "ingest submits";

/// The result of a batch.
pub(super) struct BatchResult {
    /// Number of messages in the batch.
    pub(super) tried: usize,
    /// Messages that cannot be ingested now.
    pub(super) deferred: Vec<Incoming>,
}

/// Submits that wait in this process.
pub(super) struct DeferredSubmits {
    messages: VecDeque<Incoming>,
    bytes: usize,
    pause: Duration,
    due_at: Instant,
}

impl DeferredSubmits {
    pub(super) fn new() -> Self {
        Self { messages: VecDeque::new(), bytes: 0, pause: FIRST_PAUSE, due_at: Instant::now() }
    }

    /// Returns true if no more submits may be pulled.
    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MOST_SUBMITS || self.bytes >= MOST_BYTES
    }

    /// Returns true if it is time to try again.
    pub(super) fn is_due(&self) -> bool {
        !self.messages.is_empty() && self.due_at <= Instant::now()
    }

    /// Returns the time to try again, if submits wait.
    pub(super) fn due_at(&self) -> Option<Instant> {
        (!self.messages.is_empty()).then_some(self.due_at)
    }

    /// Waits until it is time to try again. Safe to cancel.
    pub(super) async fn until_due(&self) {
        sleep_until(self.due_at).await;
    }

    /// Removes and returns at most `most` submits, those first that have waited longest.
    pub(super) fn take(&mut self, most: NonZeroUsize) -> Vec<Incoming> {
        let count = self.messages.len().min(most.get());
        let taken: Vec<_> = self.messages.drain(..count).collect();
        self.bytes = self.bytes.saturating_sub(taken.iter().map(|message| message.body.len()).sum());
        taken
    }

    /// Adds the deferred submits of a batch, and sends a progress notice for each to the stream.
    pub(super) async fn add(&mut self, batch: BatchResult) {
        let BatchResult { tried, deferred } = batch;
        if deferred.len() < tried {
            self.pause = FIRST_PAUSE;
        }
        if deferred.is_empty() {
            if self.messages.is_empty()
                && let Some(lasted) = outage::record_success(INGEST)
            {
                info!(?lasted, "works again: {INGEST}");
            }
            return;
        }
        self.due_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        let notices = join_all(deferred.iter().map(|message| message.receipt.extend_ack_wait())).await;
        for error in notices.into_iter().filter_map(Result::err) {
            debug!(%error, "cannot report progress of a submit; it may be delivered again");
        }
        self.bytes += deferred.iter().map(|message| message.body.len()).sum::<usize>();
        self.messages.extend(deferred);
    }
}

/// Logs the reason why submits are deferred, at the start and once a minute.
pub(super) fn log_deferred(refusal: &Refusal, submits: usize) {
    if outage::record_failure(INGEST) {
        warn!(%refusal, submits, "cannot {INGEST} now; trying again until it works");
    }
}
