//! What of the machine is stored, and how it comes back.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{
    Digest, Epoch, Fault, RunId, RunStatus, RunSummary, Seq, Timestamp, WireError, decode, encode,
};
use serde::{Deserialize, Serialize};

use super::run::RunError;
use super::{Machine, Retention, Run};

/// The format of the stored state. Another one is never read: the log is replayed instead.
pub const STATE_VERSION: u16 = 1;

/// Plans that are kept although no live run needs them.
const PLANS_KEPT: usize = 64;

/// What has changed since the last checkpoint.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    changed: BTreeSet<RunId>,
    ended: BTreeMap<RunId, Run>,
    expired: Vec<RunId>,
}

impl Dirty {
    pub(super) fn change(&mut self, run: RunId) {
        self.changed.insert(run);
    }

    pub(super) fn end(&mut self, run: Run) {
        self.changed.remove(&run.id);
        self.ended.insert(run.id, run);
    }

    pub(super) fn ended(&self, run: RunId) -> Option<&Run> {
        self.ended.get(&run)
    }

    pub(super) fn all_ended(&self) -> impl Iterator<Item = &Run> {
        self.ended.values()
    }
}

/// The part of the state that belongs to no run.
#[derive(Debug, Deserialize, Serialize)]
struct PartitionState {
    applied: Seq,
    now: Timestamp,
    epoch: Epoch,
}

/// What a checkpoint has to store.
#[derive(Debug)]
pub struct Drained {
    /// The last record that is in it.
    pub seq: Seq,
    /// The state beside the runs.
    pub partition: Vec<u8>,
    /// New or changed runs.
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
    /// Whether anything has changed since the last [`Machine::drain`].
    pub fn is_dirty(&self) -> bool {
        !self.dirty.changed.is_empty() || !self.dirty.ended.is_empty() || !self.dirty.expired.is_empty()
    }

    /// How many runs have ended since the last [`Machine::drain`]; they are held in memory until then.
    pub fn ended_held(&self) -> usize {
        self.dirty.ended.len()
    }

    /// Lets go of everything that a checkpoint would have to store. Whoever asks for this builds the state again, from
    /// the last checkpoint that was stored.
    pub fn forget_changes(&mut self) {
        self.dirty = Dirty::default();
    }

    /// What has changed since the last call, or everything that lives. Ended runs leave the memory with this: they
    /// are looked up in the checkpoint from then on.
    pub fn drain(&mut self, everything: bool) -> Result<Drained, WireError> {
        let mut changed = Vec::with_capacity(self.dirty.changed.len() + self.dirty.ended.len());
        let live: Box<dyn Iterator<Item = &Run>> = if everything {
            Box::new(self.live.values())
        } else {
            Box::new(self.dirty.changed.iter().filter_map(|run| self.live.get(run)))
        };
        for run in live.chain(self.dirty.ended.values()) {
            changed.push((run.summary(), encode(run)?));
        }
        let state = PartitionState { applied: self.applied, now: self.now, epoch: self.epoch };
        let partition = encode(&state)?;
        let dirty = std::mem::take(&mut self.dirty);
        self.forget_plans();
        Ok(Drained { seq: self.applied, partition, changed, expired: dirty.expired })
    }

    /// Puts a stored state in place of whatever this machine holds.
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
            ..Self::default()
        };
        for (id, bytes) in live {
            let run: Run = decode(bytes).map_err(broken(id))?;
            machine.timers.follow(&run);
            machine.jobs_out += run.jobs_out();
            machine.live.insert(*id, run);
        }
        for (id, at) in finished {
            machine.finished.insert(*id, *at);
            machine.finished_order.insert((*at, *id));
        }
        Ok(machine)
    }

    /// From now on these are kept of the runs that have ended.
    pub const fn retain(&mut self, retention: Retention) {
        self.retention = retention;
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
            let needed: BTreeSet<Digest> = self.live.values().map(|run| run.workflow.digest).collect();
            self.plans.retain(|digest, _| needed.contains(digest));
        }
    }
}

impl Run {
    /// Reads a run as a checkpoint stores it, for people to look at.
    pub fn read(bytes: &[u8]) -> Result<Self, WireError> {
        decode(bytes)
    }

    /// Ends a run that cannot even begin.
    pub(super) fn fail(&mut self, fault: Fault, at: Timestamp) {
        self.error = Some(RunError { fault, step: None });
        self.status = RunStatus::Failed;
        self.finished_at = Some(at);
        self.timers.clear();
    }
}
