//! One call of the publisher: the messages of a caller, and the channel for their results.

use tokio::sync::oneshot;

use super::answer::Refusal;
use super::message::{Outgoing, Placed};

/// The most messages that go together: the server's limit for an atomic batch.
pub(super) const TOGETHER: usize = 1_000;

/// The result of a call: one element for each message, in their order.
pub(super) type PublishResult = Result<Vec<Placed>, Refusal>;

/// At most [`TOGETHER`] messages of one caller.
pub(super) struct PublishCall {
    pub(super) messages: Vec<Outgoing>,
    pub(super) reply: oneshot::Sender<PublishResult>,
}

impl PublishCall {
    /// The bytes of all bodies.
    pub(super) fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.body.len()).sum()
    }
}
