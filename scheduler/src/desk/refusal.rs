//! Why a request is not granted: a code, a sentence, and every problem there is.

use longshore_machine::NoValue;
use longshore_ports::{ADMISSION_LIMIT_PERCENT, ErrorCause};
use longshore_proto::{Digest, Namespace, Partition, RunId, RunStatus, WireError, WorkflowName};
use serde_json::{Value, json};

use crate::api::Denied;
use crate::intake::SubmitError;

/// Why a request is not granted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request is not what was expected.
    #[error("{0}")]
    Malformed(String),
    /// The body names another namespace than the subject.
    #[error(
        "the body names the namespace `{named}`, and its subject `{meant}`: the subject counts; leave `namespace` away, or \
         ask on `longshore.v1.api.{named}.<verb>`"
    )]
    OtherNamespace {
        /// The namespace in the body.
        named: Namespace,
        /// The namespace in the subject.
        meant: Namespace,
    },
    /// There is no such dead letter.
    #[error("there is no refused submit {0} in this namespace, or it is no longer kept")]
    UnknownLetter(u64),
    /// Only a part of the refused submit is kept.
    #[error(
        "refused submit {0} is kept in part only, because it is long or gave values that may be secrets, so it cannot be \
         submitted again from here: submit it where it came from"
    )]
    LetterIncomplete(u64),
    /// More than is taken in.
    #[error("the request is {bytes} bytes long; the limit is {limit}")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// An id that cannot be one.
    #[error("an id is 1 to 256 characters, and none of them a control character")]
    Id,
    /// The id stands for a run that was asked for something else.
    #[error(
        "the id is taken: {run} was submitted with it and {by}. Look at that run, or submit with another id"
    )]
    IdTaken {
        /// The run.
        run: RunId,
        /// What it was given instead.
        by: String,
    },
    /// Nothing is registered under this name.
    #[error("no workflow `{workflow}` is registered in namespace `{namespace}`: push it first")]
    UnknownWorkflow {
        /// Where it was looked for.
        namespace: Namespace,
        /// What was asked for.
        workflow: WorkflowName,
    },
    /// The workflow has no such version.
    #[error(
        "workflow `{workflow}` has no version that begins with `{version}`; the current one is {current}"
    )]
    UnknownVersion {
        /// The workflow.
        workflow: WorkflowName,
        /// What was asked for.
        version: String,
        /// What there is.
        current: String,
    },
    /// Several versions begin like this.
    #[error("{count} versions of workflow `{workflow}` begin with `{version}`: give more of the digest")]
    AmbiguousVersion {
        /// The workflow.
        workflow: WorkflowName,
        /// What was asked for.
        version: String,
        /// How many there are.
        count: usize,
    },
    /// The workflow or its inputs have problems, or they could not be made durable.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// No such run.
    #[error("there is no run {0}, or it is no longer kept")]
    UnknownRun(RunId),
    /// The run may exist: the checkpoint of its partition does not cover what the log held when the request came.
    #[error(
        "{run} is not known yet, and may exist: what its partition did last is not stored ({})",
        .cause.as_ref().map_or_else(
            || format!("partition {} may have no leader right now", .run.partition()),
            ToString::to_string
        )
    )]
    NotStored {
        /// The run.
        run: RunId,
        /// Why the store takes no writes, if it takes none.
        cause: Option<longshore_ports::Error>,
    },
    /// The run has ended.
    #[error("{run} has ended already: {status}")]
    Ended {
        /// The run.
        run: RunId,
        /// How.
        status: RunStatus,
    },
    /// The run was stored by another version.
    #[error("{run} cannot be read: {error}")]
    Unreadable {
        /// The run.
        run: RunId,
        /// Why.
        error: WireError,
    },
    /// The run has no such value.
    #[error(transparent)]
    NoValue(#[from] NoValue),
    /// A large value is no longer there.
    #[error("the large value {} of {run} is gone", .digest.short())]
    ValueGone {
        /// The run.
        run: RunId,
        /// Its address.
        digest: Digest,
    },
    /// There is no room for more runs.
    #[error(
        "the logs are {percent} % full (partition {partition}), and submits are refused from {limit} % on: raise \
         `max_file` of the NATS account, or the max_bytes of the log's stream if it has one",
        limit = ADMISSION_LIMIT_PERCENT
    )]
    Full {
        /// The partition.
        partition: Partition,
        /// How full its log is.
        percent: u64,
    },
    /// The namespace has as many runs under way as it may have.
    #[error(
        "namespace `{namespace}` has {limit} runs that have not ended, and may have no more: wait for some to end, cancel some, \
         or raise `limits.live_runs` of the schedulers"
    )]
    Quota {
        /// The namespace.
        namespace: Namespace,
        /// How many runs it may have.
        limit: u64,
    },
    /// Schedulers ended again and again while they had the submit in hand, or reading it panicked.
    #[error(
        "{deliveries} deliveries had no result: schedulers ended, or were stopped, each time they had it in hand; it is kept \
         here so that it ends no other one"
    )]
    Poison {
        /// How often it was delivered.
        deliveries: u32,
    },
    /// Something behind the desk is away or broken.
    #[error(transparent)]
    Backend(#[from] longshore_ports::Error),
}

