//! Messages that are stored as one.
//!
//! What a message costs the server and its readers is mostly there for every message, however small it is; and with
//! `sync_interval: always` each costs an fsync. So those that may be [joined](Manner::Joined) are.

use bytes::Bytes;
use longshore_proto::join_messages;

use super::message::{AROUND_BODY_BYTES, Manner, Outgoing};

/// How large a message becomes by joining others, in bytes: small enough that nothing behind it waits long.
const JOINED_BYTES: usize = 64 * 1024;

/// How many are joined at most: what a reader that asks for a few hundred entries takes up without a strain.
const JOINED: usize = 128;

/// What the lengths of joined messages take, at most.
const LENGTHS_BYTES: usize = 1 + 4 * JOINED;

/// Joins neighbours, for a server that takes so many bytes in one message. Tells beside the messages in which of them
/// each of the given ones is.
pub(super) fn joined(messages: Vec<Outgoing>, allowed: usize) -> (Vec<Outgoing>, Vec<usize>) {
    let most = allowed.saturating_sub(AROUND_BODY_BYTES + LENGTHS_BYTES).min(JOINED_BYTES);
    let mut joined = Vec::with_capacity(messages.len());
    let mut places = Vec::with_capacity(messages.len());
    let mut neighbours = Neighbours::default();
    for message in messages {
        if !neighbours.take(&message, most) {
            joined.extend(neighbours.leave());
            neighbours.begin(message);
        }
        places.push(joined.len());
    }
    joined.extend(neighbours.leave());
    (joined, places)
}

/// Messages that become one.
#[derive(Default)]
struct Neighbours {
    first: Option<Outgoing>,
    bodies: Vec<Bytes>,
    bytes: usize,
}

impl Neighbours {
    fn begin(&mut self, message: Outgoing) {
        self.bytes = message.body.len();
        self.bodies.push(message.body.clone());
        self.first = Some(message);
    }

    /// Takes one more, if it fits.
    fn take(&mut self, message: &Outgoing, most: usize) -> bool {
        let fits = self.first.as_ref().is_some_and(|first| {
            first.manner == Manner::Joined
                && message.manner == Manner::Joined
                && first.subject == message.subject
        });
        let has_room = self.bodies.len() < JOINED && self.bytes + message.body.len() <= most;
        if fits && has_room {
            self.bytes += message.body.len();
            self.bodies.push(message.body.clone());
        }
        fits && has_room
    }

    fn leave(&mut self) -> Option<Outgoing> {
        let bodies = std::mem::take(&mut self.bodies);
        let first = self.first.take()?;
        Some(if bodies.len() > 1 { Outgoing { body: join_messages(&bodies).into(), ..first } } else { first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::{decode_all, encode};

    const MIB: usize = 1024 * 1024;

    fn message(subject: &'static str, number: usize, manner: Manner) -> Outgoing {
        Outgoing { subject: subject.into(), body: encode(&number).expect("encodes").into(), manner }
    }

    /// The numbers in each message, and where each given one is.
    fn check(messages: Vec<Outgoing>) -> (Vec<Vec<usize>>, Vec<usize>) {
        let (joined, places) = joined(messages, MIB);
        let numbers =
            |message: &Outgoing| decode_all(&message.body).into_iter().map(|n| n.expect("a number"));
        (joined.iter().map(|message| numbers(message).collect()).collect(), places)
    }

    #[test]
    fn neighbours_become_one_message_and_keep_their_order() {
        use Manner::{Alone, Joined};
        assert_eq!(check(Vec::new()), (vec![], vec![]));
        let manners =
            [("a", Joined), ("a", Joined), ("a", Alone), ("a", Joined), ("b", Joined), ("b", Joined)];
        let messages = manners.iter().enumerate().map(|(n, (subject, manner))| message(subject, n, *manner));
        let expected = (vec![vec![0, 1], vec![2], vec![3], vec![4, 5]], vec![0, 0, 1, 2, 3, 3]);
        assert_eq!(check(messages.collect()), expected);
        let once = (0..2).map(|n| message("a", n, Manner::Once)).collect();
        assert_eq!(check(once), (vec![vec![0], vec![1]], vec![0, 1]));
    }

    #[test]
    fn what_is_joined_has_a_bound() {
        let (numbers, places) = check((0..JOINED + 1).map(|n| message("a", n, Manner::Joined)).collect());
        assert_eq!((numbers.len(), numbers[0].len(), places[JOINED]), (2, JOINED, 1));
        let large = vec![0_u8; JOINED_BYTES / 2 + 1];
        let large = Outgoing { subject: "a".into(), body: large.into(), manner: Manner::Joined };
        assert_eq!(joined(vec![large; 3], MIB).1, [0, 1, 2]);
        let half = Outgoing { body: vec![0; 4_000].into(), ..message("a", 0, Manner::Joined) };
        for (allowed, places) in [(MIB, [0, 0, 0]), (12_000, [0, 0, 1]), (4_000, [0, 1, 2])] {
            let (joined, found) = joined(vec![half.clone(); 3], allowed);
            assert_eq!(found, places);
            assert!(joined.iter().all(|message| message.body.len() <= allowed.max(4_000)));
        }
    }
}
