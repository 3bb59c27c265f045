//! Progress of a run: starts and ends of its steps, and its own end.
//!
//! Visits the steps until none can start or end: a step starts when all steps before it have ended, a group ends when its
//! members have ended, and a run ends when its steps have ended. Called after every change of a run.
//!
//! Reports of workers are applied by [`settle`](super::settle), cancels and deadlines by [`stop`](super::stop).

use longshore_proto::{
    Fault, FaultClass, Job, Payload, RepeatSafety, RunStatus, StepStatus, TimerKind, Timestamp, value_type,
};
use longshore_workflow::{CallStep, Condition, Expr, Plan, StepIndex, StepKind, Template, WorkBudget};
use serde_json::{Map, Value};

use super::failure::{first_failed, note_failure};
use super::obstacle::{condition_reason, failure_within};
use super::run::{OutstandingCall, RunError};
use super::scope::{BlobValues, RunScope};
use super::{Effect, Effects, Run, in_doubt, record, timers};

/// Calls of one run that may be out at once. One run cannot fill the queue, and a group of a thousand still goes
/// out in a few waves.
pub(super) const WINDOW: usize = 256;

/// The longest `idempotency-key`, in bytes. It travels in every job beside arguments that may fill most of a message;
/// services that take such keys allow 255 characters or less.
const KEY_LIMIT_BYTES: usize = 1024;

/// Begins and ends whatever can. Called once for each record, so its budget is that of the record.
pub(super) fn advance(run: &mut Run, plan: &Plan, blobs: &BlobValues, now: Timestamp, effects: &mut Effects) {
    let mut cursor = Cursor { plan, blobs, now, effects, budget: WorkBudget::new() };
    // Every pass that changes something ends or begins a step, so there are at most two passes a step.
    while cursor.pass(run) {}
    if run.steps.iter().all(|step| step.status.is_terminal()) {
        cursor.finish(run);
    } else if run.error.is_some() && run.status == RunStatus::Running {
        run.status = RunStatus::Failing;
    }
}

struct Cursor<'a> {
    plan: &'a Plan,
    blobs: &'a BlobValues,
    now: Timestamp,
    effects: &'a mut Effects,
    /// Shared by all expressions that this record makes the run evaluate.
    budget: WorkBudget,
}

