//! The kill test: `longshore` is killed with kill -9 at a random moment of a run of 50 steps, and the run is resumed.
//!
//! What must come out is what an unbroken run gives: the same outputs, every step once, no run lost. The log says what
//! was recorded before the kill, and the server's own journal says what really happened: a step whose outcome was
//! recorded is never called again, a call that is not safe to repeat is never made twice, and no server outlives its
//! caller. The seed is printed; set `KILL_SEED` to it to see the same moments again.

use std::collections::{BTreeMap, BTreeSet};

use longshore_proto::{RunStatus, RunView, StepStatus};
use longshore_tests::given::given;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::{is_gone, until};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Members of a group, called together.
const WIDTH: usize = 5;
/// Groups in a row. Each is the group, its members, and a step that adds them up; one step more makes 50.
const GROUPS: usize = 7;
/// Calls in all.
const EVERY_CALL: usize = GROUPS * WIDTH + 1;
/// How long a call takes: long enough to be killed in.
const DELAY_MS: u64 = 15;

/// What does not fit into a record, in bytes: records hold 64 KiB at most.
const BULK_BYTES: usize = 70_000;

/// What the steps call.
#[derive(Clone, Copy)]
enum Calls {
    /// A tool that is safe to repeat, and the step says so.
    Safe,
    /// A tool that is not.
    Unsafe,
}

impl Calls {
    /// A step that gives back a number. Some bring along a large value, which travels by reference there and back.
    fn step(self, id: &str, number: &str, has_bulk: bool) -> Value {
        match self {
            Self::Safe => {
                let number = format!("${{{{ {number} }}}}");
                let with = if has_bulk {
                    json!({ "number": number, "bulk": "${{ inputs.bulk }}" })
                } else {
                    json!({ "number": number })
                };
                let retry = json!({ "attempts": 3, "delay": "10ms" });
                json!({ "id": id, "call": "tables/echo", "with": with, "retry": retry })
            }
            Self::Unsafe => {
                let text = format!("${{{{ string({number}) }}}}");
                json!({ "id": id, "call": "tables/note", "with": { "text": text } })
            }
        }
    }

    /// The number that a step gave back.
    fn number_of(self, id: &str) -> String {
        match self {
            Self::Safe => format!("steps.{id}.output.number"),
            Self::Unsafe => format!("int(steps.{id}.output.text)"),
        }
    }

    /// Fifty steps: groups whose sum goes into the next group's members.
    fn workflow(self) -> String {
        let (mut steps, mut before) = (Vec::new(), "1".to_owned());
        for group in 0..GROUPS {
            let ids: Vec<_> = (0..WIDTH).map(|member| format!("call{group}_{member}")).collect();
            let numbered = ids.iter().enumerate();
            let members: Vec<_> =
                numbered.map(|(n, id)| self.step(id, &format!("{before} + {n}"), n == 0)).collect();
            let sum: Vec<_> = ids.iter().map(|id| self.number_of(id)).collect();
            let total = format!("${{{{ {} }}}}", sum.join(" + "));
            steps.push(json!({ "id": format!("group{group}"), "parallel": members }));
            steps.push(json!({ "id": format!("sum{group}"), "set": { "total": total } }));
            before = format!("steps.sum{group}.output.total");
        }
        steps.push(self.step("last", &before, true));
        let inputs = json!({ "bulk": { "default": "x".repeat(BULK_BYTES) } });
        let outputs = json!({ "last": "${{ steps.last.output }}" });
        json!({ "longshore": "v1", "name": "fifty", "inputs": inputs, "steps": steps, "outputs": outputs })
            .to_string()
    }
}

fn scratch(calls: Calls) -> Scratch {
    let scratch = Scratch::with(&calls.workflow(), &json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).slowly(DELAY_MS).entry() }));
    scratch
}

/// The steps whose outcome was recorded at a kill, with how often they had been called.
type Recorded = BTreeMap<String, usize>;

