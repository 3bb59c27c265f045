//! A message to be published, and the result of its publish.

use bytes::Bytes;

/// Upper bound of a message's subject and headers in bytes, beside its body. A subject has at most about 700 bytes.
pub(super) const AROUND_BODY_BYTES: usize = 2 * 1024;

/// A message to be published.
#[derive(Clone)]
pub(crate) struct OutgoingMessage {
    pub(crate) subject: async_nats::Subject,
    pub(crate) body: Bytes,
    pub(crate) store: StoreMode,
}

/// The way in which the stream stores a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StoreMode {
    /// Stored by itself, without a condition.
    Single,
    /// Stored by itself, and only if its subject has no message.
    IfAbsent,
    /// Merged with adjacent messages of this mode and the same subject into one message. Readers of the subject accept
    /// [joined](longshore_proto::join_messages) bodies.
    Mergeable,
}

/// The result of a publish that the server answered without an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublishOutcome {
    /// The message is stored durably, at this sequence.
    Stored(u64),
    /// The subject of the message already has one, so the server stored nothing.
    AlreadyPresent,
}
