//! Refusals of requests and submits: a code, a message, and all problems.

use longshore_machine::NoValue;
use longshore_ports::ErrorCause;
use longshore_proto::{Digest, Namespace, Partition, RunId, RunStatus, WireError, WorkflowName};
use serde_json::{Value, json};

use crate::intake::SubmitError;

/// Reason why a request or a submit is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be decoded.
    #[error("{0}")]
    Malformed(String),
    /// The body names another namespace than the subject.
    #[error(
        "the body names the namespace `{named}`, and its subject `{meant}`: the subject counts; leave `namespace` out, or \
         ask on `longshore.v1.api.{named}.<verb>`"
    )]
    OtherNamespace {
        /// The namespace in the body.
        named: String,
        /// The namespace in the subject.
        meant: Namespace,
    },
    /// The dead letter is unknown.
    #[error("there is no refused submit {0} in this namespace, or it is no longer kept")]
    UnknownDeadLetter(u64),
    /// The dead letter has only a part of the submit.
    #[error(
        "refused submit {0} is kept in part only, because it is long or gave values that may be secrets, so it cannot be \
         submitted again from here: submit it where it came from"
    )]
    IncompleteDeadLetter(u64),
    /// The request is too large.
    #[error("the request is {bytes} bytes long; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        limit: usize,
    },
    /// The id is invalid.
    #[error("an id is 1 to 256 characters, and none of them a control character")]
    Id,
    /// The id belongs to a run that was submitted for something else.
    #[error(
        "the id is taken: {run} was submitted with it and {by}. Look at that run, or submit with another id"
    )]
    IdTaken {
        /// The run.
        run: RunId,
        /// The part of the earlier submit that differs.
        by: String,
    },
    /// No workflow is registered under this name.
    #[error(
        "no workflow `{workflow}` is registered in namespace `{namespace}`: check both names, or push it"
    )]
    UnknownWorkflow {
        /// The namespace.
        namespace: Namespace,
        /// The name.
        workflow: WorkflowName,
    },
    /// The workflow does not have the version.
    #[error(
        "workflow `{workflow}` has no version that begins with `{version}`; the current one is {current}"
    )]
    UnknownVersion {
        /// The workflow.
        workflow: WorkflowName,
        /// The beginning of the digest.
        version: String,
        /// The current version.
        current: String,
    },
    /// Several versions begin with the digits.
    #[error("{count} versions of workflow `{workflow}` begin with `{version}`: give more of the digest")]
    AmbiguousVersion {
        /// The workflow.
        workflow: WorkflowName,
        /// The beginning of the digest.
        version: String,
        /// Number of such versions.
        count: usize,
    },
    /// The workflow or its inputs have problems, or the submit could not be made durable.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The run is unknown.
    #[error("there is no run {0}, or it is no longer kept")]
    UnknownRun(RunId),
    /// The run may exist: the checkpoint of its partition does not cover the log as of the request.
    #[error(
        "{run} is not known yet, and may exist: the last changes of its partition are not stored ({})",
        .cause.as_ref().map_or_else(
            || format!(
                "partition {} has no leader right now, or its leader stores it in some seconds; ask again then",
                .run.partition()
            ),
            ToString::to_string
        )
    )]
    NotStored {
        /// The run.
        run: RunId,
        /// The reason why the store accepts no writes, if it does not.
        cause: Option<longshore_ports::Error>,
    },
    /// A list may lack runs: the checkpoint of a partition does not cover the log as of the request.
    #[error(
        "the newest runs are not known yet: the last changes of partition {partition} are not stored ({})",
        .cause.as_ref().map_or_else(
            || "it has no leader right now, or its leader stores them in some seconds; ask again then".to_owned(),
            ToString::to_string
        )
    )]
    ListBehind {
        /// The partition.
        partition: Partition,
        /// The reason why the store accepts no writes, if it does not.
        cause: Option<longshore_ports::Error>,
    },
    /// The run has ended.
    #[error("{run} has ended already: {status}")]
    Ended {
        /// The run.
        run: RunId,
        /// Its status.
        status: RunStatus,
    },
    /// The stored run cannot be decoded.
    #[error("{run} cannot be read: {error}")]
    Unreadable {
        /// The run.
        run: RunId,
        /// The reason.
        error: WireError,
    },
    /// The run does not have the value.
    #[error(transparent)]
    NoValue(#[from] NoValue),
    /// A large value is gone.
    #[error("the large value {} of {run} is gone", .digest.short())]
    ValueGone {
        /// The run.
        run: RunId,
        /// Address of the value.
        digest: Digest,
    },
    /// The logs have no room for more runs.
    #[error(
        "the logs are {percent} % full (partition {partition}), and submits are refused from {limit} % on: raise \
         `max_file` of the NATS account, or the max_bytes of the log's stream if it has one"
    )]
    Full {
        /// The partition.
        partition: Partition,
        /// Fullness of its log.
        percent: u64,
        /// Fullness at which submits start to be refused.
        limit: u64,
    },
    /// The namespace has as many live runs as it may have.
    #[error(
        "namespace `{namespace}` has as many runs that have not ended as it may have, {limit}: wait for some to end, cancel some, \
         or raise `limits.live_runs` of the schedulers"
    )]
    Quota {
        /// The namespace.
        namespace: Namespace,
        /// Maximum number of live runs of a namespace.
        limit: u64,
    },
    /// Schedulers ended again and again while they processed the submit, or decoding it panicked.
    #[error(
        "{deliveries} deliveries had no result: schedulers ended, or were stopped, each time they processed it; it is kept here \
         so that it ends no other scheduler"
    )]
    Poison {
        /// Delivery count.
        deliveries: u32,
    },
    /// NATS, Redis or the data directory failed.
    #[error(transparent)]
    Backend(#[from] longshore_ports::Error),
}

