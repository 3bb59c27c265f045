//! Stored form of the machine, for checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{
    Digest, Epoch, Retention, RunId, RunSummary, Seq, Timestamp, WireError, decode, encode,
};
use serde::{Deserialize, Serialize};

use super::{Machine, Run};

/// Format of the stored state. A state of another format is not read; the log is replayed instead.
pub const STATE_VERSION: u16 = 3;

/// Plans that are kept although no live run needs them.
const PLANS_KEPT: usize = 64;

/// Changes since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct UnsavedChanges {
    changed: BTreeSet<RunId>,
    ended: BTreeMap<RunId, Box<Run>>,
    expired: Vec<RunId>,
}

impl UnsavedChanges {
    pub(super) fn change(&mut self, run: RunId) {
        self.changed.insert(run);
    }

    pub(super) fn end(&mut self, run: Box<Run>) {
        self.changed.remove(&run.id);
        self.ended.insert(run.id, run);
    }

    pub(super) fn ended(&self, run: RunId) -> Option<&Run> {
        self.ended.get(&run).map(Box::as_ref)
    }

    pub(super) fn all_ended(&self) -> impl Iterator<Item = &Run> {
        self.ended.values().map(Box::as_ref)
    }
}

/// The part of the state that belongs to no run.
#[derive(Debug, Deserialize, Serialize)]
struct PartitionState {
    applied: Seq,
    now: Timestamp,
    epoch: Epoch,
    retention: Retention,
}

/// State that no checkpoint holds yet.
#[derive(Debug)]
pub struct UnsavedState {
    /// Encoded state of the partition without its runs.
    pub partition: Vec<u8>,
    /// New or changed runs, with their encoded states.
    pub changed: Vec<(RunSummary, Vec<u8>)>,
    /// Finished runs that are no longer kept.
    pub expired: Vec<RunId>,
}

/// A stored state that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("stored state of {what} cannot be read: {source}")]
pub struct RestoreError {
    what: String,
    source: WireError,
}

impl Machine {
    /// Returns true if anything changed since the last [`Machine::take_unsaved`].
    pub fn has_unsaved(&self) -> bool {
        !self.dirty.changed.is_empty() || !self.dirty.ended.is_empty() || !self.dirty.expired.is_empty()
    }

    /// Returns how many runs ended since the last [`Machine::take_unsaved`]. They stay in memory until the next one.
    pub fn unsaved_ended_runs(&self) -> usize {
        self.dirty.ended.len()
    }

    /// Discards everything that a checkpoint would have to store. The caller has to rebuild the state from the last stored
    /// checkpoint.
    pub fn discard_unsaved(&mut self) {
        self.dirty = UnsavedChanges::default();
    }

    /// Returns what changed since the last call, or all live runs if `everything` is true. Ended runs leave the memory; from
    /// then on they are looked up in the checkpoint.
    pub fn take_unsaved(&mut self, everything: bool) -> Result<UnsavedState, WireError> {
        let mut changed = Vec::with_capacity(self.dirty.changed.len() + self.dirty.ended.len());
        let live: Box<dyn Iterator<Item = &Run>> = if everything {
            Box::new(self.live.values().map(Box::as_ref))
        } else {
            Box::new(self.dirty.changed.iter().filter_map(|run| self.live.get(run)).map(Box::as_ref))
        };
        for run in live.chain(self.dirty.all_ended()) {
            changed.push((run.summary(), encode(run)?));
        }
        let (applied, now, epoch, retention) = (self.applied, self.now, self.epoch, self.retention);
        let state = PartitionState { applied, now, epoch, retention };
        let partition = encode(&state)?;
        let dirty = std::mem::take(&mut self.dirty);
        self.forget_plans();
        Ok(UnsavedState { partition, changed, expired: dirty.expired })
    }

    /// Builds a machine from a stored state.
    pub fn restore(
        partition: &[u8],
        live: &[(RunId, Vec<u8>)],
        finished: &[(RunId, Timestamp)],
    ) -> Result<Self, RestoreError> {
        let broken = |what: &dyn std::fmt::Display| {
            let what = what.to_string();
            move |source| RestoreError { what, source }
        };
        let state: PartitionState = decode(partition).map_err(broken(&"the partition"))?;
        let mut machine = Self {
            applied: state.applied,
            part: u32::MAX,
            now: state.now,
            epoch: state.epoch,
            retention: state.retention,
            ..Self::default()
        };
        for (id, bytes) in live {
            let run: Box<Run> = decode(bytes).map_err(broken(id))?;
            machine.timers.add(&run);
            machine.jobs_out += run.frame.jobs_out();
            machine.live.insert(*id, run);
        }
        for (id, at) in finished {
            machine.finished.insert(*id, *at);
            machine.finished_order.insert((*at, *id));
        }
        Ok(machine)
    }

    /// Returns the bounds on the finished runs that are kept.
    pub const fn retention(&self) -> Retention {
        self.retention
    }

    /// Lets go of finished runs past their time, by the log's own clock, so that everybody forgets the same ones.
    pub(super) fn expire(&mut self) {
        while let Some((at, run)) = self.finished_order.first().copied() {
            if !self.retention.is_over(self.finished_order.len(), at, self.now) {
                return;
            }
            self.finished_order.remove(&(at, run));
            self.finished.remove(&run);
            self.dirty.ended.remove(&run);
            self.dirty.expired.push(run);
        }
    }

    /// Lets go of plans that no live run needs, once there are many.
    fn forget_plans(&mut self) {
        if self.plans.len() > PLANS_KEPT {
            let needed: BTreeSet<Digest> =
                self.live.values().map(|run| run.outline.workflow.digest).collect();
            self.plans.retain(|digest, _| needed.contains(digest));
        }
    }
}

impl Run {
    /// Decodes a run as a checkpoint stores it.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }
}
