//! Sizes of the streams that users fill, as shares of the storage limit of the account.
//!
//! Clients fill the stream of submits, tools fill the blobs, and a lack of workers fills the queue. Each has a limit of
//! its own, so that none of them takes the room of the logs, in which admitted runs end. The logs have no limit of
//! their own and get the rest.

use async_nats::jetstream::account::Account;
use async_nats::jetstream::stream::{Config, Info};
use longshore_proto::subject::{self, WORKFLOWS_STREAM};

/// Name of the metadata with the `max_bytes` that Longshore set. A stream whose limit an operator changed is not
/// resized.
pub(super) const SIZE_METADATA: &str = "longshore.max_bytes";

/// Least size of a stream: some messages of the largest size that a server accepts by default.
pub(crate) const LEAST_BYTES: u64 = 4 * MIB;

/// Factor by which a size is reduced where a server has no room for it. It is large enough that the logs get the rest.
pub(super) const SHRINK_FACTOR: u64 = 4;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// The share of a stream.
struct SizeShare {
    stream: &'static str,
    /// Per cent of the storage limit of the account, for each copy.
    percent: u64,
    /// Size without a limit of the account.
    bytes: u64,
    /// True if `bytes` is also the largest size with a limit.
    is_maximum: bool,
}

/// Shares of the streams, together 55 %. The logs keep 45 % of an account, and submits are admitted up to 70 % of that.
///
/// - submits and jobs: a million waiting messages of 2 KiB each.
/// - blobs: kept for as long as their runs, and the largest part of the results of tools.
/// - workflows: texts are blobs, so an entry of the registry takes some hundred bytes.
/// - dead letters: dropped after a month or beyond this size, the oldest first; at most 24 KiB of text each.
const SHARES: [SizeShare; 5] = [
    SizeShare { stream: subject::SUBMIT_STREAM, percent: 10, bytes: 2 * GIB, is_maximum: false },
    SizeShare { stream: subject::JOBS_STREAM, percent: 10, bytes: 2 * GIB, is_maximum: false },
    SizeShare { stream: subject::BLOBS_STREAM, percent: 30, bytes: 20 * GIB, is_maximum: false },
    SizeShare { stream: WORKFLOWS_STREAM, percent: 2, bytes: 256 * MIB, is_maximum: true },
    SizeShare { stream: subject::DEAD_LETTER_STREAM, percent: 3, bytes: 256 * MIB, is_maximum: true },
];

/// Returns the names of the streams with a size of their own.
pub(crate) fn sized_streams() -> impl Iterator<Item = &'static str> {
    SHARES.iter().map(|share| share.stream)
}

/// A stream with a size of its own, as it is.
pub(crate) struct SizedStream {
    pub(crate) name: &'static str,
    /// Bytes that it holds.
    pub(crate) bytes: u64,
    pub(crate) max_bytes: Option<u64>,
}

impl SizedStream {
    pub(crate) fn of(name: &'static str, info: &Info) -> Self {
        Self { name, bytes: info.state.bytes, max_bytes: max_bytes(info) }
    }
}

/// Storage limit and used storage of an account, for each copy of its streams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct AccountRoom {
    /// `None` if there is no limit.
    limit: Option<u64>,
    used: u64,
    /// Largest size of one stream, if there is a limit.
    stream_limit: Option<u64>,
}

