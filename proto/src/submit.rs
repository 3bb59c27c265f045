//! What a client sends to have a workflow run.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The header that says what [`SubmitRequest::id`] does, for bodies that have none.
///
/// `Nats-Msg-Id` is understood too, but JetStream drops a message whose `Nats-Msg-Id` it saw a tenth of a second ago under
/// any subject, and so for any namespace; ids in this header and in bodies are its submitter's alone.
pub const ID_HEADER: &str = "Longshore-Id";

/// The body of a submit, as JSON or, by its `Content-Type`, MessagePack. An empty body submits with no inputs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The submitter's own id: the same id twice, for one workflow of one namespace, is one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The workflow's version, as the beginning of its digest; the newest one registered, if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The inputs. A key that occurs twice is refused.
    #[serde(default, deserialize_with = "crate::strict_map")]
    pub inputs: Map<String, Value>,
}
