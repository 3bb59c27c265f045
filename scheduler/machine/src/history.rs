//! Random histories: the same log gives the same state, however it is replayed.
//!
//! Some plans are fixed, others are random. A history is made by a machine that leads, with workers that report at random, people who cancel, clocks that jump, and
//! leaders that change; some events are appended together, as parts of one entry. The resulting log is replayed: straight, with
//! every record twice, and through a stored state at every position between entries.

mod plans;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use longshore_proto::{
    AttemptRecord, DeliveryId, Digest, Evaluation, EvaluationNumber, Event, Fault, FaultClass, Grant,
    GrantDecision, Job, JobId, Namespace, Outcome, Output, Partition, Payload, Record, RunId, Sent, Seq,
    Settlement, Signal, Timestamp,
};
use longshore_workflow::{Plan, StepIndex};
use proptest::prelude::*;
use serde_json::json;

use super::scenario::{leader, submitted};
use super::{Effect, Effects, EvaluationOutcome, KnownPlan, LargeValues, Machine, RecordIgnored, Run};

/// One input of a history.
#[derive(Clone, Debug)]
enum HistoryInput {
    Submit(usize),
    Settle {
        which: usize,
        how: u8,
        n: i64,
    },
    /// A delivery of a job asks for a grant.
    Start {
        which: usize,
        delivery: u64,
    },
    /// A leader ends an evaluation; the values that it reads may be lost.
    Evaluate {
        which: usize,
        is_lost: bool,
    },
    Cancel(usize),
    Wait(u64),
    Lead,
    Repeat(usize),
    /// Further events are appended together, or one by one again.
    Together(bool),
}

fn history_input() -> impl Strategy<Value = HistoryInput> {
    prop_oneof![
        2 => (0..plans::COUNT).prop_map(HistoryInput::Submit),
        12 => (any::<usize>(), any::<u8>(), 0_i64..6).prop_map(|(which, how, n)| HistoryInput::Settle { which, how, n }),
        6 => (any::<usize>(), 0_u64..3).prop_map(|(which, delivery)| HistoryInput::Start { which, delivery }),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_lost)| HistoryInput::Evaluate { which, is_lost }),
        1 => any::<usize>().prop_map(HistoryInput::Cancel),
        3 => (0_u64..120_000).prop_map(HistoryInput::Wait),
        1 => Just(HistoryInput::Lead),
        2 => any::<usize>().prop_map(HistoryInput::Repeat),
        3 => any::<bool>().prop_map(HistoryInput::Together),
    ]
}

fn machine(plans: &[Arc<Plan>]) -> Machine {
    let mut machine = Machine::new();
    teach(&mut machine, plans);
    machine
}

fn teach(machine: &mut Machine, plans: &[Arc<Plan>]) {
    for plan in plans {
        machine.provide_plan(plan.digest, Ok(Arc::clone(plan)));
    }
}

/// A leader, its workers, and the log of a history.
struct World {
    machine: Machine,
    log: Vec<Record>,
    out: Vec<Job>,
    runs: Vec<RunId>,
    /// Evaluations that were asked for and have not ended.
    evaluations: Vec<(RunId, Option<StepIndex>, EvaluationNumber)>,
    /// The delivery that was granted each job.
    granted: BTreeMap<JobId, DeliveryId>,
    now: Timestamp,
    together: bool,
}

impl World {
    /// Returns the position of the next event: in an entry of its own, or in the last entry.
    fn place(&self, event: &Event) -> (Seq, u32) {
        let is_leader = |event: &Event| matches!(event, Event::LeaderAnnounced { .. });
        match self.log.last() {
            None => (Seq(1), 0),
            Some(last)
                if self.together && last.at == self.now && !is_leader(&last.event) && !is_leader(event) =>
            {
                (last.seq, last.part + 1)
            }
            Some(last) => (last.seq.next(), 0),
        }
    }

