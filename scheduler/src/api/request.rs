//! Requests of clients, and the trait through which a transport passes them on.

use async_trait::async_trait;
use longshore_proto::Namespace;

use super::error_response::ErrorResponse;

/// Verb of a request, as in `longshore.v1.api.<namespace>.<verb>`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// Submits a run of a workflow.
    Submit,
    /// Returns a run in full.
    Get,
    /// Returns a value of a run, part by part.
    Output,
    /// Returns runs, newest first.
    List,
    /// Cancels a run.
    Cancel,
    /// Returns the registered workflows.
    Workflows,
    /// Returns a workflow with its versions and the text of one of them.
    Workflow,
    /// Registers a workflow.
    Push,
    /// Removes a workflow from the registry.
    Unregister,
    /// Returns dead letters (refused submits), newest first.
    Dlq,
    /// Returns a dead letter in full.
    DlqGet,
    /// Submits a dead letter again.
    DlqRetry,
    /// Removes a dead letter.
    DlqDrop,
}

impl Verb {
    /// All verbs.
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

    /// Returns the name in subjects.
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

    /// Returns true for a verb that changes state. Its requests are in the audit log.
    pub const fn is_change(self) -> bool {
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

    /// Returns the fields of a request, for the description of the service's endpoints.
    pub const fn fields(self) -> &'static str {
        match self {
            Self::Submit => "{workflow, id?, version?, inputs?}",
            Self::Get => "{run}",
            Self::Output => "{run, step?, content?, offset?}",
            Self::List => "{status?, workflow?, since?, labels?, indeterminate?, after?, limit?, wait?}",
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
pub struct ApiRequest {
    /// The namespace in the subject. Permissions are granted by subject, and an answer contains nothing of other namespaces.
    pub namespace: Namespace,
    /// Headers, with names in lower case: `content-type`, `traceparent`, ...
    pub headers: Vec<(String, String)>,
    /// The body as JSON. An empty body means an empty object.
    pub body: Vec<u8>,
}

/// Handler of requests, independent of the transport.
#[async_trait]
pub trait Api: Send + Sync {
    /// Answers a request with a JSON document.
    async fn answer(&self, verb: Verb, request: ApiRequest) -> Result<Vec<u8>, ErrorResponse>;
}
