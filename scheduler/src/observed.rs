//! A partition as its log has it, for somebody who only looks.
//!
//! Nothing is announced, written or locked, so it works beside a leader, and where none ever wrote a checkpoint. What
//! a checkpoint already has of the runs that have ended stays in its rows; here are the others.

use longshore_machine::{Effects, Run};
use longshore_ports::{Backend, LogReader};
use longshore_proto::{Partition, RunId, RunSummary, RunView};

use crate::fold::{BATCH, DriverError, Fold};
use crate::recovery;

/// A partition as of one moment.
pub struct Observed {
    fold: Fold,
    reader: Box<dyn LogReader>,
}

impl Observed {
    /// Loads the newest checkpoint, and folds what the log has beyond it.
    ///
    /// # Errors
    ///
    /// The log has an entry that this version cannot take, or a port does not answer.
    pub async fn look(backend: Backend, partition: Partition) -> Result<Self, DriverError> {
        let recovered = recovery::load(&backend, partition).await?;
        let mut reader = backend.log.read(partition, recovered.position.seq.next()).await?;
        // As far as it goes now: a log that grows quickly would never be at its end.
        let tail = backend.log.tail(partition).await?;
        let mut fold = Fold::begin(backend, partition, recovered).await?;
        fold.replay(reader.as_mut(), tail, tail).await?;
        Ok(Self { fold, reader })
    }

    /// Waits for further entries of the log and applies them. Safe to cancel only if it is not used any more.
    ///
    /// # Errors
    ///
    /// As those of [`Observed::look`].
    pub async fn advance(&mut self) -> Result<(), DriverError> {
        for entry in self.reader.next(BATCH).await? {
            // What follows is for the leader to do.
            self.fold.apply(entry, &mut Effects::new()).await?;
        }
        self.fold.make_room();
        Ok(())
    }

    /// A run that has not ended, or has ended since the checkpoint.
    pub fn run(&self, run: RunId) -> Option<RunView> {
        self.fold.machine.view(run)
    }

    /// Such a run as it is kept.
    pub fn state(&self, run: RunId) -> Option<&Run> {
        self.fold.machine.run(run)
    }

    /// Every such run, in the order of the ids.
    pub fn runs(&self) -> Vec<RunSummary> {
        self.fold.machine.summaries()
    }
}
