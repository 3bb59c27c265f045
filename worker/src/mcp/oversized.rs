//! A message of a server that is larger than `max_message_bytes`.

/// A message of more than `max_message_bytes`, which was not kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OversizedMessage {
    /// Size of the message, if it is known.
    pub(crate) bytes: Option<usize>,
    /// The largest size that is allowed.
    pub(crate) limit: usize,
    /// The message was the answer to the request. A stream of events may hold other messages as well.
    pub(crate) is_answer: bool,
}