impl Cursor<'_> {
    /// Goes over all steps once; true if anything changed.
    fn pass(&mut self, run: &mut Run) -> bool {
        let mut changed = false;
        let mut room = WINDOW.saturating_sub(run.outstanding());
        for (number, step) in self.plan.steps.iter().enumerate() {
            let index = StepIndex(number);
            let Some(status) = run.step(index).map(|state| state.status) else { continue };
            match (&step.kind, status) {
                (StepKind::Parallel { members, .. }, StepStatus::Running) => {
                    changed |= self.end_group(run, index, members);
                }
                (kind, StepStatus::Pending) if is_ready(run, step) => {
                    let is_call = matches!(kind, StepKind::Call(_));
                    if is_call && room == 0 {
                        continue;
                    }
                    self.begin(run, index, step);
                    changed = true;
                    room -= usize::from(is_call && run.step(index).is_some_and(|state| state.call.is_some()));
                }
                _ => {}
            }
        }
        changed
    }

    /// Begins a step whose turn has come, or passes it over.
    fn begin(&mut self, run: &mut Run, index: StepIndex, step: &longshore_workflow::Step) {
        let decided = self.wanted(run, step);
        if let Some(state) = run.step_mut(index) {
            state.started_at = Some(self.now);
        }
        match decided {
            Ok(None) => match &step.kind {
                StepKind::Call(call) => self.call(run, index, call),
                StepKind::Set(values) => self.set(run, index, values),
                StepKind::Parallel { members, timeout } => {
                    if let Some(timeout) = timeout {
                        let kind = TimerKind::Step { step: step.path.clone() };
                        run.timers.insert(kind, self.now.plus(*timeout));
                    }
                    if let Some(state) = run.step_mut(index) {
                        state.status = StepStatus::Running;
                    }
                    debug_assert!(!members.is_empty(), "the language refuses empty groups");
                }
            },
            Ok(Some(why)) => self.skip(run, index, &why),
            Err(fault) => self.end(run, index, StepStatus::Failed, Some(fault)),
        }
    }

    /// Returns the reason for which a step is skipped, or `None` if it runs.
    fn wanted(&self, run: &Run, step: &longshore_workflow::Step) -> Result<Option<String>, Fault> {
        let scope = RunScope { run, plan: self.plan, blobs: self.blobs, group: step.parent };
        let stopped_above =
            groups_above(self.plan, step).any(|group| run.step(group).is_some_and(|g| g.stopped));
        if stopped_above {
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
    fn skip(&mut self, run: &mut Run, index: StepIndex, why: &str) {
        if let Some(StepKind::Parallel { members, .. }) = self.plan.step(index).map(|step| &step.kind) {
            for member in members {
                self.skip(run, *member, why);
            }
        }
        if let Some(state) = run.step_mut(index) {
            state.started_at = None;
            state.skipped_because = Some(why.to_owned());
            state.end(StepStatus::Skipped, self.now);
        }
    }

    fn set(&mut self, run: &mut Run, index: StepIndex, values: &Template) {
        let rendered = self.render(run, index, values);
        let sized = rendered.map(|value| (size(&value), value));
        match sized.and_then(|(bytes, value)| run.room_for(bytes).map(|()| (bytes, value))) {
            Ok((bytes, value)) => {
                run.set_bytes += bytes;
                if let Some(state) = run.step_mut(index) {
                    state.output =
                        Some(longshore_proto::Output { value: Payload::Inline(value), content: None });
                    state.end(StepStatus::Succeeded, self.now);
                }
            }
            Err(fault) => self.end(run, index, StepStatus::Failed, Some(fault)),
        }
    }

    fn call(&mut self, run: &mut Run, index: StepIndex, call: &CallStep) {
        let prepared = self.prepare(run, index, call);
        match prepared.and_then(|call| run.room_for(call.bytes).map(|()| call)) {
            Ok(outstanding) => {
                let steps = run.steps.len();
                if let Some(state) = run.step_mut(index) {
                    state.status = StepStatus::Running;
                    state.arguments = Some(record::kept(&outstanding.arguments, outstanding.bytes, steps));
                    state.call = Some(outstanding);
                }
                if in_doubt::end_unreported(run, self.plan, index, self.now) {
                    return;
                }
                dispatch(run, self.plan, index, self.now, 0, self.effects);
            }
            Err(fault) => self.end(run, index, StepStatus::Failed, Some(fault)),
        }
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
        let own_key = match &call.idempotency_key {
            None => None,
            Some(template) => Some(match self.render(run, index, template)? {
                Value::String(key) if key.len() > KEY_LIMIT_BYTES => {
                    let bytes = key.len();
                    let problem = format!(
                        "`idempotency-key` gives {bytes} bytes; at most {KEY_LIMIT_BYTES} can be sent along"
                    );
                    return Err(Fault::new(FaultClass::Expression, problem));
                }
                Value::String(key) if !key.is_empty() => key,
                other => {
                    let problem =
                        format!("`idempotency-key` gives {}, and must give text", value_type(&other));
                    return Err(Fault::new(FaultClass::Expression, problem));
                }
            }),
        };
        let bytes = size(&arguments);
        let attempt = longshore_proto::Attempt::FIRST;
        let needs_grant = call.safety == RepeatSafety::Unknown;
        Ok(OutstandingCall {
            attempt,
            arguments,
            secrets,
            own_key,
            bytes,
            sent_at: None,
            needs_grant,
            granted: None,
            records_lost: needs_grant && run.records_lost,
        })
    }

    fn render(&self, run: &Run, index: StepIndex, template: &Template) -> Result<Value, Fault> {
        template.render(&self.scope(run, index), &self.budget).map_err(expression_fault)
    }

    /// Returns the scope of a step's expressions.
    fn scope<'r>(&'r self, run: &'r Run, index: StepIndex) -> RunScope<'r> {
        let group = self.plan.step(index).and_then(|step| step.parent);
        RunScope { run, plan: self.plan, blobs: self.blobs, group }
    }

    /// Ends a group whose members have all ended; true if it did.
    fn end_group(&mut self, run: &mut Run, index: StepIndex, members: &[StepIndex]) -> bool {
        if !members.iter().all(|member| run.step(*member).is_some_and(|state| state.status.is_terminal())) {
            return false;
        }
        let Some(group) = run.step(index) else { return false };
        let (path, out_of_time) = (group.path.clone(), group.error.clone());
        let failed = first_failed(run, self.plan, members);
        let cancelled =
            members.iter().any(|m| run.step(*m).is_some_and(|s| s.status == StepStatus::Cancelled));
        run.timers.remove(&TimerKind::Step { step: path });
        if let Some(fault) = out_of_time {
            self.end(run, index, StepStatus::Failed, Some(fault));
        } else if let Some(state) = failed.and_then(|member| run.step(member)) {
            let fault = Fault::of_member(&state.path, state.error.as_ref());
            self.end(run, index, StepStatus::Failed, Some(fault));
        } else if cancelled {
            self.end(run, index, StepStatus::Cancelled, None);
        } else {
            self.end(run, index, StepStatus::Succeeded, None);
        }
        true
    }

    fn end(&mut self, run: &mut Run, index: StepIndex, status: StepStatus, fault: Option<Fault>) {
        if let Some(state) = run.step_mut(index) {
            state.end(status, self.now);
            state.error = fault;
        }
        note_failure(run, self.plan, index);
    }

    /// Ends a run whose steps have all ended.
    fn finish(&mut self, run: &mut Run) {
        let scope = RunScope { run, plan: self.plan, blobs: self.blobs, group: None };
        let mut outputs = Map::new();
        let mut broken = None;
        if run.error.is_none() && run.status != RunStatus::Cancelling {
            for (name, template) in &self.plan.outputs {
                match template.render_optional(&scope, &self.budget) {
                    Ok(value) => outputs.extend(value.map(|value| (name.clone(), value))),
                    Err(error) => {
                        let problem = format!("output `{name}`: {error}");
                        broken.get_or_insert_with(|| Fault::new(FaultClass::Expression, problem));
                    }
                }
            }
        }
        if let Some(fault) = broken {
            run.error = Some(RunError { fault, step: None });
        }
        run.status = match (&run.error, run.status) {
            (_, RunStatus::Cancelling) => RunStatus::Cancelled,
            (Some(_), _) => RunStatus::Failed,
            (None, _) => {
                run.outputs = Some(Value::Object(outputs));
                RunStatus::Succeeded
            }
        };
        run.finished_at = Some(self.now);
        run.timers.clear();
    }
}

/// Sends the job of a running step, and sets the timer that sends it again if no report arrives.
pub(super) fn dispatch(
    run: &mut Run,
    plan: &Plan,
    index: StepIndex,
    now: Timestamp,
    sent: u32,
    effects: &mut Effects,
) {
    let Some(effect) = dispatch_effect(run, plan, index) else { return };
    let Effect::Dispatch { job, .. } = &effect else { return };
    let kind = TimerKind::Lost { step: job.id.step.clone(), attempt: job.id.attempt, sent };
    run.timers.insert(kind, now.plus(timers::lost_timeout(job, sent)));
    if let Some(call) = run.step_mut(index).and_then(|step| step.call.as_mut()) {
        call.sent_at = Some(now);
    }
    effects.push(effect);
}

/// Returns the effect that sends the job of a running step.
pub(super) fn dispatch_effect(run: &Run, plan: &Plan, index: StepIndex) -> Option<Effect> {
    let outstanding = run.step(index)?.call.as_ref()?;
    // States of earlier versions do not have the size.
    let argument_bytes =
        if outstanding.bytes == 0 { size(&outstanding.arguments) } else { outstanding.bytes };
    let job = Box::new(job(run, plan, index)?);
    Some(Effect::Dispatch { job, argument_bytes })
}

/// Returns the job of a running step, from the state and the plan.
pub(super) fn job(run: &Run, plan: &Plan, index: StepIndex) -> Option<Job> {
    let StepKind::Call(call) = &plan.step(index)?.kind else { return None };
    let outstanding = run.step(index)?.call.as_ref()?;
    let id = run.job_id(index)?;
    let derived = || format!("{}/{}", id.run, id.step);
    Some(Job {
        idempotency_key: outstanding.own_key.clone().unwrap_or_else(derived),
        id,
        submitted_at: run.submitted_at,
        namespace: run.namespace.clone(),
        workflow: run.workflow.name.clone(),
        server: call.server.clone(),
        tool: call.tool.clone(),
        arguments: Payload::Inline(Value::Object(outstanding.arguments.clone())),
        secrets: outstanding.secrets.clone(),
        timeout: call.timeout,
        max_timeout: call.max_timeout,
        retry: call.retry.clone(),
        safety: call.safety,
        own_key: outstanding.own_key.is_some(),
        on_tool_error: call.on_tool_error,
        keep_content: call.keep_content,
        trace: run.trace.clone(),
    })
}

/// Returns true if all steps before a step have ended and its group has started.
fn is_ready(run: &Run, step: &longshore_workflow::Step) -> bool {
    let begun =
        step.parent.is_none_or(|group| run.step(group).is_some_and(|g| g.status == StepStatus::Running));
    begun && step.after.iter().all(|before| run.step(*before).is_some_and(|state| state.status.is_terminal()))
}

/// Returns the groups around a step, from the inside out.
pub(super) fn groups_above<'a>(
    plan: &'a Plan,
    step: &longshore_workflow::Step,
) -> impl Iterator<Item = StepIndex> + use<'a> {
    std::iter::successors(step.parent, |group| plan.step(*group).and_then(|step| step.parent))
}

/// Returns the size of a value as JSON text, in bytes.
fn size(value: &impl serde::Serialize) -> usize {
    /// Counts what is written to it.
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither a JSON value nor a counter can fail; if they did, the value would count for what was written.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn expression_fault(error: longshore_workflow::EvalError) -> Fault {
    Fault::new(FaultClass::Expression, error.to_string())
}
