//! Evaluations outside the log: steps, and outputs of runs, whose expressions read large values, give one or take long.
//!
//! While a record is applied, no value is fetched and nothing takes long. Such a step is suspended; the leader evaluates it
//! on another thread, and appends [`Event::Evaluated`](longshore_proto::Event::Evaluated). So a replay needs neither the values nor
//! the computation, and a value that is lost later changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use longshore_proto::{
    Digest, Evaluation, EvaluationNumber, Fault, Payload, RunId, SecretPlace, StepPath, Timestamp,
};
use longshore_workflow::{Plan, StepIndex, WorkBudget};
use serde_json::{Map, Value};

use super::advance::Progress;
use super::arguments::{self, Arguments};
use super::decision::{Decision, Evaluator};
use super::reads::values_read;
use super::scope::LargeValues;
use super::{Effects, KnownPlan, Machine, RecordIgnored, Run};

/// An evaluation that the state waits for. It holds copies of what the expressions read.
pub struct PendingEvaluation {
    plan: Arc<Plan>,
    run: Box<Run>,
    step: Option<StepIndex>,
    number: EvaluationNumber,
}

/// The outcome of an evaluation, before large values are stored.
#[derive(Debug)]
pub enum EvaluationOutcome {
    /// Large values are missing: provide them, and evaluate again.
    Needs(BTreeSet<Digest>),
    /// The step calls its tool.
    Call {
        /// The arguments.
        arguments: Map<String, Value>,
        /// Places of secrets in the arguments.
        secrets: Vec<SecretPlace>,
        /// Idempotency key that the step defines.
        own_key: Option<String>,
    },
    /// The value of a `set` step, or the outputs of the run.
    Value(Value),
    /// Anything else, which has no large value.
    Done(Evaluation),
}

impl PendingEvaluation {
    /// Returns the run.
    pub fn run(&self) -> RunId {
        self.run.id
    }

    /// Returns the path of the step; `None` for the outputs of the run.
    pub fn step(&self) -> Option<StepPath> {
        self.run.path(self.step?).cloned()
    }

    /// Returns the number of the evaluation.
    pub const fn number(&self) -> EvaluationNumber {
        self.number
    }

    /// Evaluates with the large values that are known.
    pub fn evaluate(&self, values: &LargeValues) -> EvaluationOutcome {
        let budget = WorkBudget::new();
        let evaluator = Evaluator { run: &self.run, plan: &self.plan, values, budget: &budget };
        let decided = match self.step {
            Some(index) => evaluator.decide(index),
            None => evaluator.outputs().map(Decision::Set),
        };
        let missing = values.take_missing();
        if !missing.is_empty() {
            return EvaluationOutcome::Needs(missing);
        }
        match decided {
            Ok(Decision::Skip(reason)) => EvaluationOutcome::Done(Evaluation::Skip { reason }),
            Ok(Decision::Group) => EvaluationOutcome::Done(Evaluation::Group),
            Ok(Decision::Set(value)) => EvaluationOutcome::Value(value),
            Ok(Decision::Call(call)) => EvaluationOutcome::Call {
                arguments: call.arguments,
                secrets: call.secrets,
                own_key: call.own_key,
            },
            Err(fault) => EvaluationOutcome::Done(Evaluation::Fault { fault }),
        }
    }

    /// Returns the part of arguments that is shown, as JSON text.
    pub fn shown(&self, arguments: String) -> String {
        arguments::kept(arguments.into(), arguments::kept_bytes(self.run.frame.steps().len())).into()
    }

    /// Returns the size of a large value that the evaluation reads, in bytes. `None` if the run has no such value.
    pub fn bytes_of(&self, digest: Digest) -> Option<u64> {
        let of = |payload: &Payload| match payload {
            Payload::Blob { digest: found, bytes } if *found == digest => Some(*bytes),
            _ => None,
        };
        let outputs = self.run.frame.steps().iter().filter_map(|step| step.output());
        let values = outputs.flat_map(|output| std::iter::once(&output.value).chain(&output.content));
        std::iter::once(&self.run.inputs).chain(values).find_map(of)
    }
}

impl Machine {
    /// Returns an evaluation that the state waits for. `None` if it no longer does.
    pub fn pending_evaluation(
        &self,
        run: RunId,
        step: Option<StepIndex>,
        number: EvaluationNumber,
    ) -> Option<PendingEvaluation> {
        let run = self.live.get(&run)?;
        let KnownPlan::Plan(plan, _) = self.plans.get(&run.outline.workflow.digest)? else { return None };
        if !run.is_evaluating(step, number) {
            return None;
        }
        let read = values_read(plan, step);
        Some(PendingEvaluation { plan: Arc::clone(plan), run: Box::new(run.with_only(&read)), step, number })
    }
}

impl Run {
    /// Returns true if a step, or the outputs of the run, wait for an evaluation.
    pub(super) fn is_evaluating(&self, step: Option<StepIndex>, number: EvaluationNumber) -> bool {
        match step {
            Some(index) => self.step(index).and_then(|step| step.pending_evaluation_number()) == Some(number),
            None => self.evaluation == Some(number),
        }
    }
}

/// Applies the result of an evaluation.
pub(super) fn apply(
    run: &mut Run,
    plan: &Plan,
    (step, number): (Option<&StepPath>, EvaluationNumber),
    result: &Evaluation,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), RecordIgnored> {
    let index = match step {
        Some(path) => Some(plan.find(path).ok_or(RecordIgnored::UnknownStep)?),
        None => None,
    };
    if !run.is_evaluating(index, number) {
        return Err(RecordIgnored::NotAwaited);
    }
    let mut progress = Progress::new(plan, now, effects);
    let Some(index) = index else {
        run.evaluation = None;
        progress.end_run(run, outputs(result));
        return Ok(());
    };
    run.change(index, |step| step.record_mut().is_evaluating = false);
    match result {
        Evaluation::Skip { reason } => progress.skip(run, index, reason),
        Evaluation::Group => progress.begin_group(run, index),
        Evaluation::Call { arguments, shown, secrets, own_key } => {
            let arguments = Arguments::of(arguments, shown);
            progress.begin_call(run, index, arguments, (secrets.clone(), own_key.clone()));
        }
        Evaluation::Value { value } => progress.begin_set(run, index, value.clone(), bytes_in_state(value)),
        Evaluation::Fault { fault } => progress.fail(run, index, fault.clone()),
    }
    Ok(())
}

/// Returns the outputs of a run, or the fault.
fn outputs(result: &Evaluation) -> Result<Payload, Fault> {
    match result {
        Evaluation::Value { value } => Ok(value.clone()),
        Evaluation::Fault { fault } => Err(fault.clone()),
        Evaluation::Skip { .. } | Evaluation::Group | Evaluation::Call { .. } => Ok(Payload::NULL),
    }
}

/// Returns the bytes that a value takes in the state, as JSON text.
fn bytes_in_state(value: &Payload) -> usize {
    match value {
        Payload::Inline(value) => value.to_string().len(),
        Payload::Blob { .. } => 0,
    }
}