/// Starts `longshore` with these arguments and kills it once the journal has this many lines.
async fn kill_at(scratch: &Scratch, arguments: &[&str], lines: usize) -> Recorded {
    let mut started = scratch.longshore(arguments).start();
    until("the journal has grown, or the run has ended", || {
        scratch.journal().lines() >= lines || !started.is_running()
    })
    .await;
    let ended = started.kill().await;
    assert!(ended.was_killed() || ended.code() == Some(0) || ended.code() == Some(20), "{ended}");
    for pid in scratch.journal().pids() {
        until("the servers of the killed process are gone", || is_gone(pid)).await;
    }
    let history = scratch.history().await;
    assert_eq!(history.runs(), 1, "what was submitted is in the log");
    let begun = scratch.journal().begun();
    history
        .outcomes()
        .map(|(step, _)| (step.to_owned(), begun.get(step).copied().unwrap_or_default()))
        .collect()
}

/// What an unbroken run gives.
async fn reference(calls: Calls) -> (Value, usize) {
    let scratch = scratch(calls);
    let outputs = scratch.run().await.expecting(0).json();
    let run = scratch.newest().await;
    assert_eq!(run.steps.len(), 50);
    assert_eq!(scratch.journal().repeated(), BTreeSet::new());
    (outputs, scratch.journal().calls().len() * 2)
}

#[tokio::test]
async fn a_run_that_is_killed_and_resumed_ends_as_an_unbroken_one() {
    const ROUNDS: usize = 20;
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (outputs, lines) = reference(Calls::Safe).await;
    let (mut repeated, mut broken) = (0, 0);
    for round in 0..ROUNDS {
        let scratch = scratch(Calls::Safe);
        let kills = if random.random_bool(0.3) { 2 } else { 1 };
        let mut moments: Vec<_> = (0..kills).map(|_| random.random_range(1..lines)).collect();
        moments.sort_unstable();
        println!("round {round}: killed at {moments:?} of {lines} lines");

        let mut recorded = Vec::new();
        let mut command = &["run", "workflow.yaml"][..];
        for moment in moments {
            recorded.push(kill_at(&scratch, command, moment).await);
            command = &["resume"];
        }
        broken += usize::from(recorded.iter().any(|recorded| recorded.len() < EVERY_CALL));
        scratch.longshore(["resume"]).run().await.expecting(0);

        let run = scratch.newest().await;
        assert_eq!(run.outputs.as_ref(), Some(&outputs), "round {round}");
        assert_eq!(run.summary.status, RunStatus::Succeeded);
        assert!(
            run.steps.len() == 50 && run.steps.iter().all(|step| step.status == StepStatus::Succeeded),
            "{run:#?}"
        );
        assert_eq!(scratch.longshore(["runs", "list", "--json"]).run().await.json_lines().len(), 1);
        let outcomes = scratch.history().await.outcomes().count();
        assert_eq!(outcomes, EVERY_CALL, "each call has one recorded outcome");
        check_attempts(&scratch, &run);
        repeated += check_repeats(&scratch, &recorded);
    }
    println!("{ROUNDS} rounds, {broken} kills in mid-run, {repeated} calls repeated");
    assert!(broken >= ROUNDS / 2, "most kills come in mid-run");
}

/// Every call that was made is an attempt on record, those that were killed as well.
fn check_attempts(scratch: &Scratch, run: &RunView) {
    let begun = scratch.journal().begun();
    for step in &run.steps {
        let calls = begun.get(step.path.as_str()).copied().unwrap_or_default();
        assert!(step.attempts.len() >= calls, "{calls} calls: {step:#?}");
    }
}

/// Every step was called; those whose outcome a kill found recorded, never again; and no more were repeated than the
/// kills can have caught. Returns how many.
fn check_repeats(scratch: &Scratch, kills: &[Recorded]) -> usize {
    let begun = scratch.journal().begun();
    assert_eq!(begun.len(), EVERY_CALL, "every call was made");
    for recorded in kills {
        for (step, times) in recorded {
            assert_eq!(begun.get(step), Some(times), "{step} was recorded and called again: {recorded:?}");
        }
    }
    let extra: usize = begun.values().map(|times| times - 1).sum();
    assert!(extra <= kills.len() * WIDTH, "{extra} repetitions, and {WIDTH} calls can be caught by a kill");
    extra
}

