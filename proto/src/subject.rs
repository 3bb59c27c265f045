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

/// The stream behind that bucket, named as the key-value stores of NATS are.
pub const WORKFLOWS_STREAM: &str = "KV_LS_WORKFLOWS";

/// What the subjects of its keys begin with.
pub const WORKFLOWS_PREFIX: &str = "$KV.LS_WORKFLOWS";

/// What the name of every stream of ours begins with, but for the one behind the bucket.
pub const STREAM_PREFIX: &str = "LS_";

/// What the names of the logs begin with.
pub const LOG_STREAM_PREFIX: &str = "LS_LOG_";

/// Every subject of [`SUBMIT_STREAM`].
pub const SUBMITS: &str = "longshore.v1.submit.>";

/// Every subject of [`JOBS_STREAM`].
pub const JOBS: &str = "longshore.v1.jobs.>";

/// Every subject of [`BLOBS_STREAM`].
pub const BLOBS: &str = "longshore.v1.blob.>";

/// Every subject of [`DEAD_LETTER_STREAM`].
pub const DEAD_LETTERS: &str = "longshore.v1.dlq.>";

/// The stream that is a partition's log: `LS_LOG_07`.
pub fn log_stream(partition: Partition) -> String {
    format!("{LOG_STREAM_PREFIX}{partition}")
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
    fn every_subject_of_a_stream_is_among_its_own() {
        let (namespace, workflow) = ("a".parse().expect("a name"), "b".parse().expect("a name"));
        let pairs = [
            (SUBMITS, submit(&namespace, &workflow)),
            (JOBS, jobs_of("std", &"crm".parse().expect("a server"))),
            (BLOBS, blob(Digest::of(b"text"))),
            (DEAD_LETTERS, dead_letter("malformed")),
        ];
        for (all, one) in pairs {
            assert!(one.starts_with(all.trim_end_matches('>')), "{one} is not among {all}");
        }
        assert_eq!(WORKFLOWS_STREAM, format!("KV_{WORKFLOWS_BUCKET}"));
        assert_eq!(WORKFLOWS_PREFIX, format!("$KV.{WORKFLOWS_BUCKET}"));
        assert!(LOG_STREAM_PREFIX.starts_with(STREAM_PREFIX));
    }

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
