//! The requests of clients: their verbs, and the trait through which a transport passes them on.

use async_trait::async_trait;
use longshore_proto::Namespace;

/// The most bytes of a request, and of an answer to one: what a broker takes in one message by default.
pub(crate) const REQUEST_LIMIT_BYTES: usize = 1024 * 1024;

/// The verb of a request, as in `longshore.v1.api.<namespace>.<verb>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Submits a run of a workflow.
    Submit,
    /// One run in full.
    Get,
    /// One value of a run in full, part by part.
    Output,
    /// Runs, newest first.
    List,
    /// Cancels a run.
    Cancel,
    /// The workflows that are registered.
    Workflows,
    /// One workflow with its versions and the text of one of them.
    Workflow,
    /// Registers a workflow.
    Push,
    /// Removes a workflow from the registry.
    Unregister,
    /// Refused submits, newest first.
    Dlq,
    /// One refused submit in full.
    DlqGet,
    /// Submits a refused submit again.
    DlqRetry,
    /// Removes a refused submit.
    DlqDrop,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 13] = [
        Self::Submit,
        Self::Get,
        Self::Output,
        Self::List,
        Self::Cancel,
        Self::Workflows,
        Self::Workflow,
        Self::Push,
        Self::Unregister,
        Self::Dlq,
        Self::DlqGet,
        Self::DlqRetry,
        Self::DlqDrop,
    ];

    /// The name in subjects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Get => "get",
            Self::Output => "output",
            Self::List => "list",
            Self::Cancel => "cancel",
            Self::Workflows => "workflows",
            Self::Workflow => "workflow",
            Self::Push => "push",
            Self::Unregister => "unregister",
            Self::Dlq => "dlq",
            Self::DlqGet => "dlq-get",
            Self::DlqRetry => "dlq-retry",
            Self::DlqDrop => "dlq-drop",
        }
    }

    /// Returns true for a verb that changes something, so that its requests belong into the audit log.
    pub const fn changes(self) -> bool {
        match self {
            Self::Submit | Self::Cancel | Self::Push | Self::Unregister | Self::DlqRetry | Self::DlqDrop => {
                true
            }
            Self::Get
            | Self::Output
            | Self::List
            | Self::Workflows
            | Self::Workflow
            | Self::Dlq
            | Self::DlqGet => false,
        }
    }

    /// The fields of its requests, for clients that ask the service for its endpoints.
    pub const fn takes(self) -> &'static str {
        match self {
            Self::Submit => "{workflow, id?, version?, inputs?}",
            Self::Get => "{run}",
            Self::Output => "{run, step?, content?, offset?}",
            Self::List => "{status?, workflow?, since?, labels?, after?, limit?}",
            Self::Cancel => "{run, reason?}",
            Self::Workflows => "{}",
            Self::Workflow => "{workflow, version?}",
            Self::Push => "{text}",
            Self::Unregister => "{workflow}",
            Self::Dlq => "{limit?}",
            Self::DlqGet | Self::DlqRetry | Self::DlqDrop => "{number}",
        }
    }
}

/// A request as the transport received it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The namespace, from the subject, by which permissions are given. An answer is about nothing else.
    pub namespace: Namespace,
    /// Headers, their names in lower case: `content-type`, `traceparent`, ...
    pub headers: Vec<(String, String)>,
    /// The body: JSON. Empty counts as an empty object.
    pub body: Vec<u8>,
}

/// The refusal of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// As in HTTP: 400 the request is wrong, 404 there is no such thing, 409 it exists with another content, 413 it is
    /// too large, 429 the namespace is at its limit, 503 the same request may succeed later, 500 the operator has to fix
    /// something.
    pub code: u16,
    /// The reason, in one line.
    pub message: String,
    /// The same as JSON, with every problem: `{"error": …, "problems": […]}`.
    pub body: Vec<u8>,
}

/// The answers to requests.
#[async_trait]
pub trait Api: Send + Sync {
    /// Answers a request with a JSON document.
    async fn answer(&self, verb: Verb, request: Request) -> Result<Vec<u8>, Denied>;
}
