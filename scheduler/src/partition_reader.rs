//! Read-only view of a partition, from its checkpoint and its log.
//!
//! Appends, writes and locks nothing, so it works beside a leader, and where no checkpoint was ever written. Runs that ended
//! before the checkpoint are in the checkpoint's rows; this reader has the others.

use longshore_machine::{Effects, Run};
use longshore_ports::{Backend, LogReader};
use longshore_proto::{Partition, RunId, RunSummary, RunView, Seq};

use crate::log_follower::{BATCH_ENTRIES, DriverError, LogFollower};
use crate::recovery;

/// A partition's state at a position of its log.
pub struct PartitionReader {
    follower: LogFollower,
    reader: Box<dyn LogReader>,
}

impl PartitionReader {
    /// Loads the newest checkpoint, and applies the rest of the log.
    ///
    /// # Errors
    ///
    /// The log has an entry that this version cannot read, or a port does not answer.
    pub async fn open(backend: Backend, partition: Partition) -> Result<Self, DriverError> {
        let recovered = recovery::load(&backend, partition).await?;
        let mut reader = backend.log.read(partition, recovered.position.seq.next()).await?;
        // The end as of now: a log that grows quickly has no other end.
        let tail = backend.log.tail(partition).await?;
        let mut follower = LogFollower::start(backend, partition, recovered).await?;
        follower.pass_over_lost_before(Seq(u64::MAX));
        follower.replay(reader.as_mut(), tail, tail).await?;
        Ok(Self { follower, reader })
    }

    /// Waits for further entries of the log, and applies them. After a cancellation the reader must not be used again.
    ///
    /// # Errors
    ///
    /// The same as for [`PartitionReader::open`].
    pub async fn advance(&mut self) -> Result<(), DriverError> {
        for entry in self.reader.next(BATCH_ENTRIES).await? {
            // The leader performs the effects.
            self.follower.apply(entry, &mut Effects::new()).await?;
        }
        Ok(())
    }

    /// Returns the view of a run that has not ended, or ended after the checkpoint.
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.follower.machine.view(run)
    }

    /// Returns a run that has not ended, or ended after the checkpoint.
    pub fn run(&self, run: RunId) -> Option<&Run> {
        self.follower.machine.run(run)
    }

    /// Returns the summaries of all such runs, in the order of their ids.
    pub fn summaries(&self) -> Vec<RunSummary> {
        self.follower.machine.summaries()
    }
}