impl AccountRoom {
    /// Returns the room for streams with `replicas` copies. Limits of an account are for all copies together, unless it
    /// has one for each number of copies (a tier).
    pub(crate) fn of(account: &Account, replicas: usize) -> Self {
        let copies = u64::try_from(replicas).unwrap_or(1).max(1);
        let positive =
            |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok()).filter(|l| *l > 0);
        match account.tiers.get(&format!("R{copies}")) {
            Some(tier) => Self {
                limit: positive(tier.limits.max_storage),
                used: tier.storage,
                stream_limit: positive(tier.limits.storage_max_stream_bytes),
            },
            None => Self {
                limit: positive(account.limits.max_storage).map(|limit| limit / copies),
                used: account.storage / copies,
                stream_limit: positive(account.limits.storage_max_stream_bytes),
            },
        }
    }

    /// Returns true if the account has a limit.
    pub(crate) const fn is_limited(self) -> bool {
        self.limit.is_some()
    }

    /// Returns the size that a stream should have. `None` for a stream without a size of its own.
    pub(crate) fn size(self, stream: &str) -> Option<u64> {
        let share = SHARES.iter().find(|share| share.stream == stream)?;
        let size = match self.limit {
            None => share.bytes,
            Some(limit) => {
                let part = percent_of(limit, share.percent).max(LEAST_BYTES);
                if share.is_maximum { part.min(share.bytes) } else { part }
            }
        };
        Some(self.stream_limit.map_or(size, |limit| size.min(limit)))
    }

    /// Returns the size with which a stream is created before it is set to `size`. Without a limit of the account only
    /// the server knows how much it can store, and a size that it grants could be all of it. So it is asked for so much
    /// that `size` is the stream's share.
    pub(super) fn reservation(self, stream: &str, size: u64) -> u64 {
        let share = SHARES.iter().find(|share| share.stream == stream);
        let whole = share.map_or(size, |share| size.saturating_mul(100) / share.percent.max(1));
        let whole = self.stream_limit.map_or(whole, |limit| whole.min(limit));
        if self.is_limited() { size } else { whole.max(size) }
    }

    /// Returns the fullness of the logs, in per cent of the room that the other streams leave them. Those count with
    /// their limits, so their contents do not reduce the room of the logs. Zero without a limit.
    pub(crate) fn fullness_of_logs(self, others: &[SizedStream]) -> u64 {
        let Some(limit) = self.limit else { return 0 };
        let (mut reserved, mut held) = (0_u64, 0_u64);
        for SizedStream { name, bytes, max_bytes } in others {
            let share = self.size(name).unwrap_or_default();
            // A stream that is older than the limit of the account may have a larger limit. That must not refuse
            // submits.
            reserved = reserved.saturating_add(max_bytes.map_or(share, |max| max.min(share)).max(*bytes));
            held = held.saturating_add(*bytes);
        }
        let (room, logs) = (limit.saturating_sub(reserved), self.used.saturating_sub(held));
        logs.saturating_mul(100).checked_div(room).unwrap_or(100)
    }
}

/// Sets the size of a stream in its configuration.
pub(super) fn set_size(config: &mut Config, bytes: u64) {
    set_reserved_size(config, bytes, bytes);
}

/// Sets the size of a new stream in its configuration, and the larger size with which the stream is created.
pub(super) fn set_reserved_size(config: &mut Config, bytes: u64, reserved: u64) {
    let limit = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    config.max_bytes = limit(reserved);
    config.metadata.insert(SIZE_METADATA.to_owned(), limit(bytes).to_string());
}

/// Returns the size of a stream that still has the larger one with which it was created.
pub(super) fn unreserved(found: &Config, room: AccountRoom) -> Option<u64> {
    let size: u64 = found.metadata.get(SIZE_METADATA)?.parse().ok()?;
    let reserved = room.reservation(&found.name, size);
    (reserved > size && u64::try_from(found.max_bytes) == Ok(reserved)).then_some(size)
}

/// Returns the limit of a stream in bytes, if it has one.
pub(crate) fn max_bytes(info: &Info) -> Option<u64> {
    u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0)
}

/// Returns true if a stream should grow: Longshore set its size, or it has none, and the account has more room now.
pub(super) fn should_grow(found: &Config, needed: u64) -> bool {
    let is_set_by_longshore = match found.metadata.get(SIZE_METADATA) {
        Some(set) => *set == found.max_bytes.to_string(),
        None => found.max_bytes <= 0,
    };
    is_set_by_longshore
        && (found.max_bytes <= 0 || u64::try_from(found.max_bytes).is_ok_and(|bytes| bytes < needed))
}

