//! Sizes of the streams that others fill, as shares of what the account may store.
//!
//! Clients fill the stream of submits, tools fill the blobs, a lack of workers fills the queue. Each has a bound of its
//! own, so that none of them can take the room in which runs that were admitted end: that of the logs. The logs have no
//! bound by themselves; what the others leave is theirs.

use async_nats::jetstream::account::Account;
use async_nats::jetstream::stream::{Config, Info};
use longshore_proto::subject;

use super::WORKFLOWS_STREAM;

/// Where Longshore writes which `max_bytes` it set. An operator who sets another one is left alone.
pub(super) const SIZED: &str = "longshore.max_bytes";

/// The least size that is worth having: some messages of the largest size that a server takes by default.
pub(super) const LEAST_BYTES: u64 = 4 * MIB;

/// What is tried next where a server has no room for a size: so much less that the logs get what is left of it.
pub(super) const SMALLER: u64 = 4;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

/// The size of a stream.
struct Share {
    stream: &'static str,
    /// Of what the account may store for each copy.
    percent: u64,
    /// Without a limit of the account, and never more than this if `is_enough`.
    bytes: u64,
    is_enough: bool,
}

/// Together 55 %: the logs keep 45 % of an account, and admit submits up to 70 % of that.
///
/// - submits and jobs: what waits, a million messages of 2 KiB each.
/// - blobs: they are kept for as long as their runs, and are the largest part of what tools return.
/// - workflows: texts are blobs, so an entry of the registry takes some hundred bytes.
/// - dead letters: forgotten after a month or beyond this size, the oldest first; 16 KiB each at most.
const SHARES: [Share; 5] = [
    Share { stream: subject::SUBMIT_STREAM, percent: 10, bytes: 2 * GIB, is_enough: false },
    Share { stream: subject::JOBS_STREAM, percent: 10, bytes: 2 * GIB, is_enough: false },
    Share { stream: subject::BLOBS_STREAM, percent: 30, bytes: 20 * GIB, is_enough: false },
    Share { stream: WORKFLOWS_STREAM, percent: 2, bytes: 256 * MIB, is_enough: true },
    Share { stream: subject::DEAD_LETTER_STREAM, percent: 3, bytes: 256 * MIB, is_enough: true },
];

/// The streams with a size of their own.
pub(crate) fn sized_streams() -> impl Iterator<Item = &'static str> {
    SHARES.iter().map(|share| share.stream)
}

/// What an account may store and does store, for each copy of its streams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct AccountRoom {
    /// Nothing if it has no limit.
    limit: Option<u64>,
    used: u64,
    /// The most that one stream may take.
    stream_limit: Option<u64>,
}

impl AccountRoom {
    /// The room of streams with so many copies. Limits of an account are for all copies together, unless they are given
    /// for each number of copies.
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

    /// Whether the account has a limit.
    pub(crate) const fn is_limited(self) -> bool {
        self.limit.is_some()
    }

    /// The size that a stream should have. Nothing for one without a size of its own.
    pub(crate) fn size(self, stream: &str) -> Option<u64> {
        let share = SHARES.iter().find(|share| share.stream == stream)?;
        let size = match self.limit {
            None => share.bytes,
            Some(limit) => {
                let part = percent_of(limit, share.percent).max(LEAST_BYTES);
                if share.is_enough { part.min(share.bytes) } else { part }
            }
        };
        Some(self.stream_limit.map_or(size, |limit| size.min(limit)))
    }

    /// The room that is reserved for a stream for a moment while it is made with this size: where the account has no limit,
    /// only the server knows how much it can store, and a size that it grants could be all of it. So it is asked for as much
    /// as makes the size the stream's share.
    pub(super) fn reservation(self, stream: &str, size: u64) -> u64 {
        let share = SHARES.iter().find(|share| share.stream == stream);
        let whole = share.map_or(size, |share| size.saturating_mul(100) / share.percent.max(1));
        let whole = self.stream_limit.map_or(whole, |limit| whole.min(limit));
        if self.is_limited() { size } else { whole.max(size) }
    }

    /// How full the logs are, in per cent of what the other streams leave them. Those count with the room that they may
    /// take, so what they hold leaves the logs theirs. Zero without a limit.
    pub(crate) fn fullness_of_logs(self, others: &[(u64, Option<u64>, &str)]) -> u64 {
        let Some(limit) = self.limit else { return 0 };
        let (mut kept, mut held) = (0_u64, 0_u64);
        for (bytes, max_bytes, stream) in others {
            let share = self.size(stream).unwrap_or_default();
            // One that was made before the account had this limit may have a larger bound, which is no reason to refuse.
            kept = kept.saturating_add(max_bytes.map_or(share, |max| max.min(share)).max(*bytes));
            held = held.saturating_add(*bytes);
        }
        let (room, logs) = (limit.saturating_sub(kept), self.used.saturating_sub(held));
        logs.saturating_mul(100).checked_div(room).unwrap_or(100)
    }
}

