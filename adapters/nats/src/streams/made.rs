//! The streams that one process made, while others may make the same.
//!
//! Each attempt to create a stream draws an incarnation. A stream that has one of them was made here, also if the answer to
//! the request was lost.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_nats::jetstream::stream::Config;

use super::INCARNATION;

/// The streams that this process made in one go.
#[derive(Debug, Default)]
pub(crate) struct MadeStreams {
    drawn: Mutex<BTreeSet<String>>,
    names: Mutex<BTreeSet<String>>,
}

impl MadeStreams {
    /// Draws the incarnation for an attempt to create a stream.
    pub(super) fn draw_incarnation(&self) -> String {
        let incarnation = format!("{:032x}", rand::random::<u128>());
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).insert(incarnation.clone());
        incarnation
    }

    /// Notes a stream as it was found, if this process made it.
    pub(super) fn note(&self, found: &Config) {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if found.metadata.get(INCARNATION).is_some_and(|incarnation| drawn.contains(incarnation)) {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(found.name.clone());
        }
    }

    /// Returns the names of the streams that this process made.
    pub(super) fn into_names(self) -> BTreeSet<String> {
        self.names.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_another_process_made_is_not_counted() {
        let (ours, others) = (MadeStreams::default(), MadeStreams::default());
        let stream = |name: &str, incarnation: String| Config {
            name: name.to_owned(),
            metadata: [(INCARNATION.to_owned(), incarnation)].into(),
            ..Config::default()
        };
        let _lost_attempt = ours.draw_incarnation();
        ours.note(&stream("LS_JOBS", ours.draw_incarnation()));
        ours.note(&stream("LS_BLOBS", others.draw_incarnation()));
        ours.note(&Config { name: "LS_DLQ".to_owned(), ..Config::default() });
        assert_eq!(ours.into_names().into_iter().collect::<Vec<_>>(), ["LS_JOBS"]);
    }
}
