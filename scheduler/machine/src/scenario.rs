//! Scenarios as text: a workflow, inputs, and the expected effects.
//!
//! A script has one line for each input: `input -> effects`. A line may begin with its time, `@90s`, counted from the submit;
//! otherwise the time does not change. [`check`] runs the script and compares all lines, so a failure shows the whole script
//! with the difference.

mod events;
mod grants;
mod order;
mod recovery;
mod retry;
mod stop;
mod values;
mod work;

use std::sync::Arc;
use std::time::Duration;

use longshore_proto::{
    AttemptRecord, Digest, Evaluation, EvaluationNumber, Event, Fault, FaultClass, Grant, GrantDecision,
    INLINE_LIMIT_BYTES, Job, Namespace, Partition, Payload, Record, Retention, RunId, Seq, Signal, StepPath,
    Timestamp,
};
use longshore_workflow::{Plan, compile};
use serde_json::{Map, Value};

use super::{Effect, Effects, EvaluationOutcome, LargeValues, Machine};
use events::{delivery_id, duration, job_id, large, settled, timer_text};
pub(super) use events::{leader, submitted};

/// A machine that leads, one run, and the log it reads.
pub(super) struct Scenario {
    pub(super) machine: Machine,
    pub(super) plan: Arc<Plan>,
    pub(super) run: RunId,
    pub(super) log: Vec<Record>,
    pub(super) jobs: Vec<Job>,
    /// Large values that were kept.
    values: Vec<(Digest, Arc<Value>)>,
    /// Events that the machine wants appended.
    appended: Vec<Event>,
    at: Timestamp,
}

/// Time of the submit.
const START: Timestamp = Timestamp::from_millis(1_000_000);

/// Duration of every attempt.
const TOOK: Duration = Duration::from_millis(5);

/// Runs a script over a workflow, and compares the effects of every line.
pub(super) fn check(workflow: &str, script: &str) {
    let mut scenario = Scenario::of(workflow);
    let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    let (mut expected, mut actual) = (String::new(), String::new());
    for line in lines {
        let (input, then) = line.split_once(" ->").expect("a line is `input -> what follows`");
        expected += &format!("{} -> {}\n", input.trim(), then.trim());
        actual += &format!("{} -> {}\n", input.trim(), scenario.input(input.trim()));
    }
    assert_eq!(actual, expected, "\n--- what happened:\n{actual}\n--- what was expected:\n{expected}");
}

impl Scenario {
    pub(super) fn of(workflow: &str) -> Self {
        Self::with_text(&format!("longshore: v1\nname: scenario\n{workflow}"))
    }

    pub(super) fn with_text(text: &str) -> Self {
        let plan = Arc::new(compile(text).unwrap_or_else(|problems| panic!("{problems}")));
        let mut machine = Machine::new();
        machine.provide_plan(plan.digest, Ok(Arc::clone(&plan)));
        let run = RunId::new(Partition(0), START, 1);
        let mut scenario = Self {
            machine,
            plan,
            run,
            log: Vec::new(),
            jobs: Vec::new(),
            values: Vec::new(),
            appended: Vec::new(),
            at: START,
        };
        scenario.record(leader(false));
        scenario
    }

