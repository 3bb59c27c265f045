//! The body of a submit: a client's request to run a workflow.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The header with the id of a submit whose body has no [`SubmitBody::id`].
///
/// `Nats-Msg-Id` is accepted too. But JetStream drops a message whose `Nats-Msg-Id` it saw within the last tenth of a
/// second, whatever the subject and thus the namespace was. Ids in this header and in bodies are separate for each
/// namespace.
pub const ID_HEADER: &str = "Longshore-Id";

/// Body of a submit. A request is JSON; a published message is JSON, or MessagePack if its `Content-Type` says so. An empty
/// message submits without inputs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitBody {
    /// The namespace of the run. The subject has it as well; the body may repeat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name of the workflow. A request has to give it. The subject of a published message has it as well; the body may
    /// repeat it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Id that the submitter chose. Submits with the same id for the same workflow and namespace are one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Version of the workflow, as the beginning of its digest. `None` means the version registered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Inputs of the run. A key that occurs twice is refused.
    #[serde(default, deserialize_with = "crate::strict_map")]
    pub inputs: Map<String, Value>,
}
