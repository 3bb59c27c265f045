//! A submit as it was decoded from a request or a published message.

use longshore_proto::{Namespace, TraceContext, WorkflowName};
use serde_json::{Map, Value};

/// A submit as it was decoded. Nothing of it is checked.
#[derive(Clone, Debug)]
pub struct SubmitRequest {
    /// The namespace of the run.
    pub namespace: Namespace,
    /// The name of the workflow.
    pub workflow: WorkflowName,
    /// The beginning of the version's digest. `None` means the current version.
    pub version: Option<String>,
    /// The id that the client chose. The same id, for one workflow of one namespace, always means the same run.
    pub id: Option<String>,
    /// The inputs.
    pub inputs: Map<String, Value>,
    /// The trace that the run belongs to.
    pub trace: Option<TraceContext>,
}

impl SubmitRequest {
    /// Creates a submit of the current version, without an id and a trace.
    pub const fn new(namespace: Namespace, workflow: WorkflowName, inputs: Map<String, Value>) -> Self {
        Self { namespace, workflow, version: None, id: None, inputs, trace: None }
    }
}
