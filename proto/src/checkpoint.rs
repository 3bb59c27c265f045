//! The identity of a checkpoint: the log, position and history that it was computed from.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Seq, Timestamp};

/// The id of one incarnation of a log. A log that is created again, after its storage was lost, has another one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hash over all log entries applied so far. Equal hashes mean equal histories.
///
/// It detects a log that lost its end and continued with other entries. It is not cryptographic, so it does not protect
/// against forgery.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RollingHash(u64);

impl RollingHash {
    /// Returns the hash after one more entry with this sequence number, time and stored bytes.
    pub fn extend(self, seq: Seq, at: Timestamp, body: &[u8]) -> Self {
        let placed = xxh3_64_with_seed(&seq.0.to_le_bytes(), self.0);
        let timed = xxh3_64_with_seed(&at.as_millis().to_le_bytes(), placed);
        Self(xxh3_64_with_seed(body, timed))
    }
}

/// The prefix of a log that a checkpoint was computed from. A delta is accepted only onto the mark that it is based on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CheckpointMark {
    /// Incarnation of the log.
    pub incarnation: Incarnation,
    /// Last log entry that is included.
    pub seq: Seq,
    /// Format version of the state.
    pub version: u16,
    /// Hash over the log up to `seq`.
    pub hash: RollingHash,
}