/// Gives a stream that is made its size.
pub(super) fn give(config: &mut Config, bytes: u64) {
    give_reserved(config, bytes, bytes);
}

/// Gives a stream that is made more than its size, until [`unreserved`] takes the rest away.
pub(super) fn give_reserved(config: &mut Config, bytes: u64, reserved: u64) {
    let limit = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    config.max_bytes = limit(reserved);
    config.metadata.insert(SIZED.to_owned(), limit(bytes).to_string());
}

/// The size of a stream that still has the larger one which was reserved while it was made.
pub(super) fn unreserved(found: &Config, room: AccountRoom) -> Option<u64> {
    let size: u64 = found.metadata.get(SIZED)?.parse().ok()?;
    let reserved = room.reservation(&found.name, size);
    (reserved > size && u64::try_from(found.max_bytes) == Ok(reserved)).then_some(size)
}

/// The size of a stream, if it has one.
pub(crate) fn max_bytes(info: &Info) -> Option<u64> {
    u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0)
}

/// Whether a stream should grow: its size was set by Longshore, or never, and the account has more room by now.
pub(super) fn should_grow(found: &Config, needed: u64) -> bool {
    let is_ours = match found.metadata.get(SIZED) {
        Some(set) => *set == found.max_bytes.to_string(),
        None => found.max_bytes <= 0,
    };
    is_ours && (found.max_bytes <= 0 || u64::try_from(found.max_bytes).is_ok_and(|bytes| bytes < needed))
}

/// A part of something, without overflow and without a loss that matters.
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
    fn streams_that_others_fill_leave_the_logs_their_part() {
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
    fn a_server_without_a_limit_is_asked_for_as_much_as_makes_the_size_a_share() {
        let unlimited = AccountRoom::default();
        assert_eq!(unlimited.reservation(subject::SUBMIT_STREAM, GIB), 10 * GIB);
        assert_eq!(room(300 * MB, 0).reservation(subject::SUBMIT_STREAM, 30 * MB), 30 * MB);
        let mut made = Config { name: subject::SUBMIT_STREAM.to_owned(), ..Config::default() };
        give_reserved(&mut made, GIB, 10 * GIB);
        assert_eq!(unreserved(&made, unlimited), Some(GIB));
        give(&mut made, GIB);
        assert_eq!(unreserved(&made, unlimited), None);
    }

    #[test]
    fn what_waits_does_not_count_against_the_logs() {
        let all = |submits: u64| {
            let of = move |stream: &'static str| {
                let max = room(300 * MB, 0).size(stream);
                (if stream == subject::SUBMIT_STREAM { submits } else { 0 }, max, stream)
            };
            sized_streams().map(of).collect::<Vec<_>>()
        };
        assert_eq!(room(300 * MB, 0).fullness_of_logs(&all(0)), 0);
        assert_eq!(room(300 * MB, 30 * MB).fullness_of_logs(&all(30 * MB)), 0);
        // 54 of 135.
        assert_eq!(room(300 * MB, 84 * MB).fullness_of_logs(&all(30 * MB)), 40);
        // What a stream without a bound has taken beyond its share is missing for the logs.
        assert_eq!(room(300 * MB, 170 * MB).fullness_of_logs(&all(130 * MB)), 114);
        assert_eq!(room(300 * MB, 300 * MB).fullness_of_logs(&all(292 * MB)), 100);
        assert_eq!(AccountRoom { limit: None, ..room(0, 5) }.fullness_of_logs(&all(1)), 0);
    }

    #[test]
    fn a_size_grows_with_the_account_unless_an_operator_set_it() {
        let ours = |bytes| {
            let mut config = Config::default();
            give(&mut config, bytes);
            config
        };
        assert!(should_grow(&ours(10), 20));
        assert!(!should_grow(&ours(20), 10), "never smaller");
        assert!(should_grow(&Config { max_bytes: -1, ..Config::default() }, 10), "it has none yet");
        assert!(!should_grow(&Config { max_bytes: 10, ..Config::default() }, 20), "somebody chose it");
        assert!(!should_grow(&Config { max_bytes: 15, ..ours(10) }, 20), "somebody changed it");
    }
}
