//! The tables of the logs: appends, reads and trims inside their transactions.

use longshore_proto::{Incarnation, Partition, Seq, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::failure::StoreError;

/// Bits of the sequence in a row id, below the sign and the 16 bits of the partition: enough for 44 years at 100,000
/// entries a second.
const SEQ_BITS: u32 = 47;

/// An entry of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StoredEntry {
    pub(super) seq: Seq,
    pub(super) at: Timestamp,
    pub(super) body: Vec<u8>,
}

/// The first and the last sequence of a log. The tail of an empty log is right below its head.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LogExtent {
    pub(super) head: Seq,
    pub(super) tail: Seq,
    /// Time of the last entry.
    at: Timestamp,
}

/// The progress of a trim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TrimProgress {
    /// All entries are trimmed.
    Complete,
    /// More entries have to be trimmed.
    Partial,
}

/// Returns the row id of an entry. Those of a partition are consecutive, in the order of the sequences.
fn row_id(partition: Partition, seq: Seq) -> u64 {
    u64::from(partition.0) << SEQ_BITS | seq.0
}

fn seq_of(row_id: u64) -> Seq {
    Seq(row_id & ((1 << SEQ_BITS) - 1))
}

pub(super) fn incarnation(connection: &Connection) -> rusqlite::Result<Incarnation> {
    let mut query = connection.prepare_cached("SELECT incarnation FROM store")?;
    query.query_row([], |row| row.get(0)).map(Incarnation)
}

/// Returns the extent of the log of a partition, which is empty before the first append.
pub(super) fn extent(connection: &Connection, partition: Partition) -> rusqlite::Result<LogExtent> {
    let mut query = connection.prepare_cached("SELECT head, tail, at FROM logs WHERE partition = ?1")?;
    let read = |row: &Row<'_>| {
        Ok(LogExtent {
            head: Seq(row.get(0)?),
            tail: Seq(row.get(1)?),
            at: Timestamp::from_millis(row.get(2)?),
        })
    };
    let empty = LogExtent { head: Seq(1), tail: Seq::ZERO, at: Timestamp::default() };
    Ok(query.query_row([partition.0], read).optional()?.unwrap_or(empty))
}

/// Appends entries. Their time is never before that of the last entry of the partition, whatever the clock does.
pub(super) fn append(
    connection: &Connection,
    partition: Partition,
    bodies: Vec<Vec<u8>>,
    now: Timestamp,
) -> rusqlite::Result<Vec<StoredEntry>> {
    let before = extent(connection, partition)?;
    let at = now.max(before.at);
    let mut insert =
        connection.prepare_cached("INSERT INTO entries (place, at, body) VALUES (?1, ?2, ?3)")?;
    let mut tail = before.tail;
    let mut stored = Vec::with_capacity(bodies.len());
    for body in bodies {
        tail = tail.next();
        insert.execute(params![row_id(partition, tail), at.as_millis(), body])?;
        stored.push(StoredEntry { seq: tail, at, body });
    }
    set_extent(connection, partition, LogExtent { head: before.head, tail, at })?;
    Ok(stored)
}

/// Loads up to `max` entries from `from` on, which is not beyond the tail. Fewer if they have more than `bytes`
/// together.
pub(super) fn load(
    connection: &Connection,
    partition: Partition,
    from: Seq,
    max: usize,
    bytes: usize,
) -> Result<Vec<StoredEntry>, StoreError> {
    let sql = "SELECT place, at, body FROM entries WHERE place BETWEEN ?1 AND ?2 ORDER BY place LIMIT ?3";
    let mut query = connection.prepare_cached(sql)?;
    let last = row_id(partition, Seq((1 << SEQ_BITS) - 1));
    let mut rows = query.query(params![row_id(partition, from), last, max])?;
    let mut loaded: Vec<StoredEntry> = Vec::new();
    let mut room = bytes;
    while room > 0
        && let Some(row) = rows.next()?
    {
        let entry = StoredEntry {
            seq: seq_of(row.get(0)?),
            at: Timestamp::from_millis(row.get(1)?),
            body: row.get(2)?,
        };
        let expected = loaded.last().map_or(from, |before| before.seq.next());
        if entry.seq != expected {
            return Err(missing(expected, extent(connection, partition)?));
        }
        room = room.saturating_sub(entry.body.len());
        loaded.push(entry);
    }
    if loaded.is_empty() { Err(missing(from, extent(connection, partition)?)) } else { Ok(loaded) }
}

