//! Body of a submit.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The header that says what [`SubmitBody::id`] does, for bodies that have none.
///
/// `Nats-Msg-Id` is understood too, but JetStream drops a message whose `Nats-Msg-Id` it saw a tenth of a second ago under
/// any subject, and so for any namespace; ids in this header and in bodies are its submitter's alone.
pub const ID_HEADER: &str = "Longshore-Id";

/// Body of a submit: of a request as JSON, of a published message as JSON or, by its `Content-Type`, MessagePack. An empty
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
    /// The submitter's own id: the same id twice, for one workflow of one namespace, is one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The workflow's version, as the beginning of its digest; the newest one registered, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The inputs. A key that occurs twice is refused.
    #[serde(default, deserialize_with = "crate::unique_keys")]
    pub inputs: Map<String, Value>,
}
