//! The contracts of [`RunLog`](longshore_ports::RunLog).

use std::time::Duration;

use longshore_ports::{Backend, ENTRY_LIMIT_BYTES, LogEntry, LogReader};
use longshore_proto::{Event, Namespace, Partition, RunId, Seq, Signal, decode_events};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::values::{PARTITION, event, events, run};
use super::{Fixture, contracts};

contracts![
    sequences_count_from_one_without_gaps,
    events_of_one_append_keep_their_order,
    empty_append_does_nothing,
    concurrent_appends_share_one_dense_log,
    every_reader_returns_the_same_entries,
    entry_has_its_bytes_and_their_events,
    reader_returns_at_most_the_requested_number,
    reader_begins_at_the_given_sequence,
    reader_at_the_end_waits_for_new_entries,
    cancelled_read_loses_no_entry,
    logs_of_partitions_are_separate,
    entry_that_is_too_large_is_refused_for_good,
    trimmed_entries_cannot_be_read,
    repeated_trim_changes_nothing,
    reader_overtaken_by_a_trim_fails_instead_of_skipping,
    long_log_is_read_to_its_end,
    appended_entries_outlive_the_process,
    trim_keeps_later_entries_and_the_sequence,
    completely_trimmed_log_continues_its_sequence,
];

/// Appends events one after the other, so that each has its own entry.
async fn append(backend: &Backend, events: Vec<Event>) -> Vec<u64> {
    let mut seqs = Vec::new();
    for event in &events {
        seqs.append(&mut append_together(backend, std::slice::from_ref(event)).await);
    }
    seqs
}

/// Appends events in one call.
async fn append_together(backend: &Backend, events: &[Event]) -> Vec<u64> {
    let seqs = backend.log.append(PARTITION, events).await.expect("appends");
    assert_eq!(seqs.len(), events.len(), "a sequence for each");
    seqs.into_iter().map(|seq| seq.0).collect()
}

async fn reader(backend: &Backend, from: u64) -> Box<dyn LogReader> {
    backend.log.read(PARTITION, Seq(from)).await.expect("reads")
}

/// Reads until `count` entries have come.
async fn read(reader: &mut dyn LogReader, count: usize) -> Vec<LogEntry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(reader.next(count - entries.len()).await.expect("reads on"));
    }
    entries
}

fn seqs(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

fn facts(entries: &[LogEntry]) -> Vec<&Event> {
    entries.iter().flat_map(|entry| &entry.events).map(|event| event.as_ref().expect("decodes")).collect()
}

/// Reads all entries up to the present end.
async fn read_all(backend: &Backend) -> Vec<LogEntry> {
    let tail = backend.log.tail(PARTITION).await.expect("a tail");
    let entries = read(&mut *reader(backend, 1).await, usize::try_from(tail.0).expect("fits")).await;
    assert!(seqs(&entries).into_iter().eq(1..=tail.0), "dense");
    entries
}

async fn sequences_count_from_one_without_gaps(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    assert_eq!(backend.log.tail(PARTITION).await.expect("a tail"), Seq::ZERO);
    assert_eq!(append(&backend, events(0..1)).await, [1]);
    assert_eq!(append(&backend, events(1..2)).await, [2]);
    assert_eq!(append(&backend, events(2..4)).await, [3, 4]);
    assert_eq!(backend.log.tail(PARTITION).await.expect("a tail"), Seq(4));
}

async fn events_of_one_append_keep_their_order(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    let placed = append_together(&backend, &events(0..50)).await;
    assert!(placed.is_sorted(), "{placed:?}");
    let entries = read_all(&backend).await;
    assert_eq!(facts(&entries), events(0..50).iter().collect::<Vec<_>>());
    for (number, place) in placed.into_iter().enumerate() {
        let entry = &entries[usize::try_from(place).expect("fits") - 1];
        assert!(facts(std::slice::from_ref(entry)).contains(&&event(number as u64)), "{number} at {place}");
    }
}

async fn empty_append_does_nothing(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    assert!(append(&backend, Vec::new()).await.is_empty());
    assert_eq!(append(&backend, events(0..1)).await, [1]);
}

async fn concurrent_appends_share_one_dense_log(fixture: &mut dyn Fixture) {
    const APPENDERS: u64 = 64;
    const CALLS: u64 = 10;
    let backend = fixture.backend();
    let mut appenders = JoinSet::new();
    for appender in 0..APPENDERS {
        let backend = backend.clone();
        appenders.spawn(async move {
            let mut placed = Vec::new();
            for call in 0..CALLS {
                let first = (appender * CALLS + call) * 2;
                let together = events(first..first + 2);
                placed.extend(append_together(&backend, &together).await.into_iter().zip(together));
            }
            placed
        });
    }
    let placed = appenders.join_all().await;
    let entries = read_all(&backend).await;
    let count = usize::try_from(APPENDERS * CALLS * 2).expect("fits");
    assert_eq!(facts(&entries).len(), count, "each is there once");
    for of_one in placed {
        // The index of each event among all events; it must be in the entry whose sequence the append returned.
        let found: Vec<_> = of_one
            .iter()
            .map(|(place, event)| {
                let before = entries.iter().take_while(|entry| entry.seq.0 < *place);
                let before: usize = before.map(|entry| entry.events.len()).sum();
                let entry = &entries[usize::try_from(*place).expect("fits") - 1];
                let within = facts(std::slice::from_ref(entry)).iter().position(|fact| *fact == event);
                before + within.expect("it is in the returned entry")
            })
            .collect();
        assert!(found.is_sorted(), "later appends and later events follow: {found:?}");
    }
}

async fn every_reader_returns_the_same_entries(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..10)).await;
    let mut readers = JoinSet::new();
    for max in 1..5 {
        let mut reader = reader(&backend, 1).await;
        readers.spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 40 {
                let entries = reader.next(max).await.expect("reads on");
                seen.extend(entries.into_iter().map(|entry| (entry.seq, entry.at, entry.body)));
            }
            seen
        });
    }
    for n in 10..40 {
        append(&backend, events(n..n + 1)).await;
    }
    let seen = readers.join_all().await;
    assert!(seen.iter().all(|one| *one == seen[0]));
}