/// Deletes entries below `below`, at most `max` of them. The tail does not change, so that sequences are never used
/// twice.
pub(super) fn trim(
    connection: &Connection,
    partition: Partition,
    below: Seq,
    max: u64,
) -> rusqlite::Result<TrimProgress> {
    let before = extent(connection, partition)?;
    let goal = below.min(before.tail.next());
    if goal <= before.head {
        return Ok(TrimProgress::Complete);
    }
    let head = goal.min(Seq(before.head.0.saturating_add(max)));
    let mut delete = connection.prepare_cached("DELETE FROM entries WHERE place >= ?1 AND place < ?2")?;
    delete.execute([row_id(partition, before.head), row_id(partition, head)])?;
    set_extent(connection, partition, LogExtent { head, ..before })?;
    Ok(if head == goal { TrimProgress::Complete } else { TrimProgress::Partial })
}

/// Returns the error for a reader of `seq`, which was trimmed.
pub(super) fn trimmed(seq: Seq, extent: LogExtent) -> StoreError {
    StoreError::Refused(format!(
        "entry {seq} was trimmed; the log begins at {}: start from a newer checkpoint",
        extent.head
    ))
}

/// Returns the error for a reader of `seq`, which is not in the table.
fn missing(seq: Seq, extent: LogExtent) -> StoreError {
    if seq < extent.head {
        return trimmed(seq, extent);
    }
    StoreError::Damaged(format!("entry {seq} is missing from a log from {} to {}", extent.head, extent.tail))
}

fn set_extent(connection: &Connection, partition: Partition, extent: LogExtent) -> rusqlite::Result<()> {
    let sql = "INSERT INTO logs (partition, head, tail, at) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (partition) DO UPDATE SET head = ?2, tail = ?3, at = ?4";
    let values = params![partition.0, extent.head.0, extent.tail.0, extent.at.as_millis()];
    connection.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(include_str!("../schema.sql")).expect("the schema");
        connection
    }

    fn bodies(count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|n| vec![1; n + 1]).collect()
    }

    #[test]
    fn time_never_goes_back_in_a_partition() {
        let connection = memory();
        let at = |partition, now| {
            let now = Timestamp::from_millis(now);
            append(&connection, Partition(partition), bodies(1), now).expect("appends")[0].at.as_millis()
        };
        assert_eq!([at(0, 50), at(0, 40), at(1, 40), at(0, 51)], [50, 50, 40, 51]);
    }

    #[test]
    fn load_ends_with_the_entry_that_reaches_the_limit() {
        let connection = memory();
        append(&connection, Partition(3), bodies(5), Timestamp::default()).expect("appends");
        let sizes = |from, max, bytes| {
            let loaded = load(&connection, Partition(3), Seq(from), max, bytes).expect("loads");
            loaded.iter().map(|entry| entry.body.len()).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1, 9, 99), [1, 2, 3, 4, 5]);
        assert_eq!(sizes(2, 2, 99), [2, 3]);
        assert_eq!(sizes(1, 9, 4), [1, 2, 3]);
        assert_eq!(sizes(5, 9, 1), [5]);
    }

    #[test]
    fn missing_entry_is_reported_as_damage() {
        let connection = memory();
        append(&connection, Partition(0), bodies(3), Timestamp::default()).expect("appends");
        connection.execute("DELETE FROM entries WHERE place = 2", []).expect("deletes");
        let failure =
            |from| load(&connection, Partition(0), Seq(from), 9, 99).expect_err("an entry is missing");
        assert!(matches!(failure(1), StoreError::Damaged(_)));
        assert!(matches!(failure(2), StoreError::Damaged(_)));
    }

    #[test]
    fn long_trim_is_done_in_steps() {
        let connection = memory();
        append(&connection, Partition(0), bodies(5), Timestamp::default()).expect("appends");
        let step = || trim(&connection, Partition(0), Seq(6), 2).expect("trims");
        assert_eq!(
            [step(), step(), step()],
            [TrimProgress::Partial, TrimProgress::Partial, TrimProgress::Complete]
        );
        let extent = extent(&connection, Partition(0)).expect("an extent");
        assert_eq!((extent.head, extent.tail), (Seq(6), Seq(5)));
    }

    #[test]
    fn row_id_has_room_for_the_largest_partition() {
        let connection = memory();
        let last = Partition(u16::MAX);
        append(&connection, last, bodies(2), Timestamp::default()).expect("appends");
        let loaded = load(&connection, last, Seq(1), 9, 99).expect("loads");
        assert_eq!(loaded.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [Seq(1), Seq(2)]);
    }
}
