//! The last entries of each log in memory, so that readers get what this process has just appended without reading the
//! file.
//!
//! The writer adds entries in their order, once they are durable. A reader that is further behind reads the file.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::{Partition, Seq};
use tokio::sync::watch;

use super::entries::StoredEntry;

/// Maximum number of entries of a log in memory: a few groups of the writer, so that a reader that processes one group
/// finds the next ones.
const KEPT_ENTRIES: usize = 4_096;

/// Maximum number of bytes of a log in memory: large entries are rare, and may come from the page cache.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The last entries of all logs.
#[derive(Default)]
pub(super) struct RecentEntries {
    logs: Mutex<BTreeMap<Partition, LogEnd>>,
}

/// The last entries of one log, without gaps.
#[derive(Default)]
struct LogEnd {
    entries: VecDeque<StoredEntry>,
    bytes: usize,
    tail: watch::Sender<Seq>,
}

impl RecentEntries {
    /// Adds entries that are durable now, and wakes the readers that wait for them.
    pub(super) fn push(&self, partition: Partition, stored: Vec<StoredEntry>) {
        let mut logs = self.lock();
        let end = logs.entry(partition).or_default();
        let (Some(first), Some(tail)) = (stored.first(), stored.last().map(|entry| entry.seq)) else {
            return;
        };
        // Another process has appended in between: its entries and those before are read from the file.
        if end.entries.back().is_some_and(|last| last.seq.next() != first.seq) {
            end.entries.clear();
            end.bytes = 0;
        }
        end.bytes += stored.iter().map(|entry| entry.body.len()).sum::<usize>();
        end.entries.extend(stored);
        while end.entries.len() > KEPT_ENTRIES || end.bytes > KEPT_BYTES {
            let Some(oldest) = end.entries.pop_front() else { break };
            end.bytes -= oldest.body.len();
        }
        end.tail.send_replace(tail);
    }

    /// Returns a receiver of the tail of a log. `tail` is its present value in the file.
    pub(super) fn follow(&self, partition: Partition, tail: Seq) -> watch::Receiver<Seq> {
        let mut logs = self.lock();
        let end = logs.entry(partition).or_default();
        end.tail.send_if_modified(|known| {
            let is_behind = *known < tail;
            *known = tail.max(*known);
            is_behind
        });
        end.tail.subscribe()
    }

    /// Returns up to `max` entries from `from` on. `None` if they are not in memory.
    pub(super) fn take(&self, partition: Partition, from: Seq, max: usize) -> Option<Vec<StoredEntry>> {
        let logs = self.lock();
        let entries = &logs.get(&partition)?.entries;
        let skipped = usize::try_from(from.0.checked_sub(entries.front()?.seq.0)?).ok()?;
        let taken: Vec<_> = entries.iter().skip(skipped).take(max).cloned().collect();
        if taken.is_empty() { None } else { Some(taken) }
    }

    /// Drops all entries. Waiting readers get an error, because their channels close.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, LogEnd>> {
        // No code that holds the lock can panic half-way.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::Timestamp;

    const LOG: Partition = Partition(0);

    fn stored(from: u64, count: u64, bytes: usize) -> Vec<StoredEntry> {
        let at = Timestamp::default();
        (from..from + count).map(|seq| StoredEntry { seq: Seq(seq), at, body: vec![0; bytes] }).collect()
    }

    fn seqs(taken: Option<Vec<StoredEntry>>) -> Vec<u64> {
        taken.unwrap_or_default().iter().map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn only_entries_in_memory_are_returned() {
        let recent = RecentEntries::default();
        recent.push(LOG, stored(5, 3, 1));
        recent.push(LOG, stored(8, 1, 1));
        assert_eq!(seqs(recent.take(LOG, Seq(6), 2)), [6, 7]);
        assert_eq!(seqs(recent.take(LOG, Seq(6), 9)), [6, 7, 8]);
        assert_eq!(recent.take(LOG, Seq(4), 9), None, "older ones are in the file");
        assert_eq!(recent.take(LOG, Seq(9), 9), None, "newer ones do not exist yet");
        assert_eq!(recent.take(Partition(1), Seq(5), 9), None);
    }

    #[test]
    fn entries_of_another_process_in_between_leave_no_gap() {
        let recent = RecentEntries::default();
        recent.push(LOG, stored(1, 3, 1));
        recent.push(LOG, stored(5, 2, 1));
        assert_eq!(recent.take(LOG, Seq(3), 9), None, "the fourth one is in the file alone");
        assert_eq!(recent.take(LOG, Seq(4), 9), None);
        assert_eq!(seqs(recent.take(LOG, Seq(5), 9)), [5, 6]);
    }

    #[test]
    fn memory_is_bounded_in_entries_and_bytes() {
        let recent = RecentEntries::default();
        recent.push(LOG, stored(1, 5_000, 1));
        assert_eq!(recent.take(LOG, Seq(1), 1), None);
        assert_eq!(seqs(recent.take(LOG, Seq(5_000), 1)), [5_000]);
        recent.push(LOG, stored(5_001, 3, KEPT_BYTES / 2));
        assert_eq!(recent.take(LOG, Seq(5_001), 1), None);
        assert_eq!(seqs(recent.take(LOG, Seq(5_002), 9)), [5_002, 5_003]);
    }

    #[test]
    fn tail_never_decreases() {
        let recent = RecentEntries::default();
        recent.push(LOG, stored(1, 3, 1));
        assert_eq!(*recent.follow(LOG, Seq(2)).borrow(), Seq(3), "the file was read before");
        assert_eq!(*recent.follow(LOG, Seq(4)).borrow(), Seq(4));
    }
}
