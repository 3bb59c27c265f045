//! The names of subjects, streams and buckets on a broker.
//!
//! The version is the second token; the namespace comes before the name, so that permissions can be given by prefix.
//! Tool names never stand in a subject: they may hold dots.

use crate::{Digest, JobId, Namespace, Partition, RunId, ServerName, WorkflowName};

/// What every subject begins with.
pub const ROOT: &str = "longshore.v1";

/// The stream that keeps submits until a scheduler has taken them in.
pub const SUBMIT_STREAM: &str = "LS_SUBMIT";

/// The work queue.
pub const JOBS_STREAM: &str = "LS_JOBS";

/// The stream of large values.
pub const BLOBS_STREAM: &str = "LS_BLOBS";

/// The stream of what was refused and could not be answered.
pub const DEAD_LETTER_STREAM: &str = "LS_DLQ";

/// The key-value bucket of registered workflows.
pub const WORKFLOWS_BUCKET: &str = "LS_WORKFLOWS";

/// The stream that is a partition's log: `LS_LOG_07`.
pub fn log_stream(partition: Partition) -> String {
    format!("LS_LOG_{partition}")
}

/// The subject of a partition's log.
pub fn log(partition: Partition) -> String {
    format!("{ROOT}.log.{partition}")
}

/// Where a client publishes a submit.
pub fn submit(namespace: &Namespace, workflow: &WorkflowName) -> String {
    format!("{ROOT}.submit.{namespace}.{workflow}")
}

/// The place of a job in the queue: one message for each subject.
pub fn job(class: &str, server: &ServerName, job: &JobId) -> String {
    format!("{ROOT}.jobs.{class}.{server}.{}", job_token(job))
}

/// All jobs of a class for a server.
pub fn jobs_of(class: &str, server: &ServerName) -> String {
    format!("{ROOT}.jobs.{class}.{server}.>")
}

/// The durable consumer of [`jobs_of`].
pub fn jobs_consumer(class: &str, server: &ServerName) -> String {
    format!("{class}-{server}")
}

/// Where workers hear that a job's outcome is no longer wanted.
pub fn recall(job: &JobId) -> String {
    format!("{ROOT}.recall.{}", job_token(job))
}

/// Where a large value is kept.
pub fn blob(digest: Digest) -> String {
    format!("{ROOT}.blob.{digest}")
}

/// Where it is told what happens to a run; `what` is the kind of event, such as `run` or `step`.
pub fn event(namespace: &Namespace, workflow: &WorkflowName, run: RunId, what: &str) -> String {
    format!("{ROOT}.evt.{namespace}.{workflow}.{run}.{what}")
}

/// Where a refused message is kept, by the reason's code.
pub fn dead_letter(code: &str) -> String {
    format!("{ROOT}.dlq.{code}")
}

/// An endpoint of the micro service.
pub fn api(verb: &str) -> String {
    format!("{ROOT}.api.{verb}")
}

/// A job's id as one token: a path's dots become slashes, which no path holds.
fn job_token(job: &JobId) -> String {
    format!("{}:{}:{}", job.run, job.step.as_str().replace('.', "/"), job.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Timestamp};

    #[test]
    fn a_job_is_one_token() {
        let run = RunId::new(Partition(7), Timestamp::from_millis(1), 1);
        let id = JobId { run, step: "by_region[2].sales".parse().expect("a path"), attempt: Attempt(2) };
        let server = "crm".parse().expect("a server");
        let subject = job("std", &server, &id);
        assert_eq!(subject.split('.').count(), 6, "{subject}");
        assert!(subject.ends_with(":by_region[2]/sales:2"), "{subject}");
        assert_eq!(log_stream(Partition(7)), "LS_LOG_07");
    }
}
