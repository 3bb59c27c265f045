//! Golden logs: logs as an earlier version wrote them, and the states that follow from their records.
//!
//! Each folder of `golden/` has
//!
//! - `workflow.yaml`, the workflow of its run;
//! - `script.txt`, the inputs of a [scenario](super::scenario) that gives the log, for people and to record it;
//! - `log.txt`, the log: for each record its sequence, its time in milliseconds, and the bytes of the event in hexadecimal;
//! - `states.txt`, the digest of the state after each record, and the last state as text.
//!
//! A log of a user gives the same states with every later version, so the files of a folder are never changed. A rule that changes
//! gets a [number](longshore_proto::Semantics) of its own; a new field is left out of the text of a state while it has its default.
//! A new folder needs the first two files: the tests record the others once, and fail until they are read and committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use longshore_proto::{Digest, EventKind, Record, RunId, Seq, Timestamp, decode_events, encode_event};
use longshore_workflow::{Plan, load};
use serde_json::{Value, json};

use super::scenario::Scenario;
use super::{Effect, Effects, Machine};

/// A folder of `golden/`.
struct Golden {
    folder: PathBuf,
}

impl Golden {
    fn all() -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let entries = fs::read_dir(&root).expect("the folder");
        let mut folders: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        folders.sort();
        assert!(folders.len() >= 8, "{} has the golden logs", root.display());
        folders.into_iter().map(|folder| Self { folder }).collect()
    }

    fn read(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::new(load(&self.read("workflow.yaml")).unwrap_or_else(|problems| panic!("{problems}")))
    }

    fn log(&self) -> Vec<Record> {
        self.read("log.txt").lines().map(record).collect()
    }

    /// Records the log of a new folder. Returns false if it is recorded already.
    fn record(&self) -> bool {
        if self.folder.join("log.txt").exists() {
            return false;
        }
        let mut scenario = Scenario::with_text(&self.read("workflow.yaml"));
        for line in self.read("script.txt").lines().filter(|line| !line.is_empty()) {
            println!("{line} -> {}", scenario.input(line));
        }
        let line = |record: &Record| {
            let bytes = encode_event(&record.event).expect("encodes");
            format!("{} {} {}\n", record.seq, record.at.as_millis(), hex::encode(bytes))
        };
        fs::write(self.folder.join("log.txt"), scenario.log.iter().map(line).collect::<String>())
            .expect("writes");
        fs::write(self.folder.join("states.txt"), self.states(|_| false)).expect("writes");
        true
    }

    /// Compares the states of the log with those that are kept.
    #[track_caller]
    fn check(&self, restarts: impl Fn(Seq) -> bool, problem: &str) {
        let (found, kept) = (self.states(restarts), self.read("states.txt"));
        let differ = found.lines().zip(kept.lines()).find(|(found, kept)| found != kept);
        assert!(found == kept, "{}: {problem}: (found, kept) is first {differ:?}", self.folder.display());
    }

    /// Applies the log and returns the states as text. After each record for which `restarts` is true, the state is stored and
    /// restored, unless the run has ended: an ended run is not restored.
    fn states(&self, restarts: impl Fn(Seq) -> bool) -> String {
        let plan = self.plan();
        let mut machine = Machine::new();
        machine.provide_plan(plan.digest, Ok(Arc::clone(&plan)));
        let (mut states, mut last, mut runs) = (String::new(), Value::Null, BTreeSet::new());
        for record in self.log() {
            // A refused record leaves the state as it is.
            let _ = machine.apply(&record, &mut Effects::new());
            runs.extend(record.event.run());
            if restarts(record.seq) && machine.live_run_count() > 0 {
                machine = restored(&mut machine, &plan);
            }
            let state = state(&machine, &runs);
            states += &format!("{} {}\n", record.seq, Digest::of(state.to_string().as_bytes()));
            last = state;
        }
        states + &format!("{last:#}\n")
    }
}

fn record(line: &str) -> Record {
    let [seq, at, bytes] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("three parts: {line}") };
    let bytes = hex::decode(bytes).expect("hexadecimal");
    let [Ok(event)] = <[_; 1]>::try_from(decode_events(&bytes)).expect("one event") else {
        panic!("an earlier version wrote it: {line}")
    };
    let at = Timestamp::from_millis(at.parse().expect("milliseconds"));
    Record { seq: Seq(seq.parse().expect("a sequence")), part: 0, at, event }
}

/// Returns the state as it shows itself: the runs, what a new leader would do, and the next timer.
fn state(machine: &Machine, runs: &BTreeSet<RunId>) -> Value {
    let sent = machine.jobs_to_send().flat_map(|job| machine.send_job(&job.id));
    let effects = machine.resume().into_iter().chain(sent).map(|effect| match effect {
        Effect::Append(event) => json!({ "append": event }),
        Effect::Dispatch { job, .. } => json!({ "dispatch": job }),
        Effect::Grant(grant) => json!({ "grant": grant }),
        Effect::Evaluate { run, step, number } => {
            json!({ "evaluate": [run, step.map(|index| index.0), number] })
        }
        Effect::Recall(job) => json!({ "recall": job }),
        Effect::Changed(change) => panic!("not derived from a state: {change:?}"),
    });
    let effects: Vec<Value> = effects.collect();
    let views: Vec<_> = runs.iter().filter_map(|run| machine.view(*run)).collect();
    json!({
        "runs": views, "effects": effects, "wake_at": machine.wake_at(), "live": machine.live_run_count(),
        "retention": machine.retention(),
    })
}

/// Stores the state of the live runs, and returns a machine that continues with it.
fn restored(machine: &mut Machine, plan: &Arc<Plan>) -> Machine {
    let unsaved = machine.take_unsaved(true).expect("encodes");
    let live = unsaved.changed.into_iter().filter(|(summary, _)| !summary.status.is_terminal());
    let live: Vec<_> = live.map(|(summary, state)| (summary.run, state)).collect();
    let mut restored = Machine::restore(&unsaved.partition, &live, &[]).expect("restores");
    restored.provide_plan(plan.digest, Ok(Arc::clone(plan)));
    restored.join_plans();
    restored
}

#[test]
fn logs_of_earlier_versions_give_the_same_states() {
    let recorded: Vec<_> =
        Golden::all().into_iter().filter(Golden::record).map(|golden| golden.folder).collect();
    assert!(recorded.is_empty(), "recorded now; read and commit them: {recorded:#?}");
    for golden in Golden::all() {
        golden.check(|_| false, "the states differ");
    }
}

#[test]
fn logs_of_earlier_versions_give_the_same_states_after_a_restart_at_any_record() {
    for golden in Golden::all() {
        for at in golden.log() {
            golden.check(|seq| seq == at.seq, &format!("the states differ after a restart at {}", at.seq));
        }
    }
}

#[test]
fn golden_logs_have_every_kind_of_event() {
    let logs: Vec<_> = Golden::all().into_iter().flat_map(|golden| golden.log()).collect();
    for kind in EventKind::ALL {
        assert!(logs.iter().any(|record| record.event.kind() == kind), "{kind:?}");
    }
}
