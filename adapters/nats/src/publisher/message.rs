//! A message on its way to a stream, and the result of its publish.

use bytes::Bytes;

/// Upper bound of a message's subject and headers in bytes, beside its body. A subject has at most about 700 bytes.
pub(super) const AROUND_BODY_BYTES: usize = 2 * 1024;

/// A message to be published.
#[derive(Clone)]
pub(crate) struct Outgoing {
    pub(crate) subject: async_nats::Subject,
    pub(crate) body: Bytes,
    pub(crate) manner: Manner,
}

/// How the stream stores a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manner {
    /// As it is.
    Alone,
    /// As it is, and only if its subject has no message.
    Once,
    /// In one message with others of its manner and subject that are published at the same time: its reader takes words
    /// that were [put together](longshore_proto::join_messages).
    Joined,
}

/// The result of a publish that the server answered without an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Placed {
    /// The message is stored durably, at this sequence.
    New(u64),
    /// The subject of the message already has one, so the server stored nothing.
    Already,
}
