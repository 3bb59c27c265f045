//! Run updates that are not published yet.
//!
//! A change of a run's own status is published at once. Other changes (a run that started, steps whose status changed) wait up
//! to [`COALESCE`], so that they are published together with what follows: a run with one quick step publishes one update, and
//! a run with many steps some dozens per second. An update always has the newest state, so nothing is lost by waiting.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use longshore_machine::{Effect, Effects, Machine, RunChange};
use longshore_ports::{ChangedRun, RunUpdate, RunUpdates};
use longshore_proto::{RunId, StepView};
use tokio::time::Instant;

use crate::run_metrics;

/// Longest wait of an update. A person who watches the run sees no difference, and most calls that finish sooner need no
/// update for their start.
const COALESCE: Duration = Duration::from_millis(20);

/// The unpublished updates of one partition.
pub(super) struct PendingUpdates {
    publisher: Arc<dyn RunUpdates>,
    /// Changes of the last records, not yet counted in the metrics.
    uncounted: Vec<RunChange>,
    /// Changes that wait, merged per run.
    waiting: BTreeMap<RunId, RunChange>,
    /// Arrival of the oldest waiting change.
    waiting_since: Option<Instant>,
}

impl PendingUpdates {
    pub(super) fn new(publisher: Arc<dyn RunUpdates>) -> Self {
        Self { publisher, uncounted: Vec::new(), waiting: BTreeMap::new(), waiting_since: None }
    }

    /// Adds a change without publishing it. Called on the dispatch path, so it must stay cheap.
    pub(super) fn push(&mut self, change: RunChange) {
        self.uncounted.push(change);
    }

    /// Adds the changes among some effects, and drops the other effects.
    pub(super) fn push_from(&mut self, effects: Effects) {
        for effect in effects {
            if let Effect::Changed(change) = effect {
                self.push(change);
            }
        }
    }

    /// Returns the time when waiting changes are due.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + COALESCE)
    }

    /// Counts the added changes in the metrics, and publishes changes of a run's status and changes that waited for
    /// [`COALESCE`]. `machine` must have applied the records that caused the changes.
    pub(super) fn publish_due(&mut self, machine: &Machine) {
        let mut status_changed = Vec::new();
        for (id, change) in merge_by_run(std::mem::take(&mut self.uncounted)) {
            if let Some(run) = machine.run(id) {
                run_metrics::count(run, &change);
            }
            if change.status_changed {
                status_changed.push(id);
            }
            merge_into(&mut self.waiting, change);
        }
        if self.due_at().is_some_and(|at| at <= Instant::now()) {
            return self.publish_waiting(machine);
        }
        for change in status_changed.iter().filter_map(|id| self.waiting.remove(id)) {
            publish(&*self.publisher, machine, &change);
        }
        self.waiting_since =
            (!self.waiting.is_empty()).then(|| self.waiting_since.unwrap_or_else(Instant::now));
    }

    /// Counts the added changes in the metrics, and publishes all changes.
    pub(super) fn publish_all(&mut self, machine: &Machine) {
        self.publish_due(machine);
        self.publish_waiting(machine);
    }

    fn publish_waiting(&mut self, machine: &Machine) {
        self.waiting_since = None;
        for change in std::mem::take(&mut self.waiting).into_values() {
            publish(&*self.publisher, machine, &change);
        }
    }
}

fn publish(publisher: &dyn RunUpdates, machine: &Machine, change: &RunChange) {
    // A run that ended and is no longer kept has no state to publish.
    let Some(run) = machine.run(change.run) else { return };
    let without_values = |step| StepView { output: None, arguments: None, ..step };
    let update = || RunUpdate {
        run: run.summary(),
        steps: run.steps(&change.steps).into_iter().map(without_values).collect(),
        status_changed: change.concerns_run(),
    };
    publisher.publish(&ChangedRun { run: change.run, update: &update, view: &|| run.view() });
}

/// Merges the changes of each run. Only the newest state is published.
fn merge_by_run(changes: Vec<RunChange>) -> BTreeMap<RunId, RunChange> {
    let mut merged = BTreeMap::new();
    for change in changes {
        merge_into(&mut merged, change);
    }
    merged
}

