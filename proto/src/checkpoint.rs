//! What a checkpoint says about itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Seq, Timestamp};

/// One life of a log: a new one begins when its storage is created again.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Incarnation(pub String);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hash over every record applied so far: two logs that agree on it agree on their whole history.
///
/// It finds a log that lost its end and grew another one; it is no protection against somebody who forges.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct RollingHash(u64);

impl RollingHash {
    /// The hash after one more record: its place, its time, and its bytes as stored.
    pub fn extend(self, seq: Seq, at: Timestamp, body: &[u8]) -> Self {
        let placed = xxh3_64_with_seed(&seq.0.to_le_bytes(), self.0);
        let timed = xxh3_64_with_seed(&at.as_millis().to_le_bytes(), placed);
        Self(xxh3_64_with_seed(body, timed))
    }
}

/// Which prefix of which log a checkpoint stands for. A delta is accepted only onto the mark it was computed from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CheckpointMark {
    /// The life of the log.
    pub incarnation: Incarnation,
    /// The last record that is in it.
    pub seq: Seq,
    /// The format of the state.
    pub version: u16,
    /// The hash over the history up to `seq`.
    pub hash: RollingHash,
}
