//! Ids and names, each a type of its own, so that one cannot be passed for another.
//!
//! An id prints as one token that is valid in a NATS subject, a Redis key and a shell argument.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::{Timestamp, text};

/// The error of a text that is not an id.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a {what}: {rule}")]
pub struct IdError {
    what: &'static str,
    text: String,
    rule: &'static str,
}

impl IdError {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        // The text is foreign input: at most some 80 characters of it are shown.
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

/// A share of all runs, with one log and one leader. Every run id contains it, so a client can address the partition
/// without a look-up.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

/// The id of a run: `run_<partition>_<ulid>`.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RunId {
    partition: Partition,
    ulid: Ulid,
}

impl RunId {
    /// Creates an id from the time of the submit and random bits, both of which the caller supplies.
    pub const fn new(partition: Partition, at: Timestamp, random: u128) -> Self {
        Self { partition, ulid: Ulid::from_parts(at.as_millis(), random) }
    }

    /// Derives the id of a run from a key that the submitter chose. Equal keys of a namespace give equal ids.
    pub fn derived(partition: Partition, namespace: &Namespace, key: &str) -> Self {
        let digest = crate::Digest::of(format!("{namespace}/{key}").as_bytes());
        Self { partition, ulid: Ulid(digest.prefix()) }
    }

    /// Returns the id as bytes: the partition and the ULID, both in big-endian order.
    pub fn to_bytes(self) -> [u8; 18] {
        let mut bytes = [0; 18];
        let (partition, ulid) = bytes.split_at_mut(2);
        partition.copy_from_slice(&self.partition.0.to_be_bytes());
        ulid.copy_from_slice(&self.ulid.0.to_be_bytes());
        bytes
    }

    /// Returns the id that [`RunId::to_bytes`] returned. `None` for zeros, which stand for no run.
    pub fn from_bytes(bytes: [u8; 18]) -> Option<Self> {
        let (partition, ulid) = bytes.split_first_chunk::<2>()?;
        let ulid = Ulid(u128::from_be_bytes(*ulid.first_chunk::<16>()?));
        (ulid.0 != 0).then(|| Self { partition: Partition(u16::from_be_bytes(*partition)), ulid })
    }

    /// Returns the partition of the run.
    pub const fn partition(&self) -> Partition {
        self.partition
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        let ulid = self.ulid.array_to_str(&mut buffer);
        ulid.make_ascii_lowercase();
        write!(f, "run_{}_{ulid}", self.partition)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for RunId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || IdError::new("run id", text, "it looks like run_00_01kbgq5v8m3n4p5q6r7s8t9v0w");
        let (partition, ulid) =
            text.strip_prefix("run_").and_then(|rest| rest.split_once('_')).ok_or_else(refuse)?;
        let partition = Partition(partition.parse().map_err(|_| refuse())?);
        let ulid = Ulid::from_string(&ulid.to_ascii_uppercase()).map_err(|_| refuse())?;
        Ok(Self { partition, ulid })
    }
}

/// Implements serialization as the text of `Display`, and deserialization with `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                text::write(self, serializer)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text::read(deserializer)
            }
        }
    };
}
serde_as_text!(RunId);

/// Declares a name that is checked when it is parsed.
macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $type(String);

        impl $type {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $type {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(IdError::new($what, text, $rule)) }
            }
        }
        serde_as_text!($type);
    };
}

fn word(text: &str, max: usize, extra: &[char]) -> bool {
    !text.is_empty()
        && text.len() <= max
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(&c))
}

name! {
    /// The name of a workflow: a slug.
    WorkflowName, "workflow name", "1 to 63 of a-z, 0-9 and `-`, not starting or ending with `-`",
    |text| word(text, 63, &['-']) && !text.starts_with('-') && !text.ends_with('-')
        && !text.contains(|c: char| c.is_ascii_uppercase())
}
name! {
    /// A namespace: an isolated set of workflows and runs. One token of a subject.
    Namespace, "namespace", "1 to 63 of A-Z, a-z, 0-9, `-` and `_`",
    |text| word(text, 63, &['-', '_'])
}

