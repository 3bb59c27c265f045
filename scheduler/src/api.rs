//! Requests from outside that are answered: what a transport asks of whoever knows the answers.

use async_trait::async_trait;
use longshore_proto::Namespace;

/// The most bytes of a request, and of an answer to one: what a broker takes in one message by default.
pub(crate) const REQUEST_LIMIT_BYTES: usize = 1024 * 1024;

/// What can be asked for, as in `longshore.v1.api.<namespace>.<verb>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Have a workflow run.
    Submit,
    /// One run in full.
    Get,
    /// One value of a run in full, part by part.
    Output,
    /// Runs, newest first.
    List,
    /// Tell a run to stop.
    Cancel,
    /// The workflows that are registered.
    Workflows,
    /// One workflow with its versions and the text of one of them.
    Workflow,
    /// Register a workflow.
    Push,
    /// Remove a workflow from the registry.
    Unregister,
    /// Refused submits, newest first.
    Dlq,
    /// One refused submit in full.
    DlqGet,
    /// Submit a refused submit again.
    DlqRetry,
    /// Remove a refused submit.
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

    /// Whether it changes anything, so that it belongs into the audit log.
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

    /// What it takes, for whoever asks a service what it can do.
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

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The namespace, from the subject: what permissions are given by. An answer is about nothing else.
    pub namespace: Namespace,
    /// Headers, their names in lower case: `content-type`, `traceparent`, ...
    pub headers: Vec<(String, String)>,
    /// The body: JSON. Empty counts as an empty object.
    pub body: Vec<u8>,
}

/// Why a request was not granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denied {
    /// As in HTTP: 400 the request is wrong, 404 there is no such thing, 409 it is something else already, 413 it is
    /// too large, 429 the namespace has enough, 503 try again
    /// later, 500 somebody has to mend something.
    pub code: u16,
    /// Why, in one line.
    pub message: String,
    /// The same as JSON, with every problem there is: `{"error": …, "problems": […]}`.
    pub body: Vec<u8>,
}

/// Whoever knows the answers.
#[async_trait]
pub trait Api: Send + Sync {
    /// Answers a request with a JSON document.
    async fn answer(&self, verb: Verb, request: Request) -> Result<Vec<u8>, Denied>;
}
