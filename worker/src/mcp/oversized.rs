//! A message of a server that is too large to be kept.

/// A message of more than `max_message_bytes`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Oversized {
    /// How large it was, where that is known.
    pub(crate) bytes: Option<usize>,
    /// How large it might have been.
    pub(crate) limit: usize,
    /// Whether it was the answer to the request: a stream of events may hold other messages as well.
    pub(crate) is_answer: bool,
}
