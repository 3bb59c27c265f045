//! The unfinished partitions of a data directory: their runs, and the processes that execute them.
//!
//! A partition is finished when its checkpoint covers its log and every run has ended; its stored rows are complete. The logs
//! of the others are read to their ends.

use std::collections::{BTreeMap, BTreeSet};

use longshore_embedded::{Embedded, Holder, PartitionState};
use longshore_machine::{Run, STATE_VERSION};
use longshore_proto::{Partition, RunId, RunStatus, RunSummary, RunView};
use longshore_scheduler::{DriverError, PartitionReader};

use super::open_failure::unopened;
use crate::failure::Failure;

/// The unfinished partitions as of one moment.
#[derive(Default)]
pub(crate) struct PartitionSurvey {
    partitions: BTreeMap<Partition, UnfinishedPartition>,
    /// Partitions whose logs cannot be read. Only their last checkpoints are known.
    pub(crate) unreadable: Vec<(Partition, DriverError)>,
}

/// An unfinished partition.
struct UnfinishedPartition {
    /// State at the end of its log; `None` if the log cannot be read.
    observed: Option<PartitionReader>,
    /// The processes that held the partition before and after its log was read. A run is interrupted only if neither
    /// executes it: a run that ended in between was held before, and a run that began in between is held after.
    holders: Vec<Holder>,
}

impl PartitionSurvey {
    /// Reads every unfinished partition.
    pub(crate) async fn of(store: &Embedded) -> Result<Self, Failure> {
        let mut survey = Self::default();
        for (partition, state) in store.partitions().await.map_err(unopened)? {
            if !is_finished(&state) {
                survey.add(store, partition).await?;
            }
        }
        Ok(survey)
    }

    /// Reads every unfinished partition that no process holds. The unended runs of these partitions are interrupted.
    pub(crate) async fn of_unheld(store: &Embedded) -> Result<Self, Failure> {
        let mut survey = Self::default();
        for (partition, state) in store.partitions().await.map_err(unopened)? {
            if !is_finished(&state) && store.holder(partition).map_err(unopened)?.is_none() {
                survey.add(store, partition).await?;
            }
        }
        Ok(survey)
    }

    /// Reads a partition, and the processes that hold it before and after.
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
        self.partitions.insert(partition, UnfinishedPartition { observed, holders });
        Ok(())
    }

    /// Returns the runs whose logs are newer than the stored rows, with `interrupted` as status where it applies.
    pub(crate) fn runs(&self) -> Vec<RunSummary> {
        let observed = self.partitions.values().filter_map(|partition| partition.observed.as_ref());
        let mut runs: Vec<RunSummary> = observed.flat_map(PartitionReader::summaries).collect();
        runs.iter_mut().for_each(|run| self.mark_interrupted(run));
        runs
    }

    /// Returns one of these runs in full.
    pub(crate) fn run(&self, run: RunId) -> Option<RunView> {
        let mut view = self.partitions.get(&run.partition())?.observed.as_ref()?.view(run)?;
        self.mark_interrupted(&mut view.summary);
        Some(view)
    }

    /// Returns the state of one of these runs.
    pub(crate) fn state(&self, run: RunId) -> Option<&Run> {
        self.partitions.get(&run.partition())?.observed.as_ref()?.run(run)
    }

    /// Returns the ids of the interrupted runs.
    pub(crate) fn interrupted(&self) -> Vec<RunId> {
        let runs = self.runs().into_iter();
        runs.filter(|run| run.status == RunStatus::Interrupted).map(|run| run.run).collect()
    }

    /// Returns the unfinished partitions in which every run has ended: their process was killed after its last run ended and
    /// before a checkpoint said so.
    pub(crate) fn ended(&self) -> BTreeSet<Partition> {
        let has_ended = |partition: &UnfinishedPartition| {
            let observed = partition.observed.as_ref();
            observed.is_some_and(|observed| observed.summaries().iter().all(|run| run.status.is_terminal()))
        };
        let ended = self.partitions.iter().filter(|(_, partition)| has_ended(partition));
        ended.map(|(partition, _)| *partition).collect()
    }

    /// Returns the process that holds the partition of a run.
    pub(crate) fn holder(&self, run: RunId) -> Option<&Holder> {
        self.partitions.get(&run.partition())?.holders.last()
    }

    /// Sets the status `interrupted` if no process executes a run that has not ended.
    pub(crate) fn mark_interrupted(&self, run: &mut RunSummary) {
        let Some(partition) = self.partitions.get(&run.run.partition()) else { return };
        let is_executed = partition.holders.iter().any(|holder| holder.moves(run.run));
        if !run.status.is_terminal() && !is_executed {
            run.status = RunStatus::Interrupted;
        }
    }
}

/// Returns true if the stored rows of a partition are complete, in a format that this version reads.
fn is_finished(state: &PartitionState) -> bool {
    state.is_finished() && state.checkpoint.as_ref().is_some_and(|mark| mark.version == STATE_VERSION)
}