    /// Performs one line of a script, and returns its effects as text.
    pub(super) fn input(&mut self, line: &str) -> String {
        let (moment, input) = match line.strip_prefix('@').and_then(|rest| rest.split_once(' ')) {
            Some((moment, input)) => (Some(moment), input),
            None => (None, line),
        };
        if let Some(moment) = moment {
            self.at = START.plus(duration(moment));
        }
        let (word, rest) = input.split_once(' ').unwrap_or((input, ""));
        match word {
            "submit" => self.record(submitted(self.run, &self.plan, rest)),
            "start" | "return" => {
                let (job, delivery) = rest.split_once(" by ").expect("a job and a delivery");
                let (job, delivery) = (job_id(self.run, job), delivery_id(delivery));
                self.record(match word {
                    "start" => Event::Starting { job, delivery },
                    _ => Event::Returned { job, delivery },
                })
            }
            "settle" => {
                let (rest, unreported_by) = match rest.split_once(" after no report") {
                    Some((rest, of)) => {
                        (rest, Some(of.strip_prefix(" of ").map(|of| of.parse().expect("a node"))))
                    }
                    None => (rest, None),
                };
                let mut event = settled(self.run, rest, self.at);
                if let Event::Settled { unreported, unreported_worker, .. } = &mut event {
                    (*unreported, *unreported_worker) = (unreported_by.is_some(), unreported_by.flatten());
                }
                self.record(event)
            }
            "cancel" => {
                let reason = if rest.is_empty() { "test" } else { rest };
                let signal = Signal::Cancel { reason: reason.to_owned() };
                self.record(Event::Signalled { run: self.run, namespace: Namespace::default(), signal })
            }
            "terminate" => {
                let signal = Signal::Terminate { reason: rest.to_owned() };
                self.record(Event::Signalled { run: self.run, namespace: Namespace::default(), signal })
            }
            "lead" => {
                let mut event = leader(rest == "with its jobs lost");
                if let Event::LeaderAnnounced { records_lost, .. } = &mut event {
                    *records_lost = rest == "with records lost";
                }
                self.record(event)
            }
            "tick" => {
                let ahead = rest.strip_prefix("by a clock ahead by ").map(duration);
                self.tick(self.at.plus(ahead.unwrap_or_default()))
            }
            "resume" => {
                let mut effects = self.machine.resume();
                effects.extend(self.machine.jobs_to_send().flat_map(|job| self.machine.send_job(&job.id)));
                self.describe(effects)
            }
            "restart" => self.restart(),
            "quarantine" => self.record(Event::Quarantined { run: self.run, reason: rest.to_owned() }),
            "complete" => self.machine.is_complete().to_string(),
            "forget" => {
                self.machine.provide_plan(self.plan.digest, Err("the plan is no plan any more".to_owned()));
                "nothing".to_owned()
            }
            "keep" => {
                let (name, value) = rest.split_once(' ').expect("a name and a value");
                let value = serde_json::from_str(value).expect("a value is JSON");
                self.values.push((large(name), Arc::new(value)));
                "nothing".to_owned()
            }
            "evaluate" => {
                let (step, number) = rest.rsplit_once('#').expect("step#number");
                self.evaluate(step, EvaluationNumber(number.parse().expect("a number")))
            }
            "lose" => {
                self.values.retain(|(digest, _)| *digest != large(rest));
                "nothing".to_owned()
            }
            "again" => {
                let event = self.log.last().expect("a record").event.clone();
                self.record(event)
            }
            "lost" => self.record(Event::NotCalled { job: job_id(self.run, rest) }),
            "sent" => self.record(Event::Resumed { run: self.run }),
            "continue" => self.record(Event::Continued { run: self.run }),
            "retain" => {
                let (runs, time) = rest.split_once(" runs for ").expect("a number and a time");
                let retention = Retention { runs: runs.parse().expect("a number"), time: duration(time) };
                self.record(Event::Configured { retention })
            }
            "status" => self.status(rest),
            "reason" => {
                self.machine.view(self.run).and_then(|view| view.summary.cancel_reason).unwrap_or_default()
            }
            "skipped" => {
                let steps = self.machine.view(self.run).map(|view| view.steps).unwrap_or_default();
                let step = steps.into_iter().find(|step| step.path.as_str() == rest);
                step.and_then(|step| step.skipped_because).unwrap_or_default()
            }
            "attempts" => self.attempts(rest),
            other => panic!("no such input: {other}"),
        }
    }

    /// Appends an event to the log, and applies it.
    pub(super) fn record(&mut self, event: Event) -> String {
        let seq = Seq(self.log.len() as u64 + 1);
        let record = Record { seq, part: 0, at: self.at, event };
        self.log.push(record.clone());
        let mut effects = Effects::new();
        match self.machine.apply(&record, &mut effects) {
            Ok(()) => {
                let mut lines = self.describe(effects);
                for event in std::mem::take(&mut self.appended) {
                    lines = format!("{lines}, {}", self.record(event));
                }
                lines
            }
            Err(refused) => format!("refused: {refused}"),
        }
    }

    /// Ticks the machine, and appends the events that it asks for.
    fn tick(&mut self, clock: Timestamp) -> String {
        let mut effects = Effects::new();
        self.machine.tick(clock, &mut effects);
        let mut lines = Vec::new();
        for effect in effects {
            let Effect::Append(event) = effect else { panic!("a tick only appends: {effect:?}") };
            if let Event::Fired { timer, .. } = &event {
                lines.push(format!("fired {}", timer_text(timer)));
            }
            let then = self.record(event);
            if then != "nothing" {
                lines.push(then);
            }
        }
        if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") }
    }

    /// Stores the state, and continues with the restored one.
    fn restart(&mut self) -> String {
        let drained = self.machine.take_unsaved(true).expect("drains");
        let live: Vec<_> = drained
            .changed
            .into_iter()
            .filter(|(summary, _)| !summary.status.is_terminal())
            .map(|(summary, state)| (summary.run, state))
            .collect();
        self.machine = Machine::restore(&drained.partition, &live, &[]).expect("restores");
        assert_eq!(self.machine.missing_plans().is_empty(), live.is_empty());
        self.machine.provide_plan(self.plan.digest, Ok(Arc::clone(&self.plan)));
        self.machine.join_plans();
        "nothing".to_owned()
    }

