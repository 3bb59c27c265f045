//! Heartbeats that keep a job and its claim while the worker has the job.
//!
//! One beat renews both: the delivery at the queue and the lease of the claim. The lease is shorter than the acknowledgement
//! wait, so a job that is delivered to another worker finds a lapsed claim and not a busy one. If the claim cannot be renewed
//! for two thirds of its lease, by this machine's own clock, [`LeaseHeartbeat::claim_lost`] is cancelled: the call must end
//! before another worker can get the claim.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use longshore_ports::{Claims, Error, Receipt, outage};
use longshore_proto::{ClaimKey, NodeId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Beats within the acknowledgement wait. Three of them are a lease: two may be missed before the claim counts as lost. The
/// fourth makes the lease shorter than the acknowledgement wait.
const BEATS_PER_ACK_WAIT: u32 = 4;

/// Beats within a lease.
const BEATS_PER_LEASE: u32 = 3;

/// Beats that may be missed in a row: two thirds of a lease.
const MISSED_BEATS_LIMIT: u32 = 2;

/// Divisor of the beat that gives the pause after a failed beat, which is also the shortest pause between any two beats. A failed
/// beat is followed by several more within the same time, and a tool that reports progress a thousand times a second causes few.
const SHORT_PAUSE_DIVISOR: u32 = 4;

/// The heartbeat of one delivery.
pub(super) struct LeaseHeartbeat<'a> {
    receipt: &'a dyn Receipt,
    claims: &'a dyn Claims,
    holder: &'a NodeId,
    /// Time between two beats.
    beat: Duration,
    /// The claim, once it is held.
    held_claim: OnceLock<HeldClaim>,
    progress: Notify,
    /// Notified at the first beat after the acknowledgement wait may have ended: another worker may have the job.
    late_beat: Notify,
    /// Cancelled when the worker cannot be sure any more that it holds the claim.
    pub(super) claim_lost: CancellationToken,
}

/// A claim that this delivery holds.
struct HeldClaim {
    key: ClaimKey,
    /// Earliest start of its first lease: the time at which it was requested.
    requested_at: Instant,
}

impl<'a> LeaseHeartbeat<'a> {
    /// Creates the heartbeat of a delivery without a claim.
    pub(super) fn new(receipt: &'a dyn Receipt, claims: &'a dyn Claims, holder: &'a NodeId) -> Self {
        Self {
            receipt,
            claims,
            holder,
            beat: receipt.ack_wait() / BEATS_PER_ACK_WAIT,
            held_claim: OnceLock::new(),
            progress: Notify::new(),
            late_beat: Notify::new(),
            claim_lost: CancellationToken::new(),
        }
    }

    /// Returns the duration of the claim's lease.
    pub(super) fn lease(&self) -> Duration {
        self.beat * BEATS_PER_LEASE
    }

    /// Renews this claim with every further beat. `requested_at` is the earliest start of its lease.
    pub(super) fn hold_claim(&self, key: ClaimKey, requested_at: Instant) {
        // A delivery claims once, so the cell is empty.
        let _ = self.held_claim.set(HeldClaim { key, requested_at });
    }

    /// Beats now, unless the last beat was a moment ago: the tool has reported progress.
    pub(super) fn note_progress(&self) {
        self.progress.notify_one();
    }

    /// Waits for a beat that came so late that the queue may have delivered the job to another worker.
    pub(super) async fn late_beat(&self) {
        self.late_beat.notified().await;
    }

    /// Renews delivery and claim until this future is dropped.
    pub(super) async fn run(&self) -> Infallible {
        let mut renewed_at = None;
        let mut has_succeeded = true;
        let mut job_kept_at = Instant::now();
        loop {
            let short_pause = self.beat / SHORT_PAUSE_DIVISOR;
            sleep(short_pause).await;
            if has_succeeded {
                // The end of the pause and progress both lead to a beat.
                let _ = timeout(self.beat.saturating_sub(short_pause), self.progress.notified()).await;
            }
            let (job_kept, claim_kept) = tokio::join!(self.keep_job(), self.renew_claim(&mut renewed_at));
            has_succeeded = job_kept && claim_kept;
            if job_kept
                && std::mem::replace(&mut job_kept_at, Instant::now()).elapsed() > self.receipt.ack_wait()
            {
                self.late_beat.notify_one();
            }
        }
    }

    /// Extends the acknowledgement wait of the delivery. Returns false if that failed.
    async fn keep_job(&self) -> bool {
        match timeout(self.beat, self.receipt.extend_ack_wait()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => failed(&error, "cannot report progress to the queue"),
            Err(_elapsed) => {
                if outage::record_failure("the queue does not answer in time") {
                    warn!("the queue does not answer in time; trying again");
                }
                false
            }
        }
    }

    /// Renews the lease of the held claim, if there is one. Returns false if that failed, and cancels
    /// [`Self::claim_lost`] once the claim counts as lost.
    async fn renew_claim(&self, renewed_at: &mut Option<Instant>) -> bool {
        let held = self.held_claim.get().filter(|_| !self.claim_lost.is_cancelled());
        let Some(HeldClaim { key, requested_at }) = held else { return true };
        let lease_start = renewed_at.unwrap_or(*requested_at);
        let deadline = lease_start + self.beat * MISSED_BEATS_LIMIT;
        let now = Instant::now();
        match timeout_at(deadline, self.claims.renew(key, self.holder, self.lease())).await {
            Ok(Ok(true)) => {
                *renewed_at = Some(now);
                true
            }
            Ok(Err(error)) if now < deadline => failed(&error, "cannot renew a claim"),
            Ok(Ok(false) | Err(_)) | Err(_) => {
                warn!(claim = %key, "the claim is lost; cancelling the call");
                self.claim_lost.cancel();
                false
            }
        }
    }
}

