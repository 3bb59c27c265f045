//! Results of evaluations: what the expressions of a step give that read large values or take long.

use serde::{Deserialize, Serialize};

use crate::{Fault, Payload, SecretPlace};

/// The number of an evaluation of a step or of the outputs of a run. A result counts only if the state waits for this number.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct EvaluationNumber(pub u32);

/// The result of an evaluation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evaluation {
    /// The condition of the step is false.
    Skip {
        /// Reason, for display.
        reason: String,
    },
    /// The step is a group, and begins.
    Group,
    /// The step calls its tool.
    Call {
        /// Arguments: an object.
        arguments: Payload,
        /// The beginning of stored arguments for display, as JSON text. Empty for inline arguments.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        shown: String,
        /// Places in the arguments where the worker inserts secrets.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        secrets: Vec<SecretPlace>,
        /// Idempotency key that the step defines.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        own_key: Option<String>,
    },
    /// The value of a `set` step, or the outputs of a run.
    Value {
        /// The value.
        value: Payload,
    },
    /// An expression failed, or a value that it reads is lost.
    Fault {
        /// The fault.
        fault: Fault,
    },
}