impl Default for Namespace {
    /// Returns the namespace that is used where none is named.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

name! {
    /// The name of an MCP server in the worker's configuration. One token of a subject.
    ServerName, "server name", "1 to 64 of A-Z, a-z, 0-9, `-` and `_`",
    |text| word(text, 64, &['-', '_'])
}
name! {
    /// The name of a secret in the worker's configuration.
    SecretName, "name of a secret", "1 to 63 of A-Z, a-z, 0-9 and `_`, not starting with a digit",
    |text| word(text, 63, &['_']) && !text.starts_with(|c: char| c.is_ascii_digit())
}
name! {
    /// The name of a tool. May contain dots, so it is never part of a subject.
    ToolName, "tool name", "1 to 128 printable characters without spaces",
    |text| !text.is_empty() && text.len() <= 128 && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
name! {
    /// The id of a scheduler or worker process: host, pid and a token drawn at its start.
    NodeId, "node id", "1 to 128 of A-Z, a-z, 0-9, `-` and `_`",
    |text| word(text, 128, &['-', '_'])
}
name! {
    /// The path of one occurrence of a step in a run: `fetch`, `by_region[2].sales`, or `#3` for the third step of a
    /// workflow, counted from 1, if it has no id.
    StepPath, "step path", "step ids joined by dots, each with an optional [index], or # and a number",
    |text| word(text, 512, &['_', '.', '[', ']', '#'])
}

/// The number of an attempt at a step, starting at 1.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The number of the first attempt.
    pub const FIRST: Self = Self(1);

    /// Returns the number of the attempt after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a job: run, step and the job's first attempt.
///
/// It is derived, not drawn at random: a scheduler that dispatches the same job again uses the same id, and the queue
/// refuses the duplicate.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct JobId {
    /// The run.
    pub run: RunId,
    /// The step of the run.
    pub step: StepPath,
    /// Number of the job's first attempt.
    pub attempt: Attempt,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.step, self.attempt)
    }
}

/// One delivery of a job to a worker. A job that is delivered again has another id, also to the same worker.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct DeliveryId {
    /// The worker. Each process of a worker has an id of its own.
    pub worker: NodeId,
    /// Number of the delivery in that process.
    pub number: u64,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.number)
    }
}

/// The key of a claim: a step of a run. All attempts at the step share it. A run that has expired may be submitted again
/// under the same id; the time of the submit distinguishes the claims of the two runs.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct ClaimKey {
    /// The run.
    pub run: RunId,
    /// Time of the run's submit, by the log's clock.
    pub submitted_at: Timestamp,
    /// The step of the run.
    pub step: StepPath,
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.run, self.submitted_at.as_millis(), self.step)
    }
}

/// The sequence number of an entry in a partition's log, starting at 1. Zero is the position before the first entry.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first entry.
    pub const ZERO: Self = Self(0);

    /// Returns the sequence number after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A term of leadership: the sequence number of the leader's announcement. Only the log assigns it, so it cannot go back
/// when the store of leases is lost.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Epoch(pub Seq);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_namespace_is_a_valid_namespace() {
        assert_eq!("default".parse(), Ok(Namespace::default()));
    }

    #[test]
    fn run_ids_round_trip_and_contain_their_partition() {
        let id = RunId::new(Partition(7), Timestamp::from_millis(1_795_187_471_042), 42);
        let text = id.to_string();
        assert!(text.starts_with("run_07_"), "{text}");
        assert_eq!(text.parse::<RunId>().expect("own text parses"), id);
        assert_eq!(id.partition(), Partition(7));
    }

    #[test]
    fn equal_keys_give_equal_run_ids() {
        let namespace: Namespace = "default".parse().expect("a namespace");
        let derive = |key| RunId::derived(Partition(0), &namespace, key);
        assert_eq!(derive("order-1"), derive("order-1"));
        assert_ne!(derive("order-1"), derive("order-2"));
    }

    #[test]
    fn invalid_names_are_refused() {
        assert!("sales-report".parse::<WorkflowName>().is_ok());
        for bad in ["", "-x", "x-", "Upper", "with space", "dot.ted", &"x".repeat(64)] {
            assert!(bad.parse::<WorkflowName>().is_err(), "{bad}");
        }
        assert!("a.b".parse::<ServerName>().is_err(), "a dot would split a subject");
        assert!("tool.with.dots".parse::<ToolName>().is_ok());
        assert!("by_region[2].sales".parse::<StepPath>().is_ok());
        assert!("../x".parse::<RunId>().is_err());
    }
}