fn merge_into(changes: &mut BTreeMap<RunId, RunChange>, change: RunChange) {
    match changes.entry(change.run) {
        Entry::Vacant(entry) => _ = entry.insert(change),
        Entry::Occupied(entry) => entry.into_mut().merge(&change),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use longshore_proto::{
        Attempt, Event, JobId, Outcome, Output, Partition, Record, Semantics, Seq, Settlement, Timestamp,
    };
    use longshore_workflow::{Plan, compile};
    use serde_json::json;
    use tokio::time::advance;

    use super::*;

    const TWO_STEPS: &str = "longshore: v1\nname: two\nsteps: [{ id: a, call: s/t }, { id: b, call: s/t }]\n";

    /// Publisher that records each update as a line.
    #[derive(Default)]
    struct RecordedUpdates(Mutex<Vec<String>>);

    impl RunUpdates for RecordedUpdates {
        fn publish(&self, changed: &ChangedRun<'_>) {
            let update = (changed.update)();
            let steps: Vec<_> =
                update.steps.iter().map(|step| format!("{} {}", step.path, step.status)).collect();
            let line = format!("{}: {}", update.run.status.as_str(), steps.join(", "));
            let line = if update.status_changed { line } else { format!("only steps, {line}") };
            self.0.lock().expect("no panic").push(line);
        }
    }

    /// A partition with a run of two steps, and the updates of the run.
    struct Fixture {
        machine: Machine,
        updates: PendingUpdates,
        published: Arc<RecordedUpdates>,
        run: RunId,
        plan: Arc<Plan>,
        seq: u64,
    }

    impl Fixture {
        fn new() -> Self {
            let plan = Arc::new(compile(TWO_STEPS).expect("compiles"));
            let mut machine = Machine::new();
            machine.provide_plan(plan.digest, Ok(Arc::clone(&plan)));
            let published = Arc::new(RecordedUpdates::default());
            let updates = PendingUpdates::new(published.clone());
            let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1);
            Self { machine, updates, published, run, plan, seq: 0 }
        }

        fn submit(&mut self) {
            let namespace = "default".parse().expect("a namespace");
            let (run, workflow) = (self.run, self.plan.reference());
            self.apply(Event::Submitted {
                run,
                namespace,
                workflow,
                semantics: Semantics::NEWEST,
                inputs: json!({}).into(),
                trace: None,
            });
        }

        fn settle(&mut self, step: &str) {
            let (run, step) = (self.run, step.parse().expect("a path"));
            let job = JobId { run, step, attempt: Attempt::FIRST };
            let output = Output { value: json!(1).into(), content: None };
            self.apply(Event::Settled {
                job,
                settlement: Settlement::Done(Outcome::Output(output)),
                attempts: Vec::new(),
                worker: "worker".parse().expect("a node"),
                unreported: false,
                unreported_worker: None,
            });
        }

        fn apply(&mut self, event: Event) {
            self.seq += 1;
            let record = Record { seq: Seq(self.seq), part: 0, at: Timestamp::from_millis(self.seq), event };
            let mut effects = Effects::new();
            self.machine.apply(&record, &mut effects).expect("applies");
            self.updates.push_from(effects);
            self.updates.publish_due(&self.machine);
        }

        fn take_published(&self) -> Vec<String> {
            std::mem::take(&mut *self.published.0.lock().expect("no panic"))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn changes_within_the_wait_are_published_together_and_an_end_at_once() {
        let mut fixture = Fixture::new();
        fixture.submit();
        advance(COALESCE / 2).await;
        fixture.settle("a");
        assert!(fixture.take_published().is_empty() && fixture.updates.due_at().is_some());
        fixture.settle("b");
        assert_eq!(fixture.take_published(), ["succeeded: a succeeded, b succeeded"]);
        assert_eq!(fixture.updates.due_at(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn later_changes_do_not_prolong_the_wait() {
        let mut fixture = Fixture::new();
        fixture.submit();
        let due_at = fixture.updates.due_at().expect("a change waits");
        advance(COALESCE / 2).await;
        fixture.settle("a");
        assert_eq!(fixture.updates.due_at(), Some(due_at), "the first change decides");
        advance(COALESCE / 2).await;
        fixture.updates.publish_due(&fixture.machine);
        assert_eq!(fixture.take_published(), ["running: a succeeded, b running"]);
        fixture.settle("b");
        assert_eq!(fixture.take_published(), ["succeeded: b succeeded"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_stops_publishes_waiting_changes() {
        let mut fixture = Fixture::new();
        fixture.submit();
        fixture.updates.publish_all(&fixture.machine);
        assert_eq!(fixture.take_published(), ["running: a running"]);
        assert_eq!(fixture.updates.due_at(), None);
    }
}
