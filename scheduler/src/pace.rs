//! How fast submits are taken in: as fast as jobs come back, once many are out.
//!
//! Taking a run in is cheaper than seeing it through, so a burst of submits would be turned into live runs long before
//! workers get to them. Submits that wait cost nothing where they are, and are as durable there; live runs fill
//! memories, and are written to the checkpoint once more for every wait. So whoever takes submits in looks at how many
//! jobs the partitions of this process have out. It only slows down and never stops: jobs that nobody takes must not keep
//! other submits out.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// From how many jobs on there is no hurry: what a busy process sees through in some hundredths of a second, so that
/// workers do not run out of jobs before it is noticed.
const MANY: usize = 256;

/// How many submits are taken in at once while many jobs are out, and how soon after the last ones: three thousand in a
/// second. Slower tools than that need no more, and faster ones bring their jobs back.
const FEW: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
const PAUSE: Duration = Duration::from_millis(20);

/// The jobs that are out of all partitions that this process leads.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    out: watch::Sender<usize>,
}

impl Pace {
    /// Waits for its turn; how many of `all` may be taken in then. Safe to cancel.
    pub(crate) async fn turn(&self, all: NonZeroUsize) -> NonZeroUsize {
        let mut out = self.out.subscribe();
        match timeout(PAUSE, out.wait_for(|out| *out < MANY)).await {
            Ok(_) => all,
            Err(_elapsed) => FEW.min(all),
        }
    }

    /// A partition that has nothing out yet.
    pub(crate) fn partition(&self) -> Out {
        Out { pace: self.clone(), counted: 0 }
    }
}

/// The jobs that one partition has out, for as long as it is led here.
#[derive(Debug)]
pub(crate) struct Out {
    pace: Pace,
    counted: usize,
}

impl Out {
    /// So many are out now.
    pub(crate) fn set(&mut self, count: usize) {
        let before = std::mem::replace(&mut self.counted, count);
        // Each partition takes back what it has counted itself.
        self.pace.out.send_if_modified(|out| {
            *out = (*out + count).saturating_sub(before);
            count != before
        });
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    const ALL: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

    #[tokio::test(start_paused = true)]
    async fn submits_are_slowed_down_while_many_jobs_are_out_and_never_stopped() {
        let pace = Pace::default();
        let (mut one, mut other) = (pace.partition(), pace.partition());
        one.set(MANY / 2);
        assert_eq!(pace.turn(ALL).await, ALL);
        other.set(MANY / 2);
        let started = Instant::now();
        assert_eq!(pace.turn(ALL).await, FEW);
        assert_eq!(started.elapsed(), PAUSE);
        assert_eq!(pace.turn(NonZeroUsize::MIN).await, NonZeroUsize::MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn they_go_on_as_soon_as_jobs_come_back_or_their_partition_is_led_elsewhere() {
        let pace = Pace::default();
        let (mut one, mut other) = (pace.partition(), pace.partition());
        for end in [true, false] {
            one.set(MANY - 1);
            other.set(1);
            let started = Instant::now();
            let (taken, ()) = tokio::join!(pace.turn(ALL), async {
                if end {
                    one.set(MANY - 2);
                } else {
                    drop(std::mem::replace(&mut other, pace.partition()));
                }
            });
            assert_eq!((taken, started.elapsed()), (ALL, Duration::ZERO));
        }
    }
}
