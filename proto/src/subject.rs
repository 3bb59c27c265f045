//! The names of subjects, streams and buckets on NATS.
//!
//! The second token of a subject is the version. The namespace precedes the name, so that permissions can be granted by
//! prefix. Tool names are not part of a subject, since they may contain dots.

use crate::{Digest, JobId, Namespace, NodeId, Partition, RunId, ServerName, WorkflowName, WriterRole};

/// Prefix of all subjects.
pub const ROOT: &str = "longshore.v1";

/// The stream of submits that no scheduler has processed yet.
pub const SUBMIT_STREAM: &str = "LS_SUBMIT";

/// The stream of the job queue.
pub const JOBS_STREAM: &str = "LS_JOBS";

/// The stream of large values.
pub const BLOBS_STREAM: &str = "LS_BLOBS";

/// The stream of dead letters: refused submits whose senders could not be answered.
pub const DEAD_LETTER_STREAM: &str = "LS_DLQ";

/// The key-value bucket of registered workflows.
pub const WORKFLOWS_BUCKET: &str = "LS_WORKFLOWS";

/// The stream of that bucket, by the naming rule of NATS key-value stores.
pub const WORKFLOWS_STREAM: &str = "KV_LS_WORKFLOWS";

/// Prefix of the subjects of the bucket's keys.
pub const WORKFLOWS_PREFIX: &str = "$KV.LS_WORKFLOWS";

/// Prefix of the names of all streams of Longshore except [`WORKFLOWS_STREAM`].
pub const STREAM_PREFIX: &str = "LS_";

/// Prefix of the names of log streams.
pub const LOG_STREAM_PREFIX: &str = "LS_LOG_";

/// All subjects of [`SUBMIT_STREAM`].
pub const SUBMITS: &str = "longshore.v1.submit.>";

/// All subjects of [`JOBS_STREAM`].
pub const JOBS: &str = "longshore.v1.jobs.>";

/// All subjects of [`BLOBS_STREAM`].
pub const BLOBS: &str = "longshore.v1.blob.>";

/// All subjects of [`DEAD_LETTER_STREAM`].
pub const DEAD_LETTERS: &str = "longshore.v1.dlq.>";

/// The namespace token of a dead letter whose namespace is invalid. No namespace contains a tilde.
pub const NO_NAMESPACE: &str = "~";

/// Returns the stream of a partition's log, such as `LS_LOG_07`.
pub fn log_stream(partition: Partition) -> String {
    format!("{LOG_STREAM_PREFIX}{partition}")
}

/// Returns the subject on which processes in a role append to a partition's log.
pub fn log(partition: Partition, writer: WriterRole) -> String {
    format!("{ROOT}.log.{partition}.{writer}")
}

/// Returns the role of the processes that append to a log on a subject. `None` if that is no subject of a log.
pub fn log_writer(subject: &str) -> Option<WriterRole> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix(".log.")?;
    let (_, role) = rest.split_once('.')?;
    WriterRole::ALL.into_iter().find(|writer| writer.as_str() == role)
}

/// Returns the subject to which a client publishes a submit.
pub fn submit(namespace: &Namespace, workflow: &WorkflowName) -> String {
    format!("{ROOT}.submit.{namespace}.{workflow}")
}

/// Subject of requests that every worker answers with its entry.
pub const WORKERS: &str = "longshore.v1.workers";

/// Returns the subject of a job in the queue, which holds at most one message for each subject.
pub fn job(class: &str, server: &ServerName, job: &JobId) -> String {
    format!("{ROOT}.jobs.{class}.{server}.{}", job_token(job))
}

/// Returns the filter for the subject of a job of whatever server. An id belongs to one server, so it matches one subject at most.
pub fn job_of_any_server(class: &str, job: &JobId) -> String {
    format!("{ROOT}.jobs.{class}.*.{}", job_token(job))
}

/// Returns the subjects of all jobs of a class for a server.
pub fn jobs_of(class: &str, server: &ServerName) -> String {
    format!("{ROOT}.jobs.{class}.{server}.>")
}

/// Returns the name of the durable consumer of [`jobs_of`].
pub fn jobs_consumer(class: &str, server: &ServerName) -> String {
    format!("{class}-{server}")
}

/// Returns the subject of the recall of a job.
pub fn recall(job: &JobId) -> String {
    format!("{ROOT}.recall.{}", job_token(job))
}

