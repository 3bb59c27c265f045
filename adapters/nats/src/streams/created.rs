//! The streams that one process created, while other processes may create the same ones.
//!
//! Each attempt to create a stream draws an incarnation. A stream with one of them was created by this process, also if
//! the answer to the request was lost.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_nats::jetstream::stream::Config;

use super::definitions::INCARNATION;

/// The streams that this process created in one pass.
#[derive(Debug, Default)]
pub(crate) struct CreatedStreams {
    drawn: Mutex<BTreeSet<String>>,
    names: Mutex<BTreeSet<String>>,
}

impl CreatedStreams {
    /// Draws the incarnation for an attempt to create a stream.
    pub(super) fn draw_incarnation(&self) -> String {
        let incarnation = format!("{:032x}", rand::random::<u128>());
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).insert(incarnation.clone());
        incarnation
    }

    /// Records an existing stream, if this process created it.
    pub(super) fn record(&self, found: &Config) {
        let drawn = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
        if found.metadata.get(INCARNATION).is_some_and(|incarnation| drawn.contains(incarnation)) {
            self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(found.name.clone());
        }
    }

    /// Returns the names of the streams that this process created.
    pub(super) fn into_names(self) -> BTreeSet<String> {
        self.names.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_that_another_process_created_is_not_counted() {
        let (ours, others) = (CreatedStreams::default(), CreatedStreams::default());
        let stream = |name: &str, incarnation: String| Config {
            name: name.to_owned(),
            metadata: [(INCARNATION.to_owned(), incarnation)].into(),
            ..Config::default()
        };
        let _lost_attempt = ours.draw_incarnation();
        ours.record(&stream("LS_JOBS", ours.draw_incarnation()));
        ours.record(&stream("LS_BLOBS", others.draw_incarnation()));
        ours.record(&Config { name: "LS_DLQ".to_owned(), ..Config::default() });
        assert_eq!(ours.into_names().into_iter().collect::<Vec<_>>(), ["LS_JOBS"]);
    }
}
