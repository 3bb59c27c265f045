//! One call of the publisher: the messages of a caller, and the channel for their results.

use tokio::sync::oneshot;

use super::ack::PublishFailure;
use super::message::{OutgoingMessage, PublishOutcome};

/// Maximum number of messages of a group: the server's limit for an atomic batch.
pub(super) const GROUP_MESSAGES: usize = 1_000;

/// Result of a call: the outcome of each message, in their order.
pub(super) type PublishResult = Result<Vec<PublishOutcome>, PublishFailure>;

/// At most [`GROUP_MESSAGES`] messages of one caller.
pub(super) struct PublishCall {
    pub(super) messages: Vec<OutgoingMessage>,
    pub(super) reply: oneshot::Sender<PublishResult>,
}

impl PublishCall {
    /// Returns the bytes of all bodies.
    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}