impl Refusal {
    /// All tokens, so that the counters by reason can start at zero.
    pub(crate) const TOKENS: [&str; 21] = [
        "malformed",
        "other_namespace",
        "unknown_letter",
        "letter_incomplete",
        "too_large",
        "invalid_id",
        "id_taken",
        "unknown_workflow",
        "unknown_version",
        "invalid_workflow",
        "invalid_inputs",
        "workflow_missing",
        "full",
        "quota",
        "poison",
        "unknown_run",
        "not_stored",
        "denied",
        "no_value",
        "ended",
        "internal",
    ];

    /// Returns the kind of the reason as one token. It is the last token in the subject of a dead letter.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OtherNamespace { .. } => "other_namespace",
            Self::UnknownDeadLetter(_) => "unknown_letter",
            Self::IncompleteDeadLetter(_) => "letter_incomplete",
            Self::TooLarge { .. } => "too_large",
            Self::Id => "invalid_id",
            Self::IdTaken { .. } => "id_taken",
            Self::UnknownWorkflow { .. } => "unknown_workflow",
            Self::UnknownVersion { .. } | Self::AmbiguousVersion { .. } => "unknown_version",
            Self::Submit(SubmitError::Workflow(_)) => "invalid_workflow",
            Self::Submit(SubmitError::Inputs(_) | SubmitError::TooManyValues(_)) => "invalid_inputs",
            Self::Submit(SubmitError::TextMissing(_)) => "workflow_missing",
            Self::Full { .. } | Self::Submit(SubmitError::BlobsFull(_)) => "full",
            Self::Submit(SubmitError::Backend(error)) | Self::Backend(error)
                if error.cause == ErrorCause::Full =>
            {
                "full"
            }
            Self::Quota { .. } => "quota",
            Self::Poison { .. } => "poison",
            Self::UnknownRun(_) => "unknown_run",
            Self::NotStored { cause: Some(cause), .. } | Self::ListBehind { cause: Some(cause), .. }
                if cause.cause == ErrorCause::Full =>
            {
                "full"
            }
            Self::NotStored { cause: Some(error), .. }
            | Self::ListBehind { cause: Some(error), .. }
            | Self::Submit(SubmitError::Backend(error))
            | Self::Backend(error)
                if error.cause == ErrorCause::Denied =>
            {
                "denied"
            }
            Self::NotStored { .. } | Self::ListBehind { .. } => "not_stored",
            Self::NoValue(_) | Self::ValueGone { .. } => "no_value",
            Self::Ended { .. } => "ended",
            Self::Unreadable { .. } | Self::Submit(SubmitError::Backend(_)) | Self::Backend(_) => "internal",
        }
    }

    /// Returns true if the same request may succeed a little later.
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Backend(error) | Self::Submit(SubmitError::Backend(error)) => {
                // A scheduler creates missing streams again.
                error.retryable || matches!(error.cause, ErrorCause::Missing)
            }
            Self::Full { .. }
            | Self::NotStored { .. }
            | Self::ListBehind { .. }
            | Self::Submit(SubmitError::BlobsFull(_)) => true,
            _ => false,
        }
    }

    /// Returns the status code, as in HTTP.
    pub(crate) const fn code(&self) -> u16 {
        match self {
            _ if self.is_temporary() => 503,
            Self::Malformed(_) | Self::OtherNamespace { .. } | Self::Id | Self::AmbiguousVersion { .. } => {
                400
            }
            Self::UnknownDeadLetter(_) | Self::NoValue(_) | Self::ValueGone { .. } => 404,
            Self::Quota { .. } => 429,
            Self::Submit(
                SubmitError::Workflow(_) | SubmitError::Inputs(_) | SubmitError::TooManyValues(_),
            ) => 400,
            Self::TooLarge { .. } => 413,
            Self::UnknownWorkflow { .. } | Self::UnknownVersion { .. } | Self::UnknownRun(_) => 404,
            Self::IdTaken { .. } | Self::Ended { .. } | Self::IncompleteDeadLetter(_) => 409,
            Self::Full { .. } | Self::NotStored { .. } | Self::ListBehind { .. } => 503,
            Self::Unreadable { .. } | Self::Poison { .. } | Self::Submit(_) | Self::Backend(_) => 500,
        }
    }

    /// Returns all problems, one object each.
    pub(crate) fn problems(&self) -> Value {
        match self {
            Self::Submit(SubmitError::Workflow(problems)) => {
                serde_json::to_value(problems).unwrap_or_default()
            }
            Self::Submit(SubmitError::Inputs(problems)) => {
                let more = (problems.omitted() > 0).then(|| format!("and {} more", problems.omitted()));
                let described = problems.iter().map(ToString::to_string);
                described.chain(more).map(|message| json!({ "message": message })).collect()
            }
            other => json!([{ "message": other.to_string() }]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tokens_have_a_counter() {
        let source = include_str!("refusal.rs");
        let body = source.split_once("pub fn token(").and_then(|(_, rest)| rest.split_once("\n    }\n"));
        let (body, _) = body.expect("the function");
        let tokens: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
        assert!(tokens.len() > 15, "{tokens:?}");
        for token in &tokens {
            assert!(Refusal::TOKENS.contains(token), "{token}");
        }
        assert!(Refusal::TOKENS.iter().all(|token| tokens.contains(token)), "{tokens:?}");
    }

    #[test]
    fn full_and_denying_stores_give_the_reasons_full_and_denied() {
        let full = || longshore_ports::Error::no_room("append", "resource limits exceeded");
        assert_eq!(Refusal::Backend(full()).token(), "full");
        assert_eq!(Refusal::Submit(SubmitError::Backend(full())).token(), "full");
        let denied = || longshore_ports::Error::permanent("append", "NOPERM").with_cause(ErrorCause::Denied);
        assert_eq!(Refusal::Backend(denied()).token(), "denied");
        let run = RunId::new(Partition(0), longshore_proto::Timestamp::from_millis(1), 1);
        assert_eq!(Refusal::NotStored { run, cause: Some(denied()) }.token(), "denied");
        assert_eq!(Refusal::NotStored { run, cause: None }.token(), "not_stored");
        let away = longshore_ports::Error::transient("append", "no answer");
        assert_eq!(Refusal::Backend(away).token(), "internal");
    }

    #[test]
    fn missing_stream_is_temporary_because_it_is_created_again() {
        let missing = longshore_ports::Error::permanent("append", "stream not found");
        let missing = Refusal::Backend(missing.with_cause(ErrorCause::Missing));
        assert!(missing.is_temporary());
        assert_eq!(missing.code(), 503);
        assert!(!Refusal::Backend(longshore_ports::Error::permanent("append", "damaged")).is_temporary());
    }
}
