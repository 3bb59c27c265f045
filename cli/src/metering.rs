//! The metrics of a process: the recorder, the descriptions, and the buckets of histograms.
//!
//! Events are counted where they happen, through the crate `metrics`. Names begin with `longshore_` and end with their base
//! unit. Runs, steps of one run and items are never labels, because each value of a label is a series that never ends.

mod capped;

use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::interval;

use self::capped::CappedRecorder;
use crate::exit::Exit;
use crate::failure::Failure;

/// Upper bounds of the buckets in seconds: from a local call to a run of an hour.
const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0];

/// Interval at which samples of histograms are put into their buckets. Waiting samples take memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// The commit that this program was built from, if `GIT_COMMIT` was set for the build.
const COMMIT: &str = match option_env!("GIT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Role of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProcessRole {
    /// Leads partitions and answers requests.
    Scheduler,
    /// Makes calls.
    Worker,
}

impl ProcessRole {
    /// Returns the name in metrics.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduler => "scheduler",
            Self::Worker => "worker",
        }
    }
}

/// Starts the recorder of the process.
pub(crate) fn start(role: ProcessRole) -> Result<PrometheusHandle, Failure> {
    let failed = |why: String| Failure::new(Exit::Error, format!("cannot start metrics: {why}"));
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)
        .map_err(|error| failed(error.to_string()))?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(CappedRecorder::new(recorder)).map_err(|error| failed(error.to_string()))?;
    describe();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("commit", COMMIT), ("role", role.as_str())];
    gauge!("longshore_build_info", &labels).set(1);
    Ok(handle)
}

/// Puts the samples of histograms into their buckets, for as long as it is polled.
pub(crate) async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// Returns all metrics in Prometheus' text format, without gauges whose value is NaN.
pub(crate) fn exported(metrics: &PrometheusHandle) -> String {
    without_nan(&metrics.render())
}

fn without_nan(text: &str) -> String {
    text.split_inclusive('\n')
        .filter(|line| line.starts_with('#') || !line.trim_end().ends_with(" NaN"))
        .collect()
}

fn describe() {
    describe_gauge!("longshore_build_info", "The version, commit and role of this process; always 1.");
    describe_gauge!("longshore_ready", "1 if this process is ready, as /readyz says, else 0.");
    describe_counter!("longshore_runs_started_total", "Runs that began, by workflow.");
    describe_counter!("longshore_runs_finished_total", "Runs that ended, by workflow and status.");
    describe_histogram!("longshore_run_duration_seconds", Unit::Seconds, "From submit to end of a run.");
    describe_counter!("longshore_steps_finished_total", "Steps that ended, by workflow, step and status.");
    describe_counter!(
        "longshore_steps_indeterminate_total",
        "Steps whose call may have happened, and was not repeated."
    );
    describe_counter!("longshore_step_retries_total", "Further attempts, by server and reason.");
    describe_counter!("longshore_tool_calls_total", "Tool calls, by server, tool and outcome.");
    describe_histogram!("longshore_tool_call_duration_seconds", Unit::Seconds, "Duration of tool calls.");
    let up = "1 if the last attempt to connect to an MCP server succeeded and one of its last three calls was answered, else 0.";
    describe_gauge!("longshore_mcp_server_up", up);
    describe_gauge!("longshore_worker_slots", "Slots of this worker, by state: busy or total.");
    let waiting = "Jobs of this worker that wait before their call, by reason: claim or grant.";
    describe_gauge!("longshore_worker_jobs_waiting", waiting);
    let oldest = "The longest of these waits so far, by reason.";
    describe_gauge!("longshore_worker_oldest_wait_seconds", Unit::Seconds, oldest);
    describe_counter!("longshore_dlq_messages_total", "Submits refused without an answer, by reason.");
    describe_counter!(
        "longshore_streams_restored_total",
        "Streams that disappeared while this scheduler ran, and were created again, empty."
    );
    describe_counter!("longshore_requests_refused_total", "Requests that were refused, by reason.");
    let full = "Fullness of the logs, as the admission of submits measures it: 0 to 1; submits are refused from 0.7 on.";
    describe_gauge!("longshore_logs_fullness_ratio", full);
    describe_counter!("longshore_log_entries_lost_total", "Entries of a log that NATS has lost.");
    describe_counter!(
        "longshore_log_events_forbidden_total",
        "Events of a log that their writers may not write."
    );
    describe_gauge!("longshore_partitions", "Partitions of the cluster.");
    describe_gauge!("longshore_partitions_led", "Partitions that this scheduler leads.");
    describe_gauge!("longshore_partition_led", "1 if this scheduler leads a partition, else 0.");
    describe_counter!(
        "longshore_leader_changes_total",
        "Times that this scheduler began to lead a partition."
    );
    let age = "Time since the state of a partition was stored, or its leadership began; only of partitions that this scheduler leads.";
    describe_gauge!("longshore_checkpoint_age_seconds", Unit::Seconds, age);
    describe_counter!(
        "longshore_store_failures_total",
        "Requests to NATS and Redis that failed, by operation and reason."
    );
    let full = "Fullness of a stream, by its max_bytes: 0 to 1, and 0 without a limit.";
    describe_gauge!("longshore_stream_fullness_ratio", full);
    describe_gauge!(
        "longshore_account_fullness_ratio",
        "Fullness of the NATS account: 0 to 1, and 0 without a limit."
    );
    let write = "Duration of writes of checkpoints, including failed ones.";
    describe_histogram!("longshore_checkpoint_write_seconds", Unit::Seconds, write);
    describe_gauge!("longshore_queue_messages", "Messages in the cluster's queue, waiting or delivered.");
    let oldest = "Age of the oldest message in the cluster's queue.";
    describe_gauge!("longshore_queue_oldest_age_seconds", Unit::Seconds, oldest);
    describe_gauge!(
        "longshore_server_jobs",
        "Jobs of a server in the cluster's queue, waiting or delivered."
    );
    let oldest = "Age of the oldest job of a server in the cluster's queue.";
    describe_gauge!("longshore_server_oldest_job_age_seconds", Unit::Seconds, oldest);
    describe_counter!(
        "longshore_run_updates_dropped_total",
        "Run updates that this process dropped because too many waited."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauge_without_a_value_is_not_exported() {
        let text = "# TYPE age gauge\nage{partition=\"00\"} 3.5\nage{partition=\"01\"} NaN\n\nled 0\n";
        assert_eq!(without_nan(text), "# TYPE age gauge\nage{partition=\"00\"} 3.5\n\nled 0\n");
    }
}