async fn entry_has_its_bytes_and_their_events(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    let before = longshore_ports::clock::now();
    append(&backend, events(0..3)).await;
    for entry in read(&mut *reader(&backend, 1).await, 3).await {
        let said: Vec<Event> =
            decode_events(&entry.body).into_iter().map(|event| event.expect("decodes")).collect();
        assert_eq!(facts(std::slice::from_ref(&entry)), said.iter().collect::<Vec<_>>());
        assert!(entry.at >= before, "the log stamps what it takes");
    }
}

async fn reader_returns_at_most_the_requested_number(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..5)).await;
    let mut reader = reader(&backend, 1).await;
    assert_eq!(seqs(&reader.next(1).await.expect("reads")), [1]);
    let some = reader.next(3).await.expect("reads");
    assert!((1..=3).contains(&some.len()), "{some:?}");
}

async fn reader_begins_at_the_given_sequence(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..5)).await;
    assert_eq!(seqs(&read(&mut *reader(&backend, 4).await, 2).await), [4, 5]);
    assert_eq!(seqs(&read(&mut *reader(&backend, 0).await, 5).await), [1, 2, 3, 4, 5]);
}

async fn long_log_is_read_to_its_end(fixture: &mut dyn Fixture) {
    const CALLS: u64 = 100;
    let backend = fixture.backend();
    for call in 0..CALLS {
        append_together(&backend, &events(call * 100..(call + 1) * 100)).await;
    }
    fixture.restart().await;
    let mut reader = reader(&fixture.backend(), 1).await;
    let (mut seen, mut count) = (Seq::ZERO, 0);
    while count < CALLS * 100 {
        for entry in reader.next(usize::MAX).await.expect("reads on") {
            assert_eq!(entry.seq, seen.next());
            seen = entry.seq;
            count += entry.events.len() as u64;
        }
    }
    assert_eq!(count, CALLS * 100);
}

async fn reader_at_the_end_waits_for_new_entries(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..1)).await;
    let mut reader = reader(&backend, 2).await;
    for n in 1..20 {
        let (entries, _) = tokio::join!(reader.next(10), append(&backend, events(n..n + 1)));
        assert_eq!(facts(&entries.expect("reads on")), [&event(n)]);
    }
}

async fn cancelled_read_loses_no_entry(fixture: &mut dyn Fixture) {
    const COUNT: u64 = 100;
    let backend = fixture.backend();
    let mut reader = reader(&backend, 1).await;
    let appending = async {
        for n in 0..COUNT {
            append(&backend, events(n..n + 1)).await;
        }
    };
    let reading = async {
        let mut seen = Vec::new();
        let mut waits = (0..).map(|turn| Duration::from_micros(turn * 37 % 1_500));
        while seen.len() < 100 {
            // Short enough that reads are cancelled at every point.
            if let Ok(entries) = timeout(waits.next().unwrap_or_default(), reader.next(3)).await {
                seen.extend(seqs(&entries.expect("reads on")));
            }
        }
        seen
    };
    let ((), seen) = tokio::join!(appending, reading);
    assert!(seen.into_iter().eq(1..=COUNT));
}

