//! Begin of a step whose turn has come.

use longshore_proto::{
    Attempt, EvaluationNumber, INLINE_LIMIT_BYTES, Output, Payload, RepeatSafety, SecretPlace, StepStatus,
};
use longshore_workflow::{StepIndex, StepKind};
use serde_json::Value;

use super::advance::Progress;
use super::arguments::{Arguments, kept_bytes};
use super::decision::{Decision, Evaluator};
use super::dispatch::dispatch;
use super::step::OutstandingCall;
use super::{Effect, Run, in_doubt};

impl Progress<'_> {
    /// Begins a step, or passes it over. A step whose expressions read large values, give one or take long waits for an
    /// evaluation. Returns false if the budget of the record is exhausted, and the step has to begin with the next record.
    pub(super) fn begin(&mut self, run: &mut Run, index: StepIndex) -> bool {
        let evaluator = Evaluator { run, plan: self.plan, values: &self.values, budget: &self.budget };
        let decided = evaluator.decide(index);
        if self.values.take_missing().is_empty() && !self.budget.is_spent() {
            self.has_evaluated = true;
            match decided {
                Ok(Decision::Call(call)) => {
                    let arguments = Value::Object(call.arguments).to_string();
                    if arguments.len() <= INLINE_LIMIT_BYTES {
                        let arguments = Arguments::Text(arguments.into());
                        self.begin_call(run, index, arguments, (call.secrets, call.own_key));
                        return true;
                    }
                }
                Ok(Decision::Set(value)) => {
                    let bytes = value.to_string().len();
                    if bytes <= INLINE_LIMIT_BYTES {
                        self.begin_set(run, index, Payload::Inline(value), bytes);
                        return true;
                    }
                }
                Ok(Decision::Skip(why)) => {
                    self.skip(run, index, &why);
                    return true;
                }
                Ok(Decision::Group) => {
                    self.begin_group(run, index);
                    return true;
                }
                Err(fault) => {
                    self.fail(run, index, fault);
                    return true;
                }
            }
        } else if self.budget.is_spent() && self.has_evaluated {
            run.frame.put_back(self.plan, index);
            return false;
        }
        self.suspend(run, index);
        true
    }

    /// Lets a step wait for an evaluation.
    fn suspend(&mut self, run: &mut Run, index: StepIndex) {
        let number = run.change(index, |step| {
            step.status = StepStatus::Running;
            let record = step.record_mut();
            record.started_at = Some(self.now);
            record.is_evaluating = true;
            record.evaluation.0 = record.evaluation.0.saturating_add(1);
            record.evaluation
        });
        let number: EvaluationNumber = number.unwrap_or_default();
        self.effects.push(Effect::Evaluate { run: run.id, step: Some(index), number });
    }

    /// Begins the call of a step.
    pub(super) fn begin_call(
        &mut self,
        run: &mut Run,
        index: StepIndex,
        arguments: Arguments,
        (secrets, own_key): (Vec<SecretPlace>, Option<String>),
    ) {
        if let Err(fault) = run.room_for(arguments.bytes_in_state()) {
            return self.fail(run, index, fault);
        }
        let safety = match self.plan.step(index).map(|step| &step.kind) {
            Some(StepKind::Call(call)) => call.safety,
            _ => RepeatSafety::Unknown,
        };
        let needs_grant = safety == RepeatSafety::Unknown;
        let call = OutstandingCall {
            attempt: Attempt::FIRST,
            arguments,
            kept_bytes: kept_bytes(run.frame.steps().len()),
            secrets: secrets.into(),
            own_key: own_key.map(Into::into),
            sent_at: None,
            needs_grant,
            granted: None,
            records_lost: needs_grant && run.records_lost,
            due_at: None,
            sent_again: 0,
            doubt_ends_at: None,
            grace_ends_at: None,
        };
        run.change(index, |state| {
            state.status = StepStatus::Running;
            state.record_mut().started_at.get_or_insert(self.now);
            state.call = Some(Box::new(call));
        });
        if !in_doubt::end_unreported(run, index, self.now) {
            dispatch(run, self.plan, index, self.now, 0, self.effects);
        }
    }

    /// Ends a step that gives a value. `bytes` is its size in the state.
    pub(super) fn begin_set(&self, run: &mut Run, index: StepIndex, value: Payload, bytes: usize) {
        if let Err(fault) = run.room_for(bytes) {
            return self.fail(run, index, fault);
        }
        run.set_bytes += bytes;
        run.change(index, |state| {
            let record = state.record_mut();
            record.started_at.get_or_insert(self.now);
            record.output = Some(Box::new(Output { value, content: None }));
            state.end(StepStatus::Succeeded, None, self.now);
        });
    }

    /// Begins a group, so that its members can begin.
    pub(super) fn begin_group(&self, run: &mut Run, index: StepIndex) {
        let timeout = match self.plan.step(index).map(|step| &step.kind) {
            Some(StepKind::Parallel { timeout, .. }) => *timeout,
            _ => None,
        };
        run.change(index, |state| {
            state.status = StepStatus::Running;
            let record = state.record_mut();
            record.started_at.get_or_insert(self.now);
            record.deadline = timeout.map(|timeout| self.now.plus(timeout));
        });
        run.frame.note_group_began(self.plan, index);
    }

    /// Passes a step over, and with it everything inside.
    pub(super) fn skip(&self, run: &mut Run, index: StepIndex, why: &str) {
        if let Some(StepKind::Parallel { members, .. }) = self.plan.step(index).map(|step| &step.kind) {
            for member in members {
                self.skip(run, *member, why);
            }
        }
        run.change(index, |state| {
            let record = state.record_mut();
            record.started_at = None;
            record.skipped_because = Some(why.into());
            state.end(StepStatus::Skipped, None, self.now);
        });
    }

    /// Ends a step that cannot begin.
    pub(super) fn fail(&self, run: &mut Run, index: StepIndex, fault: longshore_proto::Fault) {
        run.change(index, |state| {
            state.record_mut().started_at.get_or_insert(self.now);
            state.end(StepStatus::Failed, Some(fault), self.now);
        });
    }
}
