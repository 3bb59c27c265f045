//! Runs that a reader of the log cannot continue: their workflow does not compile, or one of their records cannot be read.
//!
//! What a reader can read depends on its program, so it decides nothing: the reader leaves the run as it is, and a leader
//! appends [`Event::Quarantined`], which ends the run for all readers alike. Until that record is applied, the state lacks what could
//! not be read, so no checkpoint may be written.

use std::collections::btree_map::Entry;

use longshore_proto::{Event, Fault, FaultClass, RunId};

use super::{Effect, Effects, Machine, RecordIgnored};

impl Machine {
    /// Notes that a record of a run could not be applied. A leader quarantines the run.
    pub fn note_unreadable(&mut self, run: RunId, why: String, effects: &mut Effects) {
        if let Entry::Vacant(entry) = self.unreadable.entry(run) {
            effects.push(Effect::Append(Event::Quarantined { run, reason: why.clone() }));
            entry.insert(why);
        }
    }

    /// Returns true if the state has all records of the log. Otherwise no checkpoint may be written.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty()
    }

    /// Returns the events that quarantine the runs of which a record could not be applied.
    pub(super) fn quarantines(&self) -> impl Iterator<Item = Effect> {
        let event = |(run, why): (&RunId, &String)| Event::Quarantined { run: *run, reason: why.clone() };
        self.unreadable.iter().map(event).map(Effect::Append)
    }

    /// Ends a run at once. Its steps are dropped, because readers may know different ones.
    pub(super) fn quarantine(
        &mut self,
        id: RunId,
        reason: &str,
        effects: &mut Effects,
    ) -> Result<(), RecordIgnored> {
        self.unreadable.remove(&id);
        let mut run = self.live.remove(&id).ok_or(RecordIgnored::UnknownRun)?;
        let before = run.status;
        self.jobs_out -= run.frame.jobs_out();
        self.timers.remove(&run);
        run.drop_steps();
        run.fail(Fault::new(FaultClass::Internal, reason), self.now);
        self.keep(run, Some(before), effects);
        Ok(())
    }
}