    fn append(&mut self, event: Event) {
        let (seq, part) = self.place(&event);
        let record = Record { seq, part, at: self.now, event };
        self.log.push(record.clone());
        let mut effects = Effects::new();
        let taken = self.machine.apply(&record, &mut effects);
        assert_ne!(taken, Err(RecordIgnored::Unprepared));
        for effect in effects {
            match effect {
                Effect::Dispatch { job, .. } => {
                    self.out.retain(|out| out.id != job.id);
                    self.out.push(*job);
                }
                Effect::Append(event) => panic!("only ticks append: {event:?}"),
                Effect::Evaluate { run, step, number } => self.evaluations.push((run, step, number)),
                Effect::Grant(grant) => self.note_decision(grant),
                Effect::Recall(_) | Effect::Changed(_) => {}
            }
        }
    }

    /// Notes which delivery was granted a job, and checks that no other one was.
    fn note_decision(&mut self, grant: Grant) {
        if grant.decision == GrantDecision::Granted {
            let granted = self.granted.entry(grant.job.clone()).or_insert_with(|| grant.delivery.clone());
            assert_eq!(*granted, grant.delivery, "{} was granted twice", grant.job.step);
        }
    }

    /// Evaluates as a leader does, if the state still waits for it.
    fn evaluate(&mut self, (run, step, number): (RunId, Option<StepIndex>, EvaluationNumber), is_lost: bool) {
        let Some(pending) = self.machine.pending_evaluation(run, step, number) else { return };
        let mut values = LargeValues::default();
        if !is_lost {
            (0..6).for_each(|n| values.insert(large(n), Arc::new(json!({ "n": n }))));
        }
        let result = match pending.evaluate(&values) {
            EvaluationOutcome::Needs(_) => {
                Evaluation::Fault { fault: Fault::new(FaultClass::ValueLost, "test") }
            }
            EvaluationOutcome::Call { arguments, secrets, own_key } => {
                let arguments = Payload::Inline(arguments.into());
                Evaluation::Call { arguments, shown: String::new(), secrets, own_key }
            }
            EvaluationOutcome::Value(value) => Evaluation::Value { value: value.into() },
            EvaluationOutcome::Done(result) => result,
        };
        self.append(Event::Evaluated { run, step: pending.step(), number, result });
    }

    fn tick(&mut self) {
        let mut effects = Effects::new();
        self.machine.tick(self.now, &mut effects);
        for effect in effects {
            if let Effect::Append(event) = effect {
                self.append(event);
            }
        }
    }

    fn perform(&mut self, what: &HistoryInput, plans: &[Arc<Plan>]) {
        match what {
            HistoryInput::Submit(plan) => {
                let run = RunId::new(Partition(0), self.now, self.runs.len() as u128);
                self.runs.push(run);
                self.append(submitted(run, &plans[*plan], ""));
            }
            HistoryInput::Settle { which, how, n } if !self.out.is_empty() => {
                let job = self.out.swap_remove(which % self.out.len());
                let event = answer(&job, *how, *n, self.now);
                self.append(event);
            }
            HistoryInput::Start { which, delivery } if !self.out.is_empty() => {
                let job = self.out[which % self.out.len()].id.clone();
                let delivery = DeliveryId { worker: "worker".parse().expect("a node"), number: *delivery };
                self.append(Event::Starting { job, delivery });
            }
            HistoryInput::Evaluate { which, is_lost } if !self.evaluations.is_empty() => {
                let evaluation = self.evaluations.swap_remove(which % self.evaluations.len());
                self.evaluate(evaluation, *is_lost);
            }
            HistoryInput::Cancel(which) if !self.runs.is_empty() => {
                let run = self.runs[which % self.runs.len()];
                let reason = "test".to_owned();
                let is_hard = which.is_multiple_of(4);
                let signal = if is_hard { Signal::Terminate { reason } } else { Signal::Cancel { reason } };
                self.append(Event::Signalled { run, namespace: Namespace::default(), signal });
            }
            HistoryInput::Wait(millis) => {
                self.now = self.now.plus(Duration::from_millis(*millis));
                self.tick();
            }
            HistoryInput::Lead => self.append(leader(self.log.len().is_multiple_of(2))),
            HistoryInput::Repeat(which) if !self.log.is_empty() => {
                let event = self.log[which % self.log.len()].event.clone();
                if !matches!(event, Event::LeaderAnnounced { .. }) {
                    self.append(event);
                }
            }
            HistoryInput::Together(together) => self.together = *together,
            HistoryInput::Start { .. }
            | HistoryInput::Evaluate { .. }
            | HistoryInput::Settle { .. }
            | HistoryInput::Cancel(_)
            | HistoryInput::Repeat(_) => {}
        }
    }
}