async fn logs_of_partitions_are_separate(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..3)).await;
    let other = Partition(1);
    assert_eq!(backend.log.append(other, &events(7..8)).await.expect("appends"), [Seq(1)]);
    assert_eq!(backend.log.tail(PARTITION).await.expect("a tail"), Seq(3));
    let mut reader = backend.log.read(other, Seq(1)).await.expect("reads");
    assert_eq!(facts(&reader.next(10).await.expect("reads")), [&event(7)]);
    backend.log.trim(PARTITION, Seq(3)).await.expect("trims");
    backend.log.read(other, Seq(1)).await.expect("the other one is whole");
}

fn large(run: RunId, bytes: usize) -> Event {
    Event::Signalled {
        run,
        namespace: Namespace::default(),
        signal: Signal::Cancel { reason: "x".repeat(bytes) },
    }
}

async fn entry_that_is_too_large_is_refused_for_good(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    let together = vec![event(0), large(run(1), ENTRY_LIMIT_BYTES)];
    let (refused, taken) =
        tokio::join!(backend.log.append(PARTITION, &together), append(&backend, events(5..6)));
    assert!(!refused.expect_err("too large").retryable);
    assert_eq!(taken, [1], "no event of the refused append is in the log, and other appends succeed");
    assert_eq!(append(&backend, vec![large(run(1), ENTRY_LIMIT_BYTES - 1_024)]).await, [2]);
}

async fn appended_entries_outlive_the_process(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    let incarnation = backend.log.incarnation(PARTITION).await.expect("an incarnation");
    append(&backend, events(0..3)).await;
    fixture.restart().await;
    let backend = fixture.backend();
    assert_eq!(backend.log.incarnation(PARTITION).await.expect("an incarnation"), incarnation);
    assert_eq!(backend.log.tail(PARTITION).await.expect("a tail"), Seq(3));
    let mut reader = reader(&backend, 1).await;
    assert_eq!(append(&backend, events(3..4)).await, [4]);
    let entries = read(&mut *reader, 4).await;
    assert_eq!(facts(&entries), events(0..4).iter().collect::<Vec<_>>());
}

async fn trimmed_entries_cannot_be_read(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..10)).await;
    backend.log.trim(PARTITION, Seq(5)).await.expect("trims");
    for from in [1, 4] {
        let refusal = backend.log.read(PARTITION, Seq(from)).await.map(|_| ()).expect_err("it is gone");
        assert!(!refusal.retryable, "{refusal}");
        assert!(refusal.to_string().contains('5'), "says where the log begins: {refusal}");
    }
}

async fn trim_keeps_later_entries_and_the_sequence(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..10)).await;
    backend.log.trim(PARTITION, Seq(5)).await.expect("trims");
    fixture.restart().await;
    let backend = fixture.backend();
    assert_eq!(append(&backend, events(10..11)).await, [11]);
    let entries = read(&mut *reader(&backend, 5).await, 7).await;
    assert_eq!(facts(&entries), events(4..11).iter().collect::<Vec<_>>());
}

async fn repeated_trim_changes_nothing(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..10)).await;
    for below in [5, 5, 3, 0] {
        backend.log.trim(PARTITION, Seq(below)).await.expect("trims");
    }
    assert_eq!(seqs(&read(&mut *reader(&backend, 5).await, 6).await), [5, 6, 7, 8, 9, 10]);
}

async fn completely_trimmed_log_continues_its_sequence(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..10)).await;
    backend.log.trim(PARTITION, Seq(11)).await.expect("trims");
    fixture.restart().await;
    let backend = fixture.backend();
    assert_eq!(backend.log.tail(PARTITION).await.expect("a tail"), Seq(10));
    let mut reader = reader(&backend, 11).await;
    let (entries, placed) = tokio::join!(reader.next(10), append(&backend, events(10..11)));
    assert_eq!((seqs(&entries.expect("reads on")), placed), (vec![11], vec![11]));
}

async fn reader_overtaken_by_a_trim_fails_instead_of_skipping(fixture: &mut dyn Fixture) {
    let backend = fixture.backend();
    append(&backend, events(0..10)).await;
    let mut reader = reader(&backend, 1).await;
    backend.log.trim(PARTITION, Seq(5)).await.expect("trims");
    // Entries that the reader had fetched before may still come, in their order. Then it fails for good, and says where the
    // log begins; it never returns entry 5 after a gap.
    let mut seen = Seq::ZERO;
    let refusal = loop {
        match reader.next(3).await {
            Ok(entries) => {
                for entry in entries {
                    assert_eq!(entry.seq, seen.next(), "a gap");
                    seen = entry.seq;
                }
                if seen == Seq(10) {
                    return;
                }
            }
            Err(refusal) => break refusal,
        }
    };
    assert!(seen < Seq(5), "an error after {seen:?}, which was not trimmed: {refusal}");
    assert!(!refusal.retryable && refusal.to_string().contains('5'), "{refusal}");
}
