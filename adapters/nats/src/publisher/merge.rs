//! Merges messages that may be stored as one.
//!
//! Most of the cost of a message, for the server and for its readers, does not depend on its size; and with
//! `sync_interval: always` each message costs an fsync. So adjacent messages that are [mergeable](StoreMode::Mergeable) become
//! one message.

use bytes::Bytes;
use longshore_proto::join_messages;

use super::message::{AROUND_BODY_BYTES, OutgoingMessage, StoreMode};

/// Maximum number of bytes of a merged message: small enough that nothing behind it waits long.
const MERGED_BYTES: usize = 64 * 1024;

/// Maximum number of messages in a merged message. Readers ask for some hundred entries at once, and one message should not
/// be many times more than that.
const MERGED_MESSAGES: usize = 128;

/// Maximum number of bytes that the lengths of the parts take in a merged message.
const LENGTHS_BYTES: usize = 1 + 4 * MERGED_MESSAGES;

/// Messages as they go to the server.
pub(super) struct MergedMessages {
    pub(super) messages: Vec<OutgoingMessage>,
    /// For each message of a caller, in order, the index in `messages` of the one that contains it.
    pub(super) index_of: Vec<usize>,
}

/// Merges adjacent messages, for a server that takes at most `allowed` bytes in a message.
pub(super) fn merge(messages: Vec<OutgoingMessage>, allowed: usize) -> MergedMessages {
    let limit = allowed.saturating_sub(AROUND_BODY_BYTES + LENGTHS_BYTES).min(MERGED_BYTES);
    let mut merged = Vec::with_capacity(messages.len());
    let mut index_of = Vec::with_capacity(messages.len());
    let mut pending = PendingMerge::default();
    for message in messages {
        if !pending.add(&message, limit) {
            merged.extend(pending.finish());
            pending.start(message);
        }
        index_of.push(merged.len());
    }
    merged.extend(pending.finish());
    MergedMessages { messages: merged, index_of }
}

/// Messages that become one.
#[derive(Default)]
struct PendingMerge {
    first: Option<OutgoingMessage>,
    bodies: Vec<Bytes>,
    bytes: usize,
}

impl PendingMerge {
    fn start(&mut self, message: OutgoingMessage) {
        self.bytes = message.body.len();
        self.bodies.push(message.body.clone());
        self.first = Some(message);
    }

    /// Adds a message if it may be merged with the first one and there is room for it. Returns true if it was added.
    fn add(&mut self, message: &OutgoingMessage, limit: usize) -> bool {
        let is_mergeable = self.first.as_ref().is_some_and(|first| {
            first.store == StoreMode::Mergeable
                && message.store == StoreMode::Mergeable
                && first.subject == message.subject
        });
        let has_room = self.bodies.len() < MERGED_MESSAGES && self.bytes + message.body.len() <= limit;
        if is_mergeable && has_room {
            self.bytes += message.body.len();
            self.bodies.push(message.body.clone());
        }
        is_mergeable && has_room
    }

    fn finish(&mut self) -> Option<OutgoingMessage> {
        let bodies = std::mem::take(&mut self.bodies);
        let first = self.first.take()?;
        Some(if bodies.len() > 1 {
            OutgoingMessage { body: join_messages(&bodies).into(), ..first }
        } else {
            first
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::{decode_all, encode};

    const MIB: usize = 1024 * 1024;

    fn message(subject: &'static str, number: usize, store: StoreMode) -> OutgoingMessage {
        OutgoingMessage { subject: subject.into(), body: encode(&number).expect("encodes").into(), store }
    }

    /// Returns the numbers in each merged message, and the index of the one that contains each given message.
    fn merged_numbers(messages: Vec<OutgoingMessage>) -> (Vec<Vec<usize>>, Vec<usize>) {
        let MergedMessages { messages, index_of } = merge(messages, MIB);
        let numbers =
            |message: &OutgoingMessage| decode_all(&message.body).into_iter().map(|n| n.expect("a number"));
        (messages.iter().map(|message| numbers(message).collect()).collect(), index_of)
    }

    #[test]
    fn mergeable_adjacent_messages_become_one_and_keep_their_order() {
        use StoreMode::{Mergeable, Single};
        assert_eq!(merged_numbers(Vec::new()), (vec![], vec![]));
        let modes = [
            ("a", Mergeable),
            ("a", Mergeable),
            ("a", Single),
            ("a", Mergeable),
            ("b", Mergeable),
            ("b", Mergeable),
        ];
        let messages = modes.iter().enumerate().map(|(n, (subject, store))| message(subject, n, *store));
        let expected = (vec![vec![0, 1], vec![2], vec![3], vec![4, 5]], vec![0, 0, 1, 2, 3, 3]);
        assert_eq!(merged_numbers(messages.collect()), expected);
        let conditional = (0..2).map(|n| message("a", n, StoreMode::IfAbsent)).collect();
        assert_eq!(merged_numbers(conditional), (vec![vec![0], vec![1]], vec![0, 1]));
    }

    #[test]
    fn merged_message_is_bounded_in_count_and_bytes() {
        let messages = (0..MERGED_MESSAGES + 1).map(|n| message("a", n, StoreMode::Mergeable)).collect();
        let (numbers, index_of) = merged_numbers(messages);
        assert_eq!((numbers.len(), numbers[0].len(), index_of[MERGED_MESSAGES]), (2, MERGED_MESSAGES, 1));
        let large = vec![0_u8; MERGED_BYTES / 2 + 1];
        let large = OutgoingMessage { subject: "a".into(), body: large.into(), store: StoreMode::Mergeable };
        assert_eq!(merge(vec![large; 3], MIB).index_of, [0, 1, 2]);
        let half = OutgoingMessage { body: vec![0; 4_000].into(), ..message("a", 0, StoreMode::Mergeable) };
        for (allowed, expected) in [(MIB, [0, 0, 0]), (12_000, [0, 0, 1]), (4_000, [0, 1, 2])] {
            let MergedMessages { messages, index_of } = merge(vec![half.clone(); 3], allowed);
            assert_eq!(index_of, expected);
            assert!(messages.iter().all(|message| message.body.len() <= allowed.max(4_000)));
        }
    }
}