/// Returns the address of the large value with a number.
fn large(n: i64) -> Digest {
    Digest::of(&n.to_be_bytes())
}

/// Returns a random report of a job.
fn answer(job: &Job, how: u8, n: i64, at: Timestamp) -> Event {
    let fault = Fault::new(FaultClass::Unavailable, "test");
    let settlement = match how % 8 {
        0 => Settlement::Done(Outcome::Fault(fault.clone())),
        1 => Settlement::Done(Outcome::Indeterminate(fault.clone())),
        2 | 3 => Settlement::Again { at: at.plus(Duration::from_secs(5)), fault: fault.clone() },
        4 => {
            let value = Payload::Blob { digest: large(n), bytes: 100_000 };
            Settlement::Done(Outcome::Output(Output { value, content: None }))
        }
        _ => {
            let value = Payload::Inline(json!({ "n": n }));
            Settlement::Done(Outcome::Output(Output { value, content: None }))
        }
    };
    let took = Duration::from_millis(1);
    let attempt = AttemptRecord {
        number: job.id.attempt,
        started_at: at,
        took,
        fault: Some(fault),
        sent: Sent::Maybe,
        worker: None,
        process: None,
        masked: Vec::new(),
        rounded: None,
    };
    Event::Settled {
        job: job.id.clone(),
        settlement,
        attempts: vec![attempt],
        worker: "worker".parse().expect("a node"),
        unreported: false,
        unreported_worker: None,
    }
}

fn history(inputs: &[HistoryInput], plans: &[Arc<Plan>]) -> World {
    let now = Timestamp::from_millis(1_000_000);
    let (machine, together) = (machine(plans), false);
    let mut world = World {
        machine,
        log: Vec::new(),
        out: Vec::new(),
        runs: Vec::new(),
        evaluations: Vec::new(),
        granted: BTreeMap::new(),
        now,
        together,
    };
    world.append(leader(false));
    for what in inputs {
        world.perform(what, plans);
    }
    world
}

/// Returns the state that determines effects: two machines with the same one have the same effects for any record. What is
/// derived from it has to follow from it.
fn state(machine: &Machine) -> (Timestamp, Vec<Run>, Vec<(RunId, Timestamp)>) {
    for run in machine.live.values() {
        if let Some(KnownPlan::Plan(plan, _)) = machine.plans.get(&run.outline.workflow.digest) {
            assert!(run.frame.is_consistent(plan), "the counters of {} do not follow from its steps", run.id);
        }
    }
    let live = machine.live.values().map(|run| Run::clone(run)).collect();
    (machine.now, live, machine.finished.iter().map(|(run, at)| (*run, *at)).collect())
}

