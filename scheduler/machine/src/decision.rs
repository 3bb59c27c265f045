//! Decisions of steps whose turn has come: what a step does, by its condition and its expressions.
//!
//! A decision is made while a record is applied, or by a leader that fetched large values; see [`evaluate`](super::evaluate).

use longshore_proto::{Fault, FaultClass, RunStatus, SecretPlace, value_type};
use longshore_workflow::{CallStep, Condition, Expr, Plan, Step, StepIndex, StepKind, Template, WorkBudget};
use serde_json::{Map, Value};

use super::Run;
use super::obstacle::{condition_reason, failure_within};
use super::scope::{LargeValues, RunScope};

/// The longest `idempotency-key`, in bytes. It travels in every job beside arguments that may fill most of a message;
/// services that take such keys allow 255 characters or less.
const KEY_LIMIT_BYTES: usize = 1024;

/// The action of a step whose turn has come.
pub(super) enum Decision {
    /// The step is skipped, for a reason.
    Skip(String),
    /// The step calls its tool.
    Call(RenderedCall),
    /// The step gives a value.
    Set(Value),
    /// The step is a group, and begins.
    Group,
}

/// The content of every attempt of a call.
pub(super) struct RenderedCall {
    pub(super) arguments: Map<String, Value>,
    pub(super) secrets: Vec<SecretPlace>,
    pub(super) own_key: Option<String>,
}

/// The state and the values that decide.
pub(super) struct Evaluator<'a> {
    pub(super) run: &'a Run,
    pub(super) plan: &'a Plan,
    pub(super) values: &'a LargeValues,
    pub(super) budget: &'a WorkBudget,
}

impl Evaluator<'_> {
    /// Decides what a step does.
    pub(super) fn decide(&self, index: StepIndex) -> Result<Decision, Fault> {
        let internal = || Fault::new(FaultClass::Internal, "its plan has no such step");
        let step = self.plan.step(index).ok_or_else(internal)?;
        if let Some(why) = self.reason_to_skip(step)? {
            return Ok(Decision::Skip(why));
        }
        match &step.kind {
            StepKind::Call(call) => self.call(step, call).map(Decision::Call),
            StepKind::Set(values) => self.render(step, values).map(Decision::Set),
            StepKind::Parallel { .. } => Ok(Decision::Group),
        }
    }

    /// Renders the outputs of the run.
    pub(super) fn outputs(&self) -> Result<Value, Fault> {
        let scope = self.scope(None);
        let mut outputs = Map::new();
        let mut broken = None;
        for (name, template) in &self.plan.outputs {
            match template.render_optional(&scope, self.budget) {
                Ok(value) => outputs.extend(value.map(|value| (name.clone(), value))),
                Err(error) => {
                    let problem = format!("output `{name}`: {error}");
                    broken.get_or_insert_with(|| Fault::new(FaultClass::Expression, problem));
                }
            }
        }
        broken.map_or(Ok(Value::Object(outputs)), Err)
    }

    /// Returns the reason for which a step is skipped, or `None` if it runs.
    fn reason_to_skip(&self, step: &Step) -> Result<Option<String>, Fault> {
        let mut around = self.plan.groups_around(step);
        if around.any(|group| self.run.step(group).is_some_and(|group| group.stopped)) {
            return Ok(Some("its group was stopped".to_owned()));
        }
        let holds = |expr: &Expr| {
            let holds =
                expr.evaluate_condition(&self.scope(step.parent), self.budget).map_err(expression_fault)?;
            Ok(if holds { None } else { Some(condition_reason(expr)) })
        };
        match &step.condition {
            Condition::Success => Ok(self.obstacle(step)),
            Condition::SuccessAnd(expr) => match self.obstacle(step) {
                None => holds(expr),
                obstacle => Ok(obstacle),
            },
            Condition::Explicit(expr) => holds(expr),
        }
    }

    /// Returns the reason for which a step does not run that needs success before it.
    fn obstacle(&self, step: &Step) -> Option<String> {
        if self.run.status == RunStatus::Cancelling {
            return Some("the run was cancelled".to_owned());
        }
        failure_within(self.run, self.plan, step.parent).map(|failure| failure.to_string())
    }

    /// Renders what every attempt of a call will send.
    fn call(&self, step: &Step, call: &CallStep) -> Result<RenderedCall, Fault> {
        let is_secret = |input: &str| self.plan.is_secret(input);
        let rendered = call.with.render_arguments(&self.scope(step.parent), self.budget, &is_secret);
        let (rendered, secrets) = rendered.map_err(expression_fault)?;
        let arguments = match rendered {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            other => {
                let problem = format!("`with` gives {}, and a tool takes an object", value_type(&other));
                return Err(Fault::new(FaultClass::Expression, problem));
            }
        };
        let own_key = call.idempotency_key.as_ref().map(|key| self.own_key(step, key)).transpose()?;
        Ok(RenderedCall { arguments, secrets, own_key })
    }

    /// Renders the idempotency key that a step defines.
    fn own_key(&self, step: &Step, template: &Template) -> Result<String, Fault> {
        let problem = match self.render(step, template)? {
            Value::String(key) if key.len() > KEY_LIMIT_BYTES => {
                let bytes = key.len();
                format!("`idempotency-key` gives {bytes} bytes; at most {KEY_LIMIT_BYTES} can be sent along")
            }
            Value::String(key) if key.is_empty() => "`idempotency-key` gives an empty text".to_owned(),
            Value::String(key) => return Ok(key),
            other => format!("`idempotency-key` gives {}, and must give text", value_type(&other)),
        };
        Err(Fault::new(FaultClass::Expression, problem))
    }

    fn render(&self, step: &Step, template: &Template) -> Result<Value, Fault> {
        template.render(&self.scope(step.parent), self.budget).map_err(expression_fault)
    }

    /// Returns the scope of the expressions in a group, or at the top.
    fn scope(&self, group: Option<StepIndex>) -> RunScope<'_> {
        RunScope { run: self.run, plan: self.plan, values: self.values, group }
    }
}

fn expression_fault(error: longshore_workflow::EvalError) -> Fault {
    Fault::new(FaultClass::Expression, error.to_string())
}
