//! Metrics of runs, steps and refused submits.
//!
//! After a takeover another process may count the last records again: counters show rates, and only the log is exact.

use longshore_machine::{Run, RunChange, Step, StepDescription};
use longshore_proto::{Partition, StepStatus};
use metrics::{counter, histogram};

use crate::refusal::Refusal;

/// Name of the counter of published submits that were refused for good, by reason.
const DEAD_LETTERS: &str = "longshore_dlq_messages_total";

/// Name of the counter of refused requests, by reason.
const REFUSED_REQUESTS: &str = "longshore_requests_refused_total";

/// Name of the counter of steps whose call may have happened.
const INDETERMINATE_STEPS: &str = "longshore_steps_indeterminate_total";

/// Exports the counters of refusals, with zero for every reason, and of indeterminate steps. Without that, a series would start
/// at its first event, and its increase would be zero.
pub fn export_zero_counters() {
    counter!(INDETERMINATE_STEPS).increment(0);
    for reason in Refusal::TOKENS {
        counter!(DEAD_LETTERS, "reason" => reason).increment(0);
        counter!(REFUSED_REQUESTS, "reason" => reason).increment(0);
    }
}

/// Name of the counter of log entries that NATS has lost, by partition.
const LOST_ENTRIES: &str = "longshore_log_entries_lost_total";

/// Name of the counter of events that were not applied because their writers may not write them, by partition.
const FORBIDDEN_EVENTS: &str = "longshore_log_events_forbidden_total";

/// Exports the counters of lost log entries and of forbidden events with zero for every partition.
pub fn export_log_counters(partitions: u16) {
    for partition in (0..partitions).map(Partition) {
        count_lost_entries(partition, 0);
        count_forbidden_events(partition, 0);
    }
}

/// Counts log entries that were passed over because NATS has lost them.
pub(crate) fn count_lost_entries(partition: Partition, count: u64) {
    counter!(LOST_ENTRIES, "partition" => partition.to_string()).increment(count);
}

/// Counts events that were not applied because their writers may not write them.
pub(crate) fn count_forbidden_events(partition: Partition, count: u64) {
    counter!(FORBIDDEN_EVENTS, "partition" => partition.to_string()).increment(count);
}

/// Counts a refused request.
pub(crate) fn count_refused_request(refusal: &Refusal) {
    counter!(REFUSED_REQUESTS, "reason" => refusal.token()).increment(1);
}

/// Counts a refused submit that was published.
pub(crate) fn count_dead_letter(refusal: &Refusal) {
    counter!(DEAD_LETTERS, "reason" => refusal.token()).increment(1);
}

/// Counts a change of a run. `run` is the state after the change.
pub(crate) fn count(run: &Run, change: &RunChange) {
    let workflow = run.workflow().name.as_str();
    if change.started {
        counter!("longshore_runs_started_total", "workflow" => workflow.to_owned()).increment(1);
    }
    for index in &change.steps {
        if let Some((description, step)) = run.description(*index).zip(run.step(*index)) {
            count_step(workflow, description, step);
        }
    }
    if change.status_changed && run.status().is_terminal() {
        count_end(workflow, run);
    }
}

fn count_step(workflow: &str, description: &StepDescription, step: &Step) {
    if step.status == StepStatus::Retrying {
        let fault = step.attempts().last().and_then(|attempt| attempt.fault.as_ref());
        let reason = fault.map_or("unknown", |fault| fault.class.as_str());
        let server = description.does.split_once('/').map_or("", |(server, _)| server).to_owned();
        counter!("longshore_step_retries_total", "server" => server, "reason" => reason).increment(1);
    }
    if step.status == StepStatus::Indeterminate {
        counter!(INDETERMINATE_STEPS).increment(1);
    }
    if step.status.is_terminal() {
        let labels = [
            ("workflow", workflow.to_owned()),
            ("step", without_indices(description.path.as_str())),
            ("status", step.status.as_str().to_owned()),
        ];
        counter!("longshore_steps_finished_total", &labels).increment(1);
    }
}

fn count_end(workflow: &str, run: &Run) {
    let labels = [("workflow", workflow.to_owned()), ("status", run.status().as_str().to_owned())];
    counter!("longshore_runs_finished_total", &labels).increment(1);
    if let Some(duration) = run.duration() {
        histogram!("longshore_run_duration_seconds", &labels).record(duration);
    }
}

/// Returns a step path as a label: `by_region[2].sales` becomes `by_region.sales`, because every value of a label is a series.
fn without_indices(path: &str) -> String {
    if !path.contains('[') {
        return path.to_owned();
    }
    let mut is_index = false;
    let outside_index = |c: &char| {
        is_index = (is_index || *c == '[') && *c != ']';
        !is_index && *c != ']'
    };
    path.chars().filter(outside_index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_a_fan_out_share_a_label() {
        for (path, label) in
            [("a", "a"), ("by_region[2].sales", "by_region.sales"), ("a[1].b[12].c[3]", "a.b.c")]
        {
            assert_eq!(without_indices(path), label);
        }
    }
}