    /// Evaluates as a leader does, with the values that were kept, and appends the result.
    fn evaluate(&mut self, step: &str, number: EvaluationNumber) -> String {
        let index = (step != "outputs").then(|| self.plan.find_id(step).expect("a step"));
        let Some(pending) = self.machine.pending_evaluation(self.run, index, number) else {
            return "not awaited".to_owned();
        };
        let mut values = LargeValues::default();
        for (digest, value) in &self.values {
            values.insert(*digest, Arc::clone(value));
        }
        let mut stored = |value: Value| {
            let text = value.to_string();
            if text.len() <= INLINE_LIMIT_BYTES {
                return Payload::Inline(value);
            }
            let digest = Digest::of(text.as_bytes());
            self.values.push((digest, Arc::new(value)));
            Payload::Blob { digest, bytes: text.len() as u64 }
        };
        let result = match pending.evaluate(&values) {
            EvaluationOutcome::Needs(_) => {
                Evaluation::Fault { fault: Fault::new(FaultClass::ValueLost, "it is gone") }
            }
            EvaluationOutcome::Call { arguments, secrets, own_key } => {
                let arguments = Value::Object(arguments);
                let shown = pending.shown(arguments.to_string());
                Evaluation::Call { arguments: stored(arguments), shown, secrets, own_key }
            }
            EvaluationOutcome::Value(value) => Evaluation::Value { value: stored(value) },
            EvaluationOutcome::Done(result) => result,
        };
        self.record(Event::Evaluated { run: self.run, step: pending.step(), number, result })
    }

    /// Returns the statuses of the steps.
    fn status(&self, steps: &str) -> String {
        let view = self.machine.view(self.run).expect("the run is known");
        let wanted = |path: &StepPath| steps.is_empty() || steps.split(' ').any(|name| name == path.as_str());
        let steps: Vec<_> = view
            .steps
            .iter()
            .filter(|step| wanted(&step.path))
            .map(|step| format!("{} {}", step.path, step.status))
            .collect();
        steps.join(", ")
    }

    /// Returns the attempts of a step: number, duration, fault, and the worker if it is known.
    fn attempts(&self, step: &str) -> String {
        let view = self.machine.view(self.run).expect("the run is known");
        let step = view.steps.iter().find(|one| one.path.as_str() == step).expect("a step");
        let words = step.attempts.iter().map(|AttemptRecord { number, took, fault, worker, .. }| {
            let went = fault.as_ref().map_or("output", |fault| fault.class.as_str());
            let by = worker.as_ref().map(|worker| format!(" by {worker}")).unwrap_or_default();
            format!("#{number} {}ms {went}{by}", took.as_millis())
        });
        let words: Vec<String> = words.collect();
        if words.is_empty() { "none".to_owned() } else { words.join(", ") }
    }

    fn describe(&mut self, effects: Effects) -> String {
        let mut lines = Vec::new();
        for effect in effects {
            match effect {
                Effect::Dispatch { job, .. } => {
                    let arguments = match &job.arguments {
                        Payload::Inline(Value::Object(arguments)) if arguments.is_empty() => String::new(),
                        Payload::Inline(arguments) => format!(" {arguments}"),
                        Payload::Blob { .. } => " (blob)".to_owned(),
                    };
                    lines.push(format!("dispatch {}#{}{arguments}", job.id.step, job.id.attempt));
                    self.jobs.push(*job);
                }
                Effect::Grant(Grant { job, delivery, decision }) => {
                    let verb = if decision == GrantDecision::Granted { "grant" } else { "deny" };
                    lines.push(format!("{verb} {}#{} to {delivery}", job.step, job.attempt));
                }
                Effect::Evaluate { step, number, .. } => {
                    let step = step.and_then(|index| self.plan.step(index)).map(|step| step.path.to_string());
                    lines.push(format!(
                        "evaluate {}#{}",
                        step.unwrap_or_else(|| "outputs".to_owned()),
                        number.0
                    ));
                }
                Effect::Append(event @ Event::Continued { .. }) => {
                    lines.push("continued".to_owned());
                    self.appended.push(event);
                }
                Effect::Recall(job) => lines.push(format!("recall {}#{}", job.step, job.attempt)),
                Effect::Append(Event::Signalled { signal: Signal::Cancel { .. }, .. }) => {
                    lines.push("append cancel".to_owned())
                }
                Effect::Append(Event::Quarantined { reason, .. }) => {
                    lines.push(format!("append quarantine: {reason}"))
                }
                Effect::Append(event) => lines.push(format!("append {event:?}")),
                Effect::Changed(change) => {
                    let view = self.machine.view(change.run).expect("what has changed can be seen");
                    if view.summary.status.is_terminal() {
                        lines.push(ending(&view));
                    }
                }
            }
        }
        if lines.is_empty() { "nothing".to_owned() } else { lines.join(", ") }
    }
}

fn ending(view: &longshore_proto::RunView) -> String {
    match (&view.outputs, &view.summary.error, &view.summary.failed_step) {
        (Some(outputs), _, _) if outputs.as_object().is_some_and(Map::is_empty) => "succeeded".to_owned(),
        (Some(outputs), _, _) => format!("succeeded {outputs}"),
        (None, Some(fault), Some(step)) => format!("{} at {step}: {fault}", view.summary.status),
        (None, Some(fault), None) => format!("{}: {fault}", view.summary.status),
        (None, None, _) => view.summary.status.to_string(),
    }
}