#[tokio::test]
async fn a_call_that_is_not_safe_is_never_made_twice() {
    const ROUNDS: usize = 10;
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (outputs, lines) = reference(Calls::Unsafe).await;
    let mut doubtful = 0;
    for round in 0..ROUNDS {
        let scratch = scratch(Calls::Unsafe);
        let moment = random.random_range(1..lines);
        println!("round {round}: killed at {moment} of {lines} lines");
        let recorded = kill_at(&scratch, &["run", "workflow.yaml"], moment).await;
        let resumed = scratch.longshore(["resume"]).run().await;

        let (run, begun) = (scratch.newest().await, scratch.journal().begun());
        assert_eq!(scratch.journal().repeated(), BTreeSet::new(), "round {round}");
        check_attempts(&scratch, &run);
        let status = |path: &str| run.steps.iter().find(|step| step.path.as_str() == path).unwrap().status;
        for called in begun.keys() {
            let known = matches!(status(called), StepStatus::Succeeded | StepStatus::Indeterminate);
            assert!(known, "{called} was called and is {}", status(called));
        }
        let in_doubt: BTreeSet<_> = run
            .steps
            .iter()
            .filter(|step| step.status == StepStatus::Indeterminate)
            .map(|step| step.path.as_str())
            .collect();
        assert!(
            in_doubt.iter().all(|path| !recorded.contains_key(*path)),
            "what was recorded is not in doubt"
        );
        if in_doubt.is_empty() {
            assert!(matches!(resumed.code(), Some(0)), "{resumed}");
            assert_eq!((run.summary.status, run.outputs.as_ref()), (RunStatus::Succeeded, Some(&outputs)));
        } else {
            resumed.expecting(20).saying(&["may have"]);
            assert_eq!(run.summary.status, RunStatus::Failed);
        }
        doubtful += in_doubt.len();
    }
    println!("{ROUNDS} rounds, {doubtful} calls in doubt");
    assert!(doubtful > 0, "a kill in mid-call leaves a call in doubt");
}

#[tokio::test]
async fn a_kill_at_the_very_start_leaves_whatever_was_acknowledged_and_a_place_that_works() {
    const ROUNDS: u32 = 12;
    let seed = given("KILL_SEED").unwrap_or_else(rand::random);
    println!("KILL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let acknowledged = |said: &str| said.contains("submitted");

    // The first is killed when it has said that the run is submitted, the others at some moment around that.
    let first = scratch(Calls::Safe);
    let since = Instant::now();
    let started = first.longshore(["run", "workflow.yaml"]).start();
    until("the run is acknowledged", || acknowledged(&started.stderr())).await;
    let usual = since.elapsed();
    started.kill().await;
    // Neither of these sends its jobs again, so neither can lose them.
    let killed = first.newest().await.summary.run;
    first.run().await.expecting(0);
    first.longshore(["resume", "zzz"]).run().await.expecting(5);
    first.longshore(["resume"]).run().await.expecting(0);
    let shown = first.longshore(["runs", "show", &killed.to_string(), "--json"]).run().await.expecting(0);
    let run: RunView = serde_json::from_value(shown.json()).expect("a run");
    assert_eq!(run.summary.status, RunStatus::Succeeded);
    for step in &run.steps {
        let lost = step.attempts.iter().filter(|attempt| attempt.fault.is_some()).count();
        assert!(lost <= 1, "killed once: {step:#?}");
    }

    for _ in 0..ROUNDS {
        let scratch = scratch(Calls::Safe);
        let started = scratch.longshore(["run", "workflow.yaml"]).start();
        tokio::time::sleep(usual.mul_f64(random.random_range(0.0..1.5))).await;
        let killed = started.kill().await;
        let resumed = scratch.longshore(["resume"]).run().await;
        if acknowledged(&killed.stderr) {
            assert!(resumed.code() == Some(0), "{killed}\n{resumed}");
            assert_eq!(scratch.newest().await.summary.status, RunStatus::Succeeded);
        } else {
            // There is no data directory, or nothing in it, or a run that nobody was told of.
            assert!(matches!(resumed.code(), Some(0 | 5)), "{killed}\n{resumed}");
        }
        scratch.run().await.expecting(0);
    }
}