fn outstanding(machine: &Machine) -> Vec<JobId> {
    machine.jobs_to_send().map(|job| job.id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn the_same_log_gives_the_same_state(seed: u64, inputs in prop::collection::vec(history_input(), 1..80)) {
        let plans = plans::all(seed);
        let world = history(&inputs, &plans);
        let mut again = machine(&plans);
        for record in &world.log {
            let _ = again.apply(record, &mut Effects::new());
        }
        prop_assert_eq!(state(&again), state(&world.machine));
    }

    #[test]
    fn every_record_twice_gives_the_same_runs(seed: u64, inputs in prop::collection::vec(history_input(), 1..60)) {
        let plans = plans::all(seed);
        let world = history(&inputs, &plans);
        let mut again = machine(&plans);
        let (mut seq, mut epochs) = (0, BTreeMap::new());
        for record in &world.log {
            // A leader's own announcement is written once; what it writes about itself names the new place.
            let times = if matches!(record.event, Event::LeaderAnnounced { .. }) { 1 } else { 2 };
            let mut event = record.event.clone();
            if let Event::Fired { epoch, .. } = &mut event {
                *epoch = epochs.get(epoch).copied().unwrap_or(*epoch);
            }
            for _ in 0..times {
                seq += 1;
                let _ = again.apply(&Record { seq: Seq(seq), part: 0, at: record.at, event: event.clone() }, &mut Effects::new());
            }
            if matches!(record.event, Event::LeaderAnnounced { .. }) {
                epochs.insert(longshore_proto::Epoch(record.seq), longshore_proto::Epoch(Seq(seq)));
            }
        }
        prop_assert_eq!(state(&again), state(&world.machine));
    }

    #[test]
    fn a_stored_state_at_any_place_goes_on_as_if_nothing_had_been(
        seed: u64,
        inputs in prop::collection::vec(history_input(), 1..40),
    ) {
        let plans = plans::all(seed);
        let world = history(&inputs, &plans);
        // What is stored counts as having applied whole entries.
        for place in (0..world.log.len()).filter(|place| world.log[*place].part == 0) {
            let mut first = machine(&plans);
            for record in &world.log[..place] {
                let _ = first.apply(record, &mut Effects::new());
            }
            let out = outstanding(&first);
            let finished: Vec<_> = first.finished.iter().map(|(run, at)| (*run, *at)).collect();
            let drained = first.take_unsaved(true).expect("drains");
            let live: Vec<_> = drained
                .changed
                .into_iter()
                .filter(|(summary, _)| !summary.status.is_terminal())
                .map(|(summary, bytes)| (summary.run, bytes))
                .collect();
            let mut second = Machine::restore(&drained.partition, &live, &finished).expect("restores");
            teach(&mut second, &plans);
            second.join_plans();
            prop_assert_eq!(outstanding(&second), out);
            for record in &world.log[place..] {
                let _ = second.apply(record, &mut Effects::new());
            }
            prop_assert_eq!(state(&second), state(&world.machine));
        }
    }

    #[test]
    fn every_job_in_the_queue_is_in_the_state_and_every_run_ends(
        seed: u64,
        inputs in prop::collection::vec(history_input(), 1..80),
    ) {
        let plans = plans::all(seed);
        let mut world = history(&inputs, &plans);
        let mut expected: Vec<_> = outstanding(&world.machine);
        expected.retain(|id| !world.out.iter().any(|job| job.id == *id));
        // A job whose answer was lost on the way (taken from `out` and refused) is the only one missing from it.
        for id in expected {
            let answered = world.log.iter().any(|record| match &record.event {
                Event::Settled { job, .. } => *job == id,
                _ => false,
            });
            prop_assert!(answered, "{id} is in the state and was never sent");
        }
        // Everybody answers well from here on, and time passes.
        for _ in 0..2_000 {
            if world.machine.live_run_count() == 0 {
                break;
            }
            for effect in world.machine.resume() {
                if let Effect::Evaluate { run, step, number } = effect {
                    world.evaluate((run, step, number), false);
                }
            }
            match outstanding(&world.machine).into_iter().next() {
                Some(id) => {
                    let sent = world.machine.send_job(&id);
                    let job = sent.into_iter().find_map(|effect| match effect {
                        Effect::Dispatch { job, .. } => Some(*job),
                        _ => None,
                    });
                    let event = answer(&job.expect("it was just listed"), 7, 5, world.now);
                    world.append(event);
                }
                None => {
                    world.now = world.now.plus(Duration::from_secs(60));
                    world.tick();
                }
            }
        }
        prop_assert_eq!(world.machine.live_run_count(), 0);
    }
}