/// Returns a part of a size, without overflow. Rounding loses less than 100 bytes for each per cent.
const fn percent_of(bytes: u64, percent: u64) -> u64 {
    (bytes / 100).saturating_mul(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MB: u64 = 1_000_000;

    fn room(limit: u64, used: u64) -> AccountRoom {
        AccountRoom { limit: Some(limit), used, stream_limit: None }
    }

    #[test]
    fn sized_streams_leave_the_logs_45_percent() {
        let account = room(300 * MB, 0);
        let sizes: u64 = sized_streams().filter_map(|stream| account.size(stream)).sum();
        assert_eq!(sizes, 165 * MB);
        assert_eq!(account.size(subject::SUBMIT_STREAM), Some(30 * MB));
        assert_eq!(account.size("LS_LOG_00"), None);
        let large = room(1_000 * GIB, 0);
        assert_eq!(large.size(subject::DEAD_LETTER_STREAM), Some(256 * MIB));
        let bounded = AccountRoom { stream_limit: Some(5 * MB), ..account };
        assert_eq!(bounded.size(subject::BLOBS_STREAM), Some(5 * MB));
        assert_eq!(AccountRoom::default().size(subject::BLOBS_STREAM), Some(20 * GIB));
    }

    #[test]
    fn without_a_limit_a_stream_is_created_so_large_that_its_size_is_its_share() {
        let unlimited = AccountRoom::default();
        assert_eq!(unlimited.reservation(subject::SUBMIT_STREAM, GIB), 10 * GIB);
        assert_eq!(room(300 * MB, 0).reservation(subject::SUBMIT_STREAM, 30 * MB), 30 * MB);
        let mut created = Config { name: subject::SUBMIT_STREAM.to_owned(), ..Config::default() };
        set_reserved_size(&mut created, GIB, 10 * GIB);
        assert_eq!(unreserved(&created, unlimited), Some(GIB));
        set_size(&mut created, GIB);
        assert_eq!(unreserved(&created, unlimited), None);
    }

    #[test]
    fn contents_of_sized_streams_do_not_count_as_logs() {
        let all = |submits: u64| {
            let of = move |stream: &'static str| {
                let max_bytes = room(300 * MB, 0).size(stream);
                let bytes = if stream == subject::SUBMIT_STREAM { submits } else { 0 };
                SizedStream { name: stream, bytes, max_bytes }
            };
            sized_streams().map(of).collect::<Vec<_>>()
        };
        assert_eq!(room(300 * MB, 0).fullness_of_logs(&all(0)), 0);
        assert_eq!(room(300 * MB, 30 * MB).fullness_of_logs(&all(30 * MB)), 0);
        // 54 of 135.
        assert_eq!(room(300 * MB, 84 * MB).fullness_of_logs(&all(30 * MB)), 40);
        // Bytes of a stream beyond its share reduce the room of the logs.
        assert_eq!(room(300 * MB, 170 * MB).fullness_of_logs(&all(130 * MB)), 114);
        assert_eq!(room(300 * MB, 300 * MB).fullness_of_logs(&all(292 * MB)), 100);
        assert_eq!(AccountRoom { limit: None, ..room(0, 5) }.fullness_of_logs(&all(1)), 0);
    }

    #[test]
    fn size_grows_with_the_account_unless_an_operator_set_it() {
        let set_by_longshore = |bytes| {
            let mut config = Config::default();
            set_size(&mut config, bytes);
            config
        };
        assert!(should_grow(&set_by_longshore(10), 20));
        assert!(!should_grow(&set_by_longshore(20), 10), "never smaller");
        assert!(should_grow(&Config { max_bytes: -1, ..Config::default() }, 10), "it has no size yet");
        assert!(!should_grow(&Config { max_bytes: 10, ..Config::default() }, 20), "an operator set it");
        assert!(
            !should_grow(&Config { max_bytes: 15, ..set_by_longshore(10) }, 20),
            "an operator changed it"
        );
    }
}
