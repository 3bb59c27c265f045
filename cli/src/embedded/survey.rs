//! The runs of a data directory that have not settled, and the processes that move them.
//!
//! A partition is settled when its checkpoint covers its log and every run has ended; of such a partition the stored rows
//! say everything. The others are read up to the end of their logs.

use std::collections::{BTreeMap, BTreeSet};

use longshore_embedded::{Embedded, Holder, PartitionState};
use longshore_machine::{Run, STATE_VERSION};
use longshore_proto::{Partition, RunId, RunStatus, RunSummary, RunView};
use longshore_scheduler::{DriverError, PartitionReader};

use super::unopened;
use crate::failure::Failure;

/// Partitions that are not settled, as of one moment.
#[derive(Default)]
pub(crate) struct Survey {
    partitions: BTreeMap<Partition, Unsettled>,
    /// Partitions whose logs cannot be followed; of them only the last checkpoint is known.
    pub(crate) unreadable: Vec<(Partition, DriverError)>,
}

/// A partition that is not settled.
struct Unsettled {
    /// State at the end of its log; `None` if the log cannot be read.
    observed: Option<PartitionReader>,
    /// The processes that held it before and after its log was read. A run is interrupted only if neither moves it: one that
    /// ended in between was held before, and one that began in between is held after.
    holders: Vec<Holder>,
}

impl Survey {
    /// Reads every partition that is not settled.
    pub(crate) async fn of(store: &Embedded) -> Result<Self, Failure> {
        let mut survey = Self::default();
        for (partition, state) in store.partitions().await.map_err(unopened)? {
            if !is_settled(&state) {
                survey.add(store, partition).await?;
            }
        }
        Ok(survey)
    }

    /// Reads every partition that is not settled and that no process holds: its runs are interrupted.
    pub(crate) async fn of_unheld(store: &Embedded) -> Result<Self, Failure> {
        let mut survey = Self::default();
        for (partition, state) in store.partitions().await.map_err(unopened)? {
            if !is_settled(&state) && store.holder(partition).map_err(unopened)?.is_none() {
                survey.add(store, partition).await?;
            }
        }
        Ok(survey)
    }

    async fn add(&mut self, store: &Embedded, partition: Partition) -> Result<(), Failure> {
        let before = store.holder(partition).map_err(unopened)?;
        let observed = match PartitionReader::open(store.backend(), partition).await {
            Ok(observed) => Some(observed),
            Err(error) => {
                self.unreadable.push((partition, error));
                None
            }
        };
        let after = store.holder(partition).map_err(unopened)?;
        let holders = before.into_iter().chain(after).collect();
        self.partitions.insert(partition, Unsettled { observed, holders });
        Ok(())
    }

    /// Every run that its log knows better than the stored rows do, with the status that people see.
    pub(crate) fn runs(&self) -> Vec<RunSummary> {
        let observed = self.partitions.values().filter_map(|partition| partition.observed.as_ref());
        let mut runs: Vec<RunSummary> = observed.flat_map(PartitionReader::summaries).collect();
        runs.iter_mut().for_each(|run| self.mark(run));
        runs
    }

    /// Such a run in full.
    pub(crate) fn run(&self, run: RunId) -> Option<RunView> {
        let mut view = self.partitions.get(&run.partition())?.observed.as_ref()?.view(run)?;
        self.mark(&mut view.summary);
        Some(view)
    }

    /// Such a run as it is kept.
    pub(crate) fn state(&self, run: RunId) -> Option<&Run> {
        self.partitions.get(&run.partition())?.observed.as_ref()?.run(run)
    }

    /// The ids of the runs that no process moves.
    pub(crate) fn interrupted(&self) -> Vec<RunId> {
        let runs = self.runs().into_iter();
        runs.filter(|run| run.status == RunStatus::Interrupted).map(|run| run.run).collect()
    }

    /// The partitions in which no run is left, although no checkpoint says so: their process was killed after its last run had
    /// ended.
    pub(crate) fn ended(&self) -> BTreeSet<Partition> {
        let has_ended = |partition: &Unsettled| {
            let observed = partition.observed.as_ref();
            observed.is_some_and(|observed| observed.summaries().iter().all(|run| run.status.is_terminal()))
        };
        let ended = self.partitions.iter().filter(|(_, partition)| has_ended(partition));
        ended.map(|(partition, _)| *partition).collect()
    }

    /// The process that moves a run, or that holds its partition.
    pub(crate) fn holder(&self, run: RunId) -> Option<&Holder> {
        self.partitions.get(&run.partition())?.holders.last()
    }

    /// Gives a run that no process moves the status `interrupted`.
    pub(crate) fn mark(&self, run: &mut RunSummary) {
        let Some(partition) = self.partitions.get(&run.run.partition()) else { return };
        let is_moved = partition.holders.iter().any(|holder| holder.moves(run.run));
        if !run.status.is_terminal() && !is_moved {
            run.status = RunStatus::Interrupted;
        }
    }
}

/// Returns true if the stored rows of a partition are complete, in a format that this version reads.
fn is_settled(state: &PartitionState) -> bool {
    state.is_settled() && state.checkpoint.as_ref().is_some_and(|mark| mark.version == STATE_VERSION)
}
