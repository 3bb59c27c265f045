//! Submits that were published to a subject, until a scheduler has taken them in; and the ones that were refused.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use async_trait::async_trait;
use longshore_proto::{Namespace, Timestamp, subject};
use serde::{Deserialize, Serialize};

use crate::{Error, Receipt};

/// A raw message, which is not checked yet.
pub struct Incoming {
    /// The place in the stream it was kept in, with the stream's life: the same for every delivery, another for every
    /// message. The run's id is derived from it when the submitter brought none.
    pub place: String,
    /// The token of the subject that names a namespace.
    pub namespace: String,
    /// The token of the subject that names a workflow.
    pub workflow: String,
    /// The body.
    pub body: Vec<u8>,
    /// Headers in lower case: `content-type`, `longshore-id`, `nats-msg-id`, `traceparent`, `tracestate`, ...
    pub headers: Vec<(String, String)>,
    /// Delivery count, starting at 1. It grows when a scheduler ends, in whichever way, with the message in hand.
    pub delivered: u32,
    /// The means to answer the stream. Acknowledged once the submit is in the log, or in the dead letters.
    pub receipt: Box<dyn Receipt>,
}

/// The door for submits by plain publish.
#[async_trait]
pub trait Submissions: Send + Sync {
    /// Takes up to `max` messages, waiting up to `wait` for the first. May come back with none.
    async fn pull(&self, max: NonZeroUsize, wait: Duration) -> Result<Vec<Incoming>, Error>;
}

/// A refused submit whose sender could not be answered.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Sequence number in the stream of dead letters. Zero until it is stored.
    #[serde(default, rename = "number", alias = "seq")]
    pub seq: u64,
    /// Time of the refusal.
    pub at: Timestamp,
    /// Code of the reason, one token: `malformed`, `unknown_workflow`, `invalid_inputs`, ...
    pub code: String,
    /// Description of the reason and, where known, of the remedy.
    pub reason: String,
    /// Subject of the message.
    pub subject: String,
    /// Headers of the message, with names in lower case. Only the first ones if they are long.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Body of the message as text, converted to JSON if it is MessagePack. Cut if it is long.
    pub body: String,
    /// True if headers and body are complete, so that the submit can be repeated.
    #[serde(default)]
    pub whole: bool,
}

impl DeadLetter {
    /// Returns the namespace in the subject of the message. `None` if it is invalid.
    pub fn namespace(&self) -> Option<Namespace> {
        subject::submit_namespace(&self.subject)?.parse().ok()
    }
}

/// The store of dead letters.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Stores a dead letter durably.
    async fn put(&self, letter: &DeadLetter) -> Result<(), Error>;

    /// Returns the dead letters of a namespace, or of all namespaces, newest first, at most `limit`.
    async fn list(&self, namespace: Option<&Namespace>, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Returns a dead letter of a namespace, or of any namespace.
    async fn get(&self, namespace: Option<&Namespace>, seq: u64) -> Result<Option<DeadLetter>, Error>;

    /// Removes a dead letter, if it exists.
    async fn remove(&self, seq: u64) -> Result<(), Error>;
}