/// Logs a failed part of a beat and returns false.
fn failed(error: &Error, operation: &str) -> bool {
    if outage::record_failure(operation) {
        warn!(%error, "{operation}; trying again");
    }
    false
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use longshore_proto::{ClaimResult, Partition, RunId, Timestamp};

    use super::*;

    const ACK_WAIT: Duration = Duration::from_secs(40);
    const LEASE: Duration = Duration::from_secs(30);

    /// A receipt that counts the progress reports.
    #[derive(Default)]
    struct CountingReceipt(AtomicU32);

    #[async_trait]
    impl Receipt for CountingReceipt {
        fn ack_wait(&self) -> Duration {
            ACK_WAIT
        }
        async fn extend_ack_wait(&self) -> Result<(), Error> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        async fn ack(self: Box<Self>) -> Result<(), Error> {
            Ok(())
        }
        async fn give_back(self: Box<Self>, _: Option<Duration>) -> Result<(), Error> {
            Ok(())
        }
    }

    /// A receipt whose queue is away for a while.
    struct AwayReceipt(Duration, Instant);

    #[async_trait]
    impl Receipt for AwayReceipt {
        fn ack_wait(&self) -> Duration {
            ACK_WAIT
        }
        async fn extend_ack_wait(&self) -> Result<(), Error> {
            if self.1.elapsed() < self.0 { Err(Error::transient("extend", "no connection")) } else { Ok(()) }
        }
        async fn ack(self: Box<Self>) -> Result<(), Error> {
            Ok(())
        }
        async fn give_back(self: Box<Self>, _: Option<Duration>) -> Result<(), Error> {
            Ok(())
        }
    }

    /// A claim store with a fault that the real store cannot produce on demand.
    enum FaultyClaims {
        Working,
        TakenOver,
        Unreachable,
        Hanging,
    }

    #[async_trait]
    impl Claims for FaultyClaims {
        async fn claim(&self, _: &ClaimKey, _: &NodeId, _: Duration) -> Result<ClaimResult, Error> {
            Ok(ClaimResult::Won)
        }
        async fn renew(&self, _: &ClaimKey, _: &NodeId, lease: Duration) -> Result<bool, Error> {
            assert_eq!(lease, LEASE, "shorter than the acknowledgement wait");
            match self {
                Self::Working => Ok(true),
                Self::TakenOver => Ok(false),
                Self::Unreachable => Err(Error::transient("renew", "no connection")),
                Self::Hanging => pending().await,
            }
        }
        async fn done(&self, _: &ClaimKey, _: &NodeId) -> Result<(), Error> {
            Ok(())
        }
        async fn release(&self, _: &ClaimKey, _: &NodeId) -> Result<(), Error> {
            Ok(())
        }
    }

    /// Beats for `time`, with progress at this interval. Returns the second in which the claim was lost, and the number of
    /// progress reports to the queue.
    async fn beat(claims: &FaultyClaims, time: Duration, progress: Option<Duration>) -> (Option<u64>, u32) {
        let (receipt, holder) = (CountingReceipt::default(), "w1".parse().expect("a node id"));
        let heartbeat = LeaseHeartbeat::new(&receipt, claims, &holder);
        let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1);
        let start = Instant::now();
        heartbeat.hold_claim(
            ClaimKey { run, submitted_at: Timestamp::default(), step: "pay".parse().expect("a path") },
            start,
        );
        let reporting = async {
            loop {
                sleep(progress.unwrap_or(time * 2)).await;
                heartbeat.note_progress();
            }
        };
        let lost = tokio::select! {
            never = heartbeat.run() => match never {},
            () = reporting => None,
            () = heartbeat.claim_lost.cancelled() => Some(start.elapsed().as_secs()),
            () = sleep(time) => None,
        };
        (lost, receipt.0.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeat_keeps_the_claim_and_the_delivery() {
        assert_eq!(beat(&FaultyClaims::Working, ACK_WAIT * 10 + LEASE / 10, None).await, (None, 40));
    }

    #[tokio::test(start_paused = true)]
    async fn claim_taken_over_by_another_holder_is_lost_at_the_next_beat() {
        assert_eq!(beat(&FaultyClaims::TakenOver, ACK_WAIT, None).await.0, Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn claim_that_cannot_be_renewed_is_lost_before_its_lease_ends() {
        for claims in [FaultyClaims::Unreachable, FaultyClaims::Hanging] {
            let lost = beat(&claims, ACK_WAIT, None).await.0.expect("lost");
            assert!((20..=22).contains(&lost), "two thirds of {LEASE:?}, not {lost} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_causes_earlier_beats_but_a_bounded_number() {
        let time = ACK_WAIT + Duration::from_secs(1);
        assert_eq!(beat(&FaultyClaims::Working, time, Some(Duration::from_secs(5))).await.1, 8);
        assert_eq!(beat(&FaultyClaims::Working, time, Some(Duration::from_millis(1))).await.1, 16);
    }

    #[tokio::test(start_paused = true)]
    async fn beat_is_late_only_if_the_queue_may_have_delivered_the_job_again() {
        for (away, is_late) in [(ACK_WAIT / 2, false), (ACK_WAIT * 2, true)] {
            let (receipt, holder) = (AwayReceipt(away, Instant::now()), "w1".parse().expect("a node id"));
            let heartbeat = LeaseHeartbeat::new(&receipt, &FaultyClaims::Working, &holder);
            let late = tokio::select! {
                never = heartbeat.run() => match never {},
                () = heartbeat.late_beat() => true,
                () = sleep(ACK_WAIT * 5) => false,
            };
            assert_eq!(late, is_late, "away for {away:?}");
        }
    }
}