/// Returns the subject of the grants of a worker.
pub fn grants(worker: &NodeId) -> String {
    format!("{ROOT}.grant.{worker}")
}

/// Returns the subject of a blob.
pub fn blob(digest: Digest) -> String {
    format!("{ROOT}.blob.{digest}")
}

/// Returns the subject of an update about a run; `kind` is `run`, `step` or `call`.
pub fn event(namespace: &Namespace, workflow: &WorkflowName, run: RunId, kind: &str) -> String {
    format!("{ROOT}.evt.{namespace}.{workflow}.{run}.{kind}")
}

/// Returns the subject of a dead letter, by its namespace and the code of the reason. `None` gives [`NO_NAMESPACE`], which
/// no client may read.
pub fn dead_letter(namespace: Option<&Namespace>, code: &str) -> String {
    match namespace {
        Some(namespace) => format!("{ROOT}.dlq.{namespace}.{code}"),
        None => format!("{ROOT}.dlq.{NO_NAMESPACE}.{code}"),
    }
}

/// Returns the subjects of all dead letters of a namespace, by the token of the namespace.
pub fn dead_letters_of(namespace: &str) -> String {
    format!("{ROOT}.dlq.{namespace}.*")
}

/// Returns the token of the namespace in the subject of a dead letter.
pub fn dead_letter_namespace(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix(".dlq.")?;
    rest.split('.').next()
}

/// Returns the subject of a request to the NATS micro service.
pub fn api(namespace: &Namespace, verb: &str) -> String {
    format!("{ROOT}.api.{namespace}.{verb}")
}

/// Returns the subjects of an endpoint of the micro service: one verb, in all namespaces.
pub fn api_endpoint(verb: &str) -> String {
    format!("{ROOT}.api.*.{verb}")
}

/// Returns the namespace token of the subject of a request.
pub fn api_namespace(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix(".api.")?;
    rest.split_once('.').map(|(namespace, _)| namespace)
}

/// Returns the namespace token of the subject of a submit.
pub fn submit_namespace(subject: &str) -> Option<&str> {
    let rest = subject.strip_prefix(ROOT)?.strip_prefix(".submit.")?;
    rest.split('.').next()
}

/// Returns the id of a job as one token. Dots of the path become slashes, which no path contains.
fn job_token(job: &JobId) -> String {
    format!("{}:{}:{}", job.run, job.step.as_str().replace('.', "/"), job.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attempt, Timestamp};

    #[test]
    fn subjects_match_the_filter_of_their_stream() {
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
    fn namespace_is_parsed_from_a_subject() {
        let team = "team".parse().expect("a namespace");
        assert_eq!(api_namespace(&api(&team, "dlq-get")), Some("team"));
        assert_eq!(api_namespace("longshore.v1.api.submit"), None);
        let subject = submit(&team, &"report".parse().expect("a name"));
        assert_eq!(submit_namespace(&subject), Some("team"));
        assert_eq!(submit_namespace("longshore.v1.evt.team"), None);
        assert_eq!(dead_letter(Some(&team), "malformed"), "longshore.v1.dlq.team.malformed");
        assert_eq!(dead_letter_namespace("longshore.v1.dlq.team.malformed"), Some("team"));
        assert!(NO_NAMESPACE.parse::<Namespace>().is_err());
    }

    #[test]
    fn writer_is_parsed_from_the_subject_of_a_log() {
        for writer in WriterRole::ALL {
            assert_eq!(log_writer(&log(Partition(7), writer)), Some(writer));
        }
        for foreign in ["longshore.v1.log.07", "longshore.v1.log.07.x", "longshore.v1.log.07.leader.x"] {
            assert_eq!(log_writer(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn job_id_is_one_token_of_a_subject() {
        let run = RunId::new(Partition(7), Timestamp::from_millis(1), 1);
        let id = JobId { run, step: "by_region[2].sales".parse().expect("a path"), attempt: Attempt(2) };
        let server = "crm".parse().expect("a server");
        let subject = job("std", &server, &id);
        assert_eq!(subject.split('.').count(), 6, "{subject}");
        assert!(subject.ends_with(":by_region[2]/sales:2"), "{subject}");
        assert_eq!(log_stream(Partition(7)), "LS_LOG_07");
    }
}
