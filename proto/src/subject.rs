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

/// The token of a dead letter whose namespace is invalid; no namespace holds a tilde.
pub const NO_NAMESPACE: &str = "~";

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

/// The subject of an event of a run; `what` is its kind, such as `run` or `step`.
pub fn event(namespace: &Namespace, workflow: &WorkflowName, run: RunId, what: &str) -> String {
    format!("{ROOT}.evt.{namespace}.{workflow}.{run}.{what}")
}

/// The subject of a refused message, by its namespace and the reason's code. A message whose namespace is invalid has
/// [`NO_NAMESPACE`] instead, so that no client is given it.
pub fn dead_letter(namespace: Option<&Namespace>, code: &str) -> String {
    match namespace {
        Some(namespace) => format!("{ROOT}.dlq.{namespace}.{code}"),
        None => format!("{ROOT}.dlq.{NO_NAMESPACE}.{code}"),
    }
}

/// The subject of a request of a namespace to the micro service.
pub fn api(namespace: &Namespace, verb: &str) -> String {
    format!("{ROOT}.api.{namespace}.{verb}")
}

/// The subjects of an endpoint of the micro service: one verb of all namespaces.
pub fn api_endpoint(verb: &str) -> String {
    format!("{ROOT}.api.*.{verb}")
}

/// The token of a request's subject that names the namespace.
pub fn api_namespace(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix(".api.")?;
    rest.split_once('.').map(|(namespace, _)| namespace)
}

/// The token of a submit's subject that names the namespace.
pub fn submit_namespace(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix(".submit.")?;
    rest.split('.').next()
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
            (DEAD_LETTERS, dead_letter(None, "malformed")),
        ];
        for (all, one) in pairs {
            assert!(one.starts_with(all.trim_end_matches('>')), "{one} is not among {all}");
        }
        assert_eq!(WORKFLOWS_STREAM, format!("KV_{WORKFLOWS_BUCKET}"));
        assert_eq!(WORKFLOWS_PREFIX, format!("$KV.{WORKFLOWS_BUCKET}"));
        assert!(LOG_STREAM_PREFIX.starts_with(STREAM_PREFIX));
    }

    #[test]
    fn the_namespace_is_read_from_a_subject() {
        let team = "team".parse().expect("a namespace");
        assert_eq!(api_namespace(&api(&team, "dlq-get")), Some("team"));
        assert_eq!(api_namespace("longshore.v1.api.submit"), None);
        let subject = submit(&team, &"report".parse().expect("a name"));
        assert_eq!(submit_namespace(&subject), Some("team"));
        assert_eq!(submit_namespace("longshore.v1.evt.team"), None);
        assert_eq!(dead_letter(Some(&team), "malformed"), "longshore.v1.dlq.team.malformed");
        assert!(NO_NAMESPACE.parse::<Namespace>().is_err());
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