impl Refusal {
    /// Every token, so that counters by reason can start at zero.
    pub(crate) const TOKENS: [&str; 20] = [
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
        "no_value",
        "ended",
        "internal",
    ];

    /// What kind of reason it is, as one token: the last one in the subject of a dead letter.
    pub fn token(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::OtherNamespace { .. } => "other_namespace",
            Self::UnknownLetter(_) => "unknown_letter",
            Self::LetterIncomplete(_) => "letter_incomplete",
            Self::TooLarge { .. } => "too_large",
            Self::Id => "invalid_id",
            Self::IdTaken { .. } => "id_taken",
            Self::UnknownWorkflow { .. } => "unknown_workflow",
            Self::UnknownVersion { .. } | Self::AmbiguousVersion { .. } => "unknown_version",
            Self::Submit(SubmitError::Workflow(_)) => "invalid_workflow",
            Self::Submit(SubmitError::Inputs(_)) => "invalid_inputs",
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
            Self::NotStored { cause: Some(cause), .. } if cause.cause == ErrorCause::Full => "full",
            Self::NotStored { .. } => "not_stored",
            Self::NoValue(_) | Self::ValueGone { .. } => "no_value",
            Self::Ended { .. } => "ended",
            Self::Unreadable { .. } | Self::Submit(SubmitError::Backend(_)) | Self::Backend(_) => "internal",
        }
    }

    /// Whether the same request may be granted a little later.
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::Backend(error) | Self::Submit(SubmitError::Backend(error)) => error.retryable,
            Self::Full { .. } | Self::NotStored { .. } | Self::Submit(SubmitError::BlobsFull(_)) => true,
            _ => false,
        }
    }

    /// The code, as in HTTP.
    const fn code(&self) -> u16 {
        match self {
            _ if self.may_pass() => 503,
            Self::Malformed(_) | Self::OtherNamespace { .. } | Self::Id | Self::AmbiguousVersion { .. } => {
                400
            }
            Self::UnknownLetter(_) | Self::NoValue(_) | Self::ValueGone { .. } => 404,
            Self::Quota { .. } => 429,
            Self::Submit(SubmitError::Workflow(_) | SubmitError::Inputs(_)) => 400,
            Self::TooLarge { .. } => 413,
            Self::UnknownWorkflow { .. } | Self::UnknownVersion { .. } | Self::UnknownRun(_) => 404,
            Self::IdTaken { .. } | Self::Ended { .. } | Self::LetterIncomplete(_) => 409,
            Self::Full { .. } | Self::NotStored { .. } => 503,
            Self::Unreadable { .. } | Self::Poison { .. } | Self::Submit(_) | Self::Backend(_) => 500,
        }
    }

    /// Everything that is wrong, one object each.
    fn problems(&self) -> Value {
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

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        let text = refusal.to_string();
        let body = json!({ "error": text, "reason": refusal.token(), "problems": refusal.problems() });
        // The message travels in a header, which is one line; the body has the rest.
        let message = text.lines().next().unwrap_or_default().to_owned();
        Self { code: refusal.code(), message, body: body.to_string().into_bytes() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_has_a_counter() {
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
    fn a_store_without_room_is_full_whatever_asked_it() {
        let full = || longshore_ports::Error::no_room("append", "resource limits exceeded");
        assert_eq!(Refusal::Backend(full()).token(), "full");
        assert_eq!(Refusal::Submit(SubmitError::Backend(full())).token(), "full");
        let away = longshore_ports::Error::transient("append", "no answer");
        assert_eq!(Refusal::Backend(away).token(), "internal");
    }
}
