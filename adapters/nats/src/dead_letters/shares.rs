//! Shares of the namespaces in the stream of dead letters.
//!
//! A full stream drops its oldest messages, whichever namespace they belong to. So before it is full, the namespace with
//! the most dead letters loses its oldest ones, and one that sends many invalid submits pushes out its own only. A
//! namespace with fewer than the others, or with less than an equal share at the largest size of a dead letter, loses none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use longshore_proto::subject::{self, DEAD_LETTER_STREAM, DEAD_LETTERS};
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use crate::api::{ApiError, request};
use crate::connection::Connection;
use crate::streams::sizes::LEAST_BYTES;

/// Fullness of the stream, in per cent, from which on the oldest dead letters of the namespace with the most are removed.
pub const DEAD_LETTER_TRIM_PERCENT: u64 = 80;

/// Bytes that a process stores before it reads the fullness again, in per cent of the stream. Twenty schedulers that store
/// as much at the same time do not fill the stream in between.
const UNCHECKED_PERCENT: u64 = 1;

/// Maximum number of removals at a time. Each one removes an eighth of the dead letters of a namespace.
const MOST_REMOVALS: usize = 16;

/// Bytes that this process has stored since it last read the fullness of the stream.
pub(super) struct NamespaceShares {
    unchecked_bytes: AtomicU64,
    /// Bytes after which the fullness is read again.
    check_after_bytes: AtomicU64,
}

impl Default for NamespaceShares {
    fn default() -> Self {
        let check_after_bytes = AtomicU64::new(LEAST_BYTES * UNCHECKED_PERCENT / 100);
        Self { unchecked_bytes: AtomicU64::default(), check_after_bytes }
    }
}

impl NamespaceShares {
    /// Counts a dead letter that is about to be stored, and makes room for it if the stream is nearly full. Without the
    /// permission to do so, the stream drops its oldest messages.
    pub(super) async fn make_room(&self, connection: &Connection, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let before = self.unchecked_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) < self.check_after_bytes.load(Ordering::Relaxed) {
            return;
        }
        self.unchecked_bytes.store(0, Ordering::Relaxed);
        if let Err(error) = self.trim(connection).await {
            warn!(%error, stream = DEAD_LETTER_STREAM, "cannot make room for dead letters; a full stream drops the oldest of all namespaces");
        }
    }

    async fn trim(&self, connection: &Connection) -> Result<(), ApiError> {
        for _ in 0..MOST_REMOVALS {
            let of_all = json!({ "subjects_filter": DEAD_LETTERS });
            let info: StreamContents =
                request(&connection.context, format!("STREAM.INFO.{DEAD_LETTER_STREAM}"), &of_all).await?;
            let Ok(limit @ 1..) = u64::try_from(info.config.max_bytes) else { return Ok(()) };
            self.check_after_bytes.store(limit / 100 * UNCHECKED_PERCENT, Ordering::Relaxed);
            let percent = info.state.bytes.saturating_mul(100) / limit;
            if percent < DEAD_LETTER_TRIM_PERCENT {
                return Ok(());
            }
            let Some((namespace, count)) = largest(&info.state.subjects) else { return Ok(()) };
            let removed = (count / 8).max(1);
            let oldest = json!({ "filter": subject::dead_letters_of(&namespace), "keep": count - removed });
            let Purged {} =
                request(&connection.context, format!("STREAM.PURGE.{DEAD_LETTER_STREAM}"), &oldest).await?;
            warn!(
                namespace,
                removed,
                percent,
                "the stream of dead letters is nearly full; removed the oldest of the namespace with the most"
            );
        }
        Ok(())
    }
}

/// The state of the stream, with the number of messages of each subject.
#[derive(Deserialize)]
struct StreamContents {
    config: StreamLimits,
    state: StreamCounts,
}

#[derive(Deserialize)]
struct StreamLimits {
    #[serde(default)]
    max_bytes: i64,
}

#[derive(Deserialize)]
struct StreamCounts {
    bytes: u64,
    #[serde(default)]
    subjects: BTreeMap<String, u64>,
}

/// The answer to a purge.
#[derive(Deserialize)]
struct Purged {}

/// Returns the namespace with the most dead letters, and their number.
fn largest(subjects: &BTreeMap<String, u64>) -> Option<(String, u64)> {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (subject, count) in subjects {
        if let Some(namespace) = subject::dead_letter_namespace(subject) {
            *counts.entry(namespace).or_default() += count;
        }
    }
    let largest = counts.into_iter().max_by_key(|(_, count)| *count)?;
    Some((largest.0.to_owned(), largest.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_of_a_namespace_are_counted_over_all_reasons() {
        let counts = [("a.malformed", 4), ("a.invalid_id", 4), ("b.malformed", 7), ("~.malformed", 1)];
        let subjects = counts.map(|(tokens, count)| (format!("longshore.v1.dlq.{tokens}"), count));
        assert_eq!(largest(&subjects.into()), Some(("a".to_owned(), 8)));
        assert_eq!(largest(&BTreeMap::new()), None);
    }
}
