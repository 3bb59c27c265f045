//! The last pass of the compiler: builds the plan from a draft without problems.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use longshore_proto::{Digest, MAX_TIMEOUT_FACTOR, RepeatSafety, RetryPolicy, StepPath};

use crate::draft::{CallDraft, StepDraft, StepKindDraft, WorkflowDraft};
use crate::expr::{Expr, ReadSet, StepField};
use crate::graph::StepGraph;
use crate::plan::{CallStep, Condition, Plan, Step, StepIndex, StepKind};

/// The default of `timeout`, if neither the step nor `defaults` has one. Most tools answer within seconds, and common MCP
/// clients give up after a minute.
pub const DEFAULT_CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Builds the plan. Returns `None` if a part of the draft was refused.
pub(crate) fn assemble(draft: WorkflowDraft, graph: StepGraph, digest: Digest) -> Option<Plan> {
    let reads_content = reads_content(&draft);
    let defaults = CallDefaults {
        timeout: draft.default_timeout.unwrap_or(DEFAULT_CALL_TIMEOUT),
        retry: draft.default_retry.over(RetryPolicy::default()),
    };
    let steps = draft.steps.into_iter().zip(graph.after).enumerate().map(|(number, (step, after))| {
        let keep_content = step.id().is_some_and(|id| reads_content.contains(id));
        self::step(step, number, after, &defaults, keep_content)
    });
    let plan = Plan {
        steps: steps.collect::<Option<_>>()?,
        name: draft.name?,
        digest,
        description: draft.description,
        labels: draft.labels,
        inputs: draft.inputs,
        timeout: draft.timeout,
        outputs: draft.outputs,
        by_path: BTreeMap::new(),
    };
    Some(plan.linked())
}

/// The settings of calls without settings of their own.
struct CallDefaults {
    timeout: Duration,
    retry: RetryPolicy,
}

fn step(
    draft: StepDraft,
    number: usize,
    after: Vec<usize>,
    defaults: &CallDefaults,
    keep_content: bool,
) -> Option<Step> {
    let kind = match draft.kind {
        StepKindDraft::Call(call) => StepKind::Call(Box::new(self::call(*call, defaults, keep_content))),
        StepKindDraft::Set(template) => StepKind::Set(template),
        StepKindDraft::Parallel { members, timeout } => {
            StepKind::Parallel { members: members.into_iter().map(StepIndex).collect(), timeout }
        }
        StepKindDraft::Refused => return None,
    };
    let path = draft.id.map_or_else(|| format!("#{}", number + 1), |id| id.value);
    Some(Step {
        path: path.parse::<StepPath>().ok()?,
        name: draft.name,
        parent: draft.parent.map(StepIndex),
        after: after.into_iter().map(StepIndex).collect(),
        followers: Vec::new(),
        condition: condition(draft.condition.map(|condition| condition.value)),
        kind,
        continue_on_error: draft.continue_on_error,
    })
}

fn condition(expr: Option<Expr>) -> Condition {
    match expr {
        None => Condition::Success,
        Some(expr) if expr.reads().status => Condition::Explicit(expr),
        Some(expr) => Condition::SuccessAnd(expr),
    }
}

fn call(draft: CallDraft, defaults: &CallDefaults, keep_content: bool) -> CallStep {
    // Only the step's own settings make it safe: the author of `defaults` did not consider this tool.
    let retries = draft.retry.as_ref().map(|retry| retry.over(defaults.retry.clone()));
    let asks_for_retries = retries.as_ref().is_some_and(|retry| retry.attempts > 1);
    let safety = if asks_for_retries || draft.idempotency_key.is_some() {
        RepeatSafety::Safe
    } else {
        RepeatSafety::Unknown
    };
    let timeout = draft.timeout.unwrap_or(defaults.timeout);
    let default_max_timeout = timeout.saturating_mul(MAX_TIMEOUT_FACTOR);
    CallStep {
        server: draft.server,
        tool: draft.tool,
        with: draft.with,
        timeout,
        // Without progress, `timeout` alone decides.
        max_timeout: draft.max_timeout.unwrap_or(default_max_timeout).max(timeout),
        retry: retries.unwrap_or_else(|| defaults.retry.clone()),
        safety,
        idempotency_key: draft.idempotency_key,
        on_tool_error: draft.on_tool_error,
        keep_content,
    }
}

/// Returns the ids of the steps whose `content` is read by an expression.
fn reads_content(draft: &WorkflowDraft) -> BTreeSet<String> {
    let mut reads = ReadSet::default();
    for step in &draft.steps {
        if let Some(condition) = &step.condition {
            reads.merge(condition.value.reads());
        }
        match &step.kind {
            StepKindDraft::Call(call) => {
                reads.merge(&call.with.reads());
                call.idempotency_key.iter().for_each(|key| reads.merge(&key.reads()));
            }
            StepKindDraft::Set(template) => reads.merge(&template.reads()),
            StepKindDraft::Parallel { .. } | StepKindDraft::Refused => {}
        }
    }
    draft.outputs.iter().for_each(|(_, output)| reads.merge(&output.reads()));
    let content = reads.steps.into_iter().filter(|(_, fields)| fields.contains(&StepField::Content));
    content.map(|(id, _)| id).collect()
}
