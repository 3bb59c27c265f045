//! Keeping the queue and the claim patient while a job is in hand.
//!
//! Both are told in one beat. The lease is shorter than the queue's patience, so a job that is delivered to somebody
//! else finds a lapsed claim and not a busy one. When the claim cannot be renewed for two thirds of its lease, by this
//! machine's own clock, [`Pulse::lost`] is cancelled: the call must end before another worker may get the claim.

use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;

use longshore_ports::{Claims, Error, Receipt, outage};
use longshore_proto::{ClaimKey, NodeId};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Beats in the queue's patience. Three of them make a lease: two may be missed before the claim counts as lost, and
/// the fourth keeps the lease shorter than the patience.
const BEATS_PER_PATIENCE: u32 = 4;

/// Beats in a lease.
const BEATS_PER_LEASE: u32 = 3;

/// Beats that may be missed in a row: two thirds of a lease.
const BEATS_MISSED: u32 = 2;

/// The pause after a failed beat, and the shortest between any two, as a part of a beat: soon enough to make several
/// more tries, rare enough that a tool which reports progress a thousand times a second costs nothing.
const SHORT_BEAT: u32 = 4;

/// The pulse of one job.
pub(super) struct Pulse<'a> {
    receipt: &'a dyn Receipt,
    claims: &'a dyn Claims,
    holder: &'a NodeId,
    beat: Duration,
    /// The claim, and when it was asked for.
    held: OnceLock<(ClaimKey, Instant)>,
    progress: Notify,
    /// Cancelled when nobody can say any more that the claim is held.
    pub(super) lost: CancellationToken,
}

impl<'a> Pulse<'a> {
    /// A pulse for a job that has no claim yet.
    pub(super) fn new(receipt: &'a dyn Receipt, claims: &'a dyn Claims, holder: &'a NodeId) -> Self {
        Self {
            receipt,
            claims,
            holder,
            beat: receipt.ack_wait() / BEATS_PER_PATIENCE,
            held: OnceLock::new(),
            progress: Notify::new(),
            lost: CancellationToken::new(),
        }
    }

    /// How long the claim is asked for.
    pub(super) fn lease(&self) -> Duration {
        self.beat * BEATS_PER_LEASE
    }

    /// From now on the claim is renewed as well; `asked` is when its lease began at the earliest.
    pub(super) fn hold(&self, claim: ClaimKey, asked: Instant) {
        // A job asks for its claim once, so there is nothing here to be overwritten.
        let _ = self.held.set((claim, asked));
    }

    /// The tool showed that it is alive: beat now, unless the last beat was a moment ago.
    pub(super) fn progress(&self) {
        self.progress.notify_one();
    }

    /// Beats until it is dropped.
    pub(super) async fn run(&self) -> Infallible {
        let mut renewed = None;
        let mut well = true;
        loop {
            let short = self.beat / SHORT_BEAT;
            sleep(short).await;
            if well {
                // Either is a reason to beat.
                let _ = timeout(self.beat.saturating_sub(short), self.progress.notified()).await;
            }
            let (told, held) = tokio::join!(self.tell_queue(), self.renew(&mut renewed));
            well = told && held;
        }
    }

    async fn tell_queue(&self) -> bool {
        match timeout(self.beat, self.receipt.extend_ack_wait()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => unwell(&error, "the queue could not be told that the job goes on"),
            Err(_elapsed) => {
                if outage::record_failure("the queue does not answer in time") {
                    warn!("the queue does not answer in time; asking again");
                }
                false
            }
        }
    }

    async fn renew(&self, renewed: &mut Option<Instant>) -> bool {
        let Some((claim, asked)) = self.held.get().filter(|_| !self.lost.is_cancelled()) else { return true };
        let last_sure = renewed.unwrap_or(*asked);
        let until = last_sure + self.beat * BEATS_MISSED;
        let now = Instant::now();
        match timeout_at(until, self.claims.renew(claim, self.holder, self.lease())).await {
            Ok(Ok(true)) => {
                *renewed = Some(now);
                true
            }
            Ok(Err(error)) if now < until => unwell(&error, "the claim could not be renewed"),
            Ok(Ok(false) | Err(_)) | Err(_) => {
                warn!(%claim, "the claim is lost");
                self.lost.cancel();
                false
            }
        }
    }
}

fn unwell(error: &Error, what: &str) -> bool {
    if outage::record_failure(what) {
        warn!(%error, "{what}; trying again");
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

    const PATIENCE: Duration = Duration::from_secs(40);
    const LEASE: Duration = Duration::from_secs(30);

    /// A queue that counts the words it gets.
    #[derive(Default)]
    struct Counting(AtomicU32);

    #[async_trait]
    impl Receipt for Counting {
        fn ack_wait(&self) -> Duration {
            PATIENCE
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

    /// A store of claims as it is on a bad day: the real one cannot be made to fail on demand.
    enum Store {
        Well,
        TakenOver,
        Away,
        Hanging,
    }

    #[async_trait]
    impl Claims for Store {
        async fn claim(&self, _: &ClaimKey, _: &NodeId, _: Duration) -> Result<ClaimResult, Error> {
            Ok(ClaimResult::Won)
        }
        async fn renew(&self, _: &ClaimKey, _: &NodeId, lease: Duration) -> Result<bool, Error> {
            assert_eq!(lease, LEASE, "shorter than the queue's patience");
            match self {
                Self::Well => Ok(true),
                Self::TakenOver => Ok(false),
                Self::Away => Err(Error::transient("renew", "no connection")),
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

    /// Whether a claim is lost within `time`, and after how many seconds; and how often the queue got word.
    async fn beat(claims: &Store, time: Duration, progress: Option<Duration>) -> (Option<u64>, u32) {
        let (queue, holder) = (Counting::default(), "w1".parse().expect("a node id"));
        let pulse = Pulse::new(&queue, claims, &holder);
        let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1);
        let start = Instant::now();
        pulse.hold(
            ClaimKey { run, submitted_at: Timestamp::default(), step: "pay".parse().expect("a path") },
            start,
        );
        let shown = async {
            loop {
                sleep(progress.unwrap_or(time * 2)).await;
                pulse.progress();
            }
        };
        let lost = tokio::select! {
            never = pulse.run() => match never {},
            () = shown => None,
            () = pulse.lost.cancelled() => Some(start.elapsed().as_secs()),
            () = sleep(time) => None,
        };
        (lost, queue.0.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_in_hand_keeps_its_claim_and_the_queues_patience() {
        assert_eq!(beat(&Store::Well, PATIENCE * 10 + LEASE / 10, None).await, (None, 40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_somebody_took_over_is_lost_at_the_next_beat() {
        assert_eq!(beat(&Store::TakenOver, PATIENCE, None).await.0, Some(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_cannot_be_renewed_is_lost_before_its_lease_ends() {
        for claims in [Store::Away, Store::Hanging] {
            let lost = beat(&claims, PATIENCE, None).await.0.expect("lost");
            assert!((20..=22).contains(&lost), "two thirds of {LEASE:?}, not {lost} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn progress_hastens_the_beat_and_a_flood_of_it_does_not_flood_the_queue() {
        let time = PATIENCE + Duration::from_secs(1);
        assert_eq!(beat(&Store::Well, time, Some(Duration::from_secs(5))).await.1, 8);
        assert_eq!(beat(&Store::Well, time, Some(Duration::from_millis(1))).await.1, 16);
    }
}
