//! News that nobody was told yet.
//!
//! That a run has turned or ended is told at once. That it has begun, or that some of its steps stand elsewhere, waits a
//! little to be told together with what comes next. So a run of one quick step makes one piece of news, and a run of many
//! steps some dozens in a second; nothing else than the newest state was ever told.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use longshore_machine::{Change, Effect, Effects, Machine};
use longshore_proto::RunId;
use tokio::time::Instant;

use crate::meter;
use crate::observer::Observer;

/// How long news wait: a person who looks on sees no difference, and most calls that are over sooner need no news of
/// their beginning.
const PAUSE: Duration = Duration::from_millis(20);

/// The changes of a partition that are still to be told.
pub(super) struct Untold {
    observer: Arc<dyn Observer>,
    /// Those of the last records, which were not counted yet.
    fresh: Vec<Change>,
    /// Those that wait, and since when.
    waiting: BTreeMap<RunId, Change>,
    since: Option<Instant>,
}

impl Untold {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, fresh: Vec::new(), waiting: BTreeMap::new(), since: None }
    }

    /// Takes up a change, and nothing more: whoever has jobs to send has no time.
    pub(super) fn add(&mut self, change: Change) {
        self.fresh.push(change);
    }

    /// Takes up the changes among what follows from records, and drops the rest.
    pub(super) fn add_from(&mut self, effects: Effects) {
        for effect in effects {
            if let Effect::Changed(change) = effect {
                self.add(change);
            }
        }
    }

    /// When something is to be told though nothing happens.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.since.map(|since| since + PAUSE)
    }

    /// Counts what was taken up, and tells what cannot wait, or has waited for long enough. The machine must have applied
    /// the records that the changes stem from.
    pub(super) fn tell(&mut self, machine: &Machine) {
        let mut turned = Vec::new();
        for (id, change) in merged(std::mem::take(&mut self.fresh)) {
            if let Some(run) = machine.run(id) {
                meter::count(run, &change);
            }
            if change.turned {
                turned.push(id);
            }
            merge_into(&mut self.waiting, change);
        }
        if self.wake_at().is_some_and(|at| at <= Instant::now()) {
            return self.tell_waiting(machine);
        }
        for change in turned.iter().filter_map(|id| self.waiting.remove(id)) {
            tell(&*self.observer, machine, &change);
        }
        self.since = (!self.waiting.is_empty()).then(|| self.since.unwrap_or_else(Instant::now));
    }

    /// Counts what was taken up, and tells everything.
    pub(super) fn tell_all(&mut self, machine: &Machine) {
        self.tell(machine);
        self.tell_waiting(machine);
    }

    fn tell_waiting(&mut self, machine: &Machine) {
        self.since = None;
        for change in std::mem::take(&mut self.waiting).into_values() {
            tell(&*self.observer, machine, &change);
        }
    }
}

fn tell(observer: &dyn Observer, machine: &Machine, change: &Change) {
    // One that has ended and is kept no longer cannot be looked at either.
    if let Some(run) = machine.run(change.run) {
        observer.changed(run, change);
    }
}

/// What changed of each run: its newest state is all there is to see.
fn merged(changes: Vec<Change>) -> BTreeMap<RunId, Change> {
    let mut merged = BTreeMap::new();
    for change in changes {
        merge_into(&mut merged, change);
    }
    merged
}

fn merge_into(changes: &mut BTreeMap<RunId, Change>, change: Change) {
    match changes.entry(change.run) {
        Entry::Vacant(entry) => _ = entry.insert(change),
        Entry::Occupied(entry) => entry.into_mut().merge(&change),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use longshore_proto::{
        Attempt, Event, JobId, Outcome, Output, Partition, Record, Seq, Settlement, Timestamp,
    };
    use longshore_workflow::{Plan, compile};
    use serde_json::json;
    use tokio::time::advance;

    use super::*;
    use longshore_machine::Run;

    const TWO_STEPS: &str = "longshore: v1\nname: two\nsteps: [{ id: a, call: s/t }, { id: b, call: s/t }]\n";

    /// Writes down what it hears.
    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Observer for Heard {
        fn changed(&self, run: &Run, change: &Change) {
            let steps =
                run.steps(&change.steps).into_iter().map(|step| format!("{} {}", step.path, step.status));
            let began = if change.began { "began, " } else { "" };
            let status = run.summary().status;
            let line = format!("{began}{}: {}", status.as_str(), steps.collect::<Vec<_>>().join(", "));
            self.0.lock().expect("no panic").push(line);
        }
    }

    /// A partition with a run of two steps, and what is told of it.
    struct Story {
        machine: Machine,
        untold: Untold,
        heard: Arc<Heard>,
        run: RunId,
        plan: Arc<Plan>,
        seq: u64,
    }

    impl Story {
        fn begin() -> Self {
            let plan = Arc::new(compile(TWO_STEPS).expect("compiles"));
            let mut machine = Machine::new();
            machine.learn_plan(plan.digest, Ok(Arc::clone(&plan)));
            let heard = Arc::new(Heard::default());
            let untold = Untold::new(heard.clone());
            let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1);
            Self { machine, untold, heard, run, plan, seq: 0 }
        }

        fn submit(&mut self) {
            let namespace = "default".parse().expect("a namespace");
            let (run, workflow) = (self.run, self.plan.reference());
            self.record(Event::Submitted { run, namespace, workflow, inputs: json!({}).into(), trace: None });
        }

        fn settle(&mut self, step: &str) {
            let (run, step) = (self.run, step.parse().expect("a path"));
            let job = JobId { run, step, attempt: Attempt::FIRST };
            let output = Output { value: json!(1).into(), content: None };
            self.record(Event::Settled {
                job,
                settlement: Settlement::Done(Outcome::Output(output)),
                attempts: Vec::new(),
                worker: "worker".parse().expect("a node"),
                unreported: false,
                unreported_worker: None,
            });
        }

        fn record(&mut self, event: Event) {
            self.seq += 1;
            let record = Record { seq: Seq(self.seq), part: 0, at: Timestamp::from_millis(self.seq), event };
            let mut effects = Effects::new();
            self.machine.handle(&record, &mut effects).expect("applies");
            self.untold.add_from(effects);
            self.untold.tell(&self.machine);
        }

        fn heard(&self) -> Vec<String> {
            std::mem::take(&mut *self.heard.0.lock().expect("no panic"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_soon_after_is_told_together_and_an_end_at_once() {
        let mut story = Story::begin();
        story.submit();
        advance(PAUSE / 2).await;
        story.settle("a");
        assert!(story.heard().is_empty() && story.untold.wake_at().is_some());
        story.settle("b");
        assert_eq!(story.heard(), ["began, succeeded: a succeeded, b succeeded"]);
        assert_eq!(story.untold.wake_at(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_waits_for_longer_however_much_follows() {
        let mut story = Story::begin();
        story.submit();
        let wake = story.untold.wake_at().expect("something waits");
        advance(PAUSE / 2).await;
        story.settle("a");
        assert_eq!(story.untold.wake_at(), Some(wake), "what came first decides");
        advance(PAUSE / 2).await;
        story.untold.tell(&story.machine);
        assert_eq!(story.heard(), ["began, running: a succeeded, b running"]);
        story.settle("b");
        assert_eq!(story.heard(), ["succeeded: b succeeded"]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_tells_everything() {
        let mut story = Story::begin();
        story.submit();
        story.untold.tell_all(&story.machine);
        assert_eq!(story.heard(), ["began, running: a running"]);
        assert_eq!(story.untold.wake_at(), None);
    }
}
