//! The end of each log in memory: what this process has just appended reaches its readers without a look at the disk.
//!
//! Filled by the writer once entries are durable, in their order. A reader that is further behind than this goes
//! to the file.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::{Partition, Seq};
use tokio::sync::watch;

use super::entries::Stored;

/// How many entries of a log are kept: a few groups of the writer, so that a reader which works on one group finds
/// the next ones.
const KEPT_ENTRIES: usize = 4_096;

/// How many bytes of a log are kept: large entries are rare and may come from the page cache.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// The ends of all logs.
#[derive(Default)]
pub(super) struct Recent {
    logs: Mutex<BTreeMap<Partition, End>>,
}

/// Its entries have no gaps; the last one is the tail.
#[derive(Default)]
struct End {
    entries: VecDeque<Stored>,
    bytes: usize,
    tail: watch::Sender<Seq>,
}

impl Recent {
    /// Takes entries that are durable now, and wakes whoever waits for them.
    pub(super) fn push(&self, partition: Partition, stored: Vec<Stored>) {
        let mut logs = self.lock();
        let end = logs.entry(partition).or_default();
        let (Some(first), Some(tail)) = (stored.first(), stored.last().map(|entry| entry.seq)) else {
            return;
        };
        // Another process has appended in between: what lies before is read from the file.
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

    /// The tail of a log, as it grows; `tail` is what the file said just now.
    pub(super) fn follow(&self, partition: Partition, tail: Seq) -> watch::Receiver<Seq> {
        let mut logs = self.lock();
        let end = logs.entry(partition).or_default();
        end.tail.send_if_modified(|known| {
            let behind = *known < tail;
            *known = tail.max(*known);
            behind
        });
        end.tail.subscribe()
    }

    /// Up to `max` entries from `from` on, if they are here.
    pub(super) fn take(&self, partition: Partition, from: Seq, max: usize) -> Option<Vec<Stored>> {
        let logs = self.lock();
        let entries = &logs.get(&partition)?.entries;
        let skipped = usize::try_from(from.0.checked_sub(entries.front()?.seq.0)?).ok()?;
        let taken: Vec<_> = entries.iter().skip(skipped).take(max).cloned().collect();
        if taken.is_empty() { None } else { Some(taken) }
    }

    /// Lets go of everything; who waits is told by the end of the channel.
    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Partition, End>> {
        // No code that holds the lock can panic half-way.
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_proto::Timestamp;

    const LOG: Partition = Partition(0);

    fn stored(from: u64, count: u64, bytes: usize) -> Vec<Stored> {
        let at = Timestamp::default();
        (from..from + count).map(|seq| Stored { seq: Seq(seq), at, body: vec![0; bytes] }).collect()
    }

    fn seqs(taken: Option<Vec<Stored>>) -> Vec<u64> {
        taken.unwrap_or_default().iter().map(|entry| entry.seq.0).collect()
    }

    #[test]
    fn gives_what_is_here_and_nothing_else() {
        let recent = Recent::default();
        recent.push(LOG, stored(5, 3, 1));
        recent.push(LOG, stored(8, 1, 1));
        assert_eq!(seqs(recent.take(LOG, Seq(6), 2)), [6, 7]);
        assert_eq!(seqs(recent.take(LOG, Seq(6), 9)), [6, 7, 8]);
        assert_eq!(recent.take(LOG, Seq(4), 9), None, "older ones are in the file");
        assert_eq!(recent.take(LOG, Seq(9), 9), None, "newer ones are not there yet");
        assert_eq!(recent.take(Partition(1), Seq(5), 9), None);
    }

    #[test]
    fn entries_of_another_process_in_between_leave_no_gap() {
        let recent = Recent::default();
        recent.push(LOG, stored(1, 3, 1));
        recent.push(LOG, stored(5, 2, 1));
        assert_eq!(recent.take(LOG, Seq(3), 9), None, "the fourth one is in the file alone");
        assert_eq!(recent.take(LOG, Seq(4), 9), None);
        assert_eq!(seqs(recent.take(LOG, Seq(5), 9)), [5, 6]);
    }

    #[test]
    fn is_bounded_by_entries_and_by_bytes() {
        let recent = Recent::default();
        recent.push(LOG, stored(1, 5_000, 1));
        assert_eq!(recent.take(LOG, Seq(1), 1), None);
        assert_eq!(seqs(recent.take(LOG, Seq(5_000), 1)), [5_000]);
        recent.push(LOG, stored(5_001, 3, KEPT_BYTES / 2));
        assert_eq!(recent.take(LOG, Seq(5_001), 1), None);
        assert_eq!(seqs(recent.take(LOG, Seq(5_002), 9)), [5_002, 5_003]);
    }

    #[test]
    fn the_tail_only_grows() {
        let recent = Recent::default();
        recent.push(LOG, stored(1, 3, 1));
        assert_eq!(*recent.follow(LOG, Seq(2)).borrow(), Seq(3), "an older look at the file");
        assert_eq!(*recent.follow(LOG, Seq(4)).borrow(), Seq(4));
    }
}
