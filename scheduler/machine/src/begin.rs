//! Begin of a step whose turn has come: its condition, and what it does.

use longshore_proto::{
    Attempt, Fault, FaultClass, Output, Payload, RepeatSafety, RunStatus, StepStatus, value_type,
};
use longshore_workflow::{CallStep, Condition, Expr, StepIndex, StepKind, Template};
use serde_json::{Map, Value};

use super::advance::Progress;
use super::dispatch::dispatch;
use super::obstacle::{condition_reason, failure_within};
use super::scope::RunScope;
use super::step::OutstandingCall;
use super::{Run, arguments, in_doubt};

/// The longest `idempotency-key`, in bytes. It travels in every job beside arguments that may fill most of a message;
/// services that take such keys allow 255 characters or less.
const KEY_LIMIT_BYTES: usize = 1024;

impl Progress<'_> {
    /// Begins a step, or passes it over.
    pub(super) fn begin(&mut self, run: &mut Run, index: StepIndex) {
        let plan = self.plan;
        let Some(step) = plan.step(index) else { return };
        let decided = self.reason_to_skip(run, step);
        if let Ok(Some(why)) = decided {
            return self.skip(run, index, &why);
        }
        run.change(index, |state| state.record_mut().started_at = Some(self.now));
        let begun = decided.and_then(|_| match &step.kind {
            StepKind::Call(call) => self.call(run, index, call),
            StepKind::Set(values) => self.set(run, index, values),
            StepKind::Parallel { timeout, .. } => {
                run.change(index, |state| {
                    state.status = StepStatus::Running;
                    state.record_mut().deadline = timeout.map(|timeout| self.now.plus(timeout));
                });
                run.frame.note_group_began(plan, index);
                Ok(())
            }
        });
        if let Err(fault) = begun {
            run.change(index, |state| state.end(StepStatus::Failed, Some(fault), self.now));
        }
    }

    /// Returns the reason for which a step is skipped, or `None` if it runs.
    fn reason_to_skip(&self, run: &Run, step: &longshore_workflow::Step) -> Result<Option<String>, Fault> {
        let scope = RunScope { run, plan: self.plan, blobs: self.blobs, group: step.parent };
        let mut around = self.plan.groups_around(step);
        if around.any(|group| run.step(group).is_some_and(|group| group.stopped)) {
            return Ok(Some("its group was stopped".to_owned()));
        }
        let holds = |expr: &Expr| {
            let holds = expr.evaluate_condition(&scope, &self.budget).map_err(expression_fault)?;
            Ok(if holds { None } else { Some(condition_reason(expr)) })
        };
        match &step.condition {
            Condition::Success => Ok(self.obstacle(run, step)),
            Condition::SuccessAnd(expr) => match self.obstacle(run, step) {
                None => holds(expr),
                obstacle => Ok(obstacle),
            },
            Condition::Explicit(expr) => holds(expr),
        }
    }

    /// Returns the reason for which a step does not run that needs success before it.
    fn obstacle(&self, run: &Run, step: &longshore_workflow::Step) -> Option<String> {
        if run.status == RunStatus::Cancelling {
            return Some("the run was cancelled".to_owned());
        }
        failure_within(run, self.plan, step.parent).map(|failure| failure.to_string())
    }

    /// Passes a step over, and with it everything inside.
    fn skip(&self, run: &mut Run, index: StepIndex, why: &str) {
        if let Some(StepKind::Parallel { members, .. }) = self.plan.step(index).map(|step| &step.kind) {
            for member in members {
                self.skip(run, *member, why);
            }
        }
        run.change(index, |state| {
            state.record_mut().skipped_because = Some(why.into());
            state.end(StepStatus::Skipped, None, self.now);
        });
    }

    fn set(&self, run: &mut Run, index: StepIndex, values: &Template) -> Result<(), Fault> {
        let value = self.render(run, index, values)?;
        let bytes = value.to_string().len();
        run.room_for(bytes)?;
        run.set_bytes += bytes;
        run.change(index, |state| {
            state.record_mut().output =
                Some(Box::new(Output { value: Payload::Inline(value), content: None }));
            state.end(StepStatus::Succeeded, None, self.now);
        });
        Ok(())
    }

    fn call(&mut self, run: &mut Run, index: StepIndex, call: &CallStep) -> Result<(), Fault> {
        let outstanding = self.prepare(run, index, call)?;
        run.room_for(outstanding.arguments.len())?;
        run.change(index, |state| {
            state.status = StepStatus::Running;
            state.call = Some(Box::new(outstanding));
        });
        if !in_doubt::end_unreported(run, index, self.now) {
            dispatch(run, self.plan, index, self.now, 0, self.effects);
        }
        Ok(())
    }

    /// Renders what every attempt of the step will send.
    fn prepare(&self, run: &Run, index: StepIndex, call: &CallStep) -> Result<OutstandingCall, Fault> {
        let scope = self.scope(run, index);
        let rendered = call.with.render_arguments(&scope, &self.budget, &|input| self.plan.is_secret(input));
        let (rendered, secrets) = rendered.map_err(expression_fault)?;
        let arguments = match rendered {
            Value::Object(arguments) => arguments,
            Value::Null => Map::new(),
            other => {
                let problem = format!("`with` gives {}, and a tool takes an object", value_type(&other));
                return Err(Fault::new(FaultClass::Expression, problem));
            }
        };
        let own_key = call.idempotency_key.as_ref().map(|key| self.own_key(run, index, key)).transpose()?;
        let needs_grant = call.safety == RepeatSafety::Unknown;
        Ok(OutstandingCall {
            attempt: Attempt::FIRST,
            // A value that was rendered always has a text.
            arguments: Value::Object(arguments).to_string().into(),
            kept_bytes: arguments::kept_bytes(run.frame.steps().len()),
            secrets: secrets.into(),
            own_key,
            sent_at: None,
            needs_grant,
            granted: None,
            records_lost: needs_grant && run.records_lost,
            due_at: None,
            sent_again: 0,
            doubt_ends_at: None,
            grace_ends_at: None,
        })
    }

    /// Renders the idempotency key that a step defines.
    fn own_key(&self, run: &Run, index: StepIndex, template: &Template) -> Result<Box<str>, Fault> {
        let problem = match self.render(run, index, template)? {
            Value::String(key) if key.len() > KEY_LIMIT_BYTES => {
                let bytes = key.len();
                format!("`idempotency-key` gives {bytes} bytes; at most {KEY_LIMIT_BYTES} can be sent along")
            }
            Value::String(key) if !key.is_empty() => return Ok(key.into()),
            other => format!("`idempotency-key` gives {}, and must give text", value_type(&other)),
        };
        Err(Fault::new(FaultClass::Expression, problem))
    }

    fn render(&self, run: &Run, index: StepIndex, template: &Template) -> Result<Value, Fault> {
        template.render(&self.scope(run, index), &self.budget).map_err(expression_fault)
    }

    /// Returns the scope of a step's expressions.
    fn scope<'r>(&'r self, run: &'r Run, index: StepIndex) -> RunScope<'r> {
        let group = self.plan.step(index).and_then(|step| step.parent);
        RunScope { run, plan: self.plan, blobs: self.blobs, group }
    }
}

fn expression_fault(error: longshore_workflow::EvalError) -> Fault {
    Fault::new(FaultClass::Expression, error.to_string())
}
