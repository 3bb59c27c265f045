//! Claims in the data file. A claim is durable before its call begins.
//!
//! Only the process that holds a partition makes the calls of its runs. So a running claim of an earlier process has no
//! holder any more: [`end_leases_of_partition`] ends its lease when the partition is taken.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{CLAIM_RETENTION, Claims, Error, clock};
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Partition, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::store::DataFile;

/// Approximate size of a claim in the file.
const CLAIM_BYTES: usize = 256;

/// The claims of a data directory.
pub(super) struct ClaimTable {
    store: Arc<DataFile>,
}

impl ClaimTable {
    pub(super) fn new(store: Arc<DataFile>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Claims for ClaimTable {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        let row = ClaimRow::new(key, holder);
        let claim = move |connection: &_| claim(connection, &row, clock::now(), lease);
        let claimed = self.store.write(CLAIM_BYTES, claim).await;
        claimed.map_err(|failure| failure.when(format!("claim {key}")))
    }

    async fn may_have_called(&self, keys: &[ClaimKey]) -> Result<Vec<bool>, Error> {
        let ids: Vec<_> = keys.iter().map(claim_id).collect();
        let found = self.store.read(move |connection| Ok(exist(connection, &ids)?)).await;
        found.map_err(|failure| failure.when("look up claims"))
    }

    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        let row = ClaimRow::new(key, holder);
        let renew = move |connection: &_| renew(connection, &row, clock::now().plus(lease));
        let renewed = self.store.write(CLAIM_BYTES, renew).await;
        match renewed.map_err(|failure| failure.when(format!("renew the claim on {key}"))) {
            // No other process can claim while this one holds the run's partition, so the holder keeps its claim even if
            // the renewal cannot be written, for example because the disk is full.
            Err(error) if error.retryable => self.holds(key, holder).await,
            renewed => renewed,
        }
    }

    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        let row = ClaimRow::new(key, holder);
        let done =
            self.store.write(CLAIM_BYTES, move |connection| done(connection, &row, clock::now())).await;
        done.map_err(|failure| failure.when(format!("mark the claim on {key} as done")))
    }

    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        let row = ClaimRow::new(key, holder);
        let released = self.store.write(CLAIM_BYTES, move |connection| release(connection, &row)).await;
        released.map_err(|failure| failure.when(format!("release the claim on {key}")))
    }
}

impl ClaimTable {
    /// Returns true if the data file says that the holder has the claim.
    async fn holds(&self, key: &ClaimKey, holder: &NodeId) -> Result<bool, Error> {
        let row = ClaimRow::new(key, holder);
        let held = self.store.read(move |connection| Ok(holds(connection, &row)?)).await;
        held.map_err(|failure| failure.when(format!("look up the claim on {key}")))
    }
}

/// The columns that identify a claim and its holder.
struct ClaimRow {
    run: String,
    step: String,
    holder: String,
}

impl ClaimRow {
    fn new(key: &ClaimKey, holder: &NodeId) -> Self {
        let (run, step) = claim_id(key);
        Self { run, step, holder: holder.as_str().to_owned() }
    }
}

/// Returns the columns that identify a claim: run and step.
fn claim_id(key: &ClaimKey) -> (String, String) {
    (format!("{}@{}", key.run, key.submitted_at.as_millis()), key.step.as_str().to_owned())
}

/// Ends the leases of all running claims. For a process that takes the whole directory: all earlier processes are gone.
pub(super) fn end_all_leases(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute("UPDATE claims SET lease_until = 0 WHERE done_at IS NULL", [])?;
    forget_old(connection, now)
}

/// Ends the leases of the running claims of a partition. For a process that takes the partition: its earlier holders
/// are gone.
pub(super) fn end_leases_of_partition(
    connection: &Connection,
    partition: Partition,
    now: Timestamp,
) -> rusqlite::Result<()> {
    // Ids of a partition sort between its prefix and the same text with the character after the underscore at its end.
    let (from, to) = (format!("run_{partition}_"), format!("run_{partition}`"));
    let sql = "UPDATE claims SET lease_until = 0 WHERE done_at IS NULL AND run >= ?1 AND run < ?2";
    connection.execute(sql, [from, to])?;
    forget_old(connection, now)
}

/// A claim in the data file.
struct StoredClaim {
    lease_until: Timestamp,
    is_done: bool,
    is_held_by_caller: bool,
    /// An earlier holder never reported the outcome of its call.
    is_doubtful: bool,
    holder: String,
}

fn stored(connection: &Connection, row: &ClaimRow) -> rusqlite::Result<Option<StoredClaim>> {
    let mut query = connection.prepare_cached(
        "SELECT lease_until, done_at IS NOT NULL, holder = ?3 AND lease_until > 0, doubtful, holder
         FROM claims WHERE run = ?1 AND step = ?2",
    )?;
    let read = |columns: &Row<'_>| {
        Ok(StoredClaim {
            lease_until: Timestamp::from_millis(columns.get(0)?),
            is_done: columns.get(1)?,
            is_held_by_caller: columns.get(2)?,
            is_doubtful: columns.get(3)?,
            holder: columns.get(4)?,
        })
    };
    query.query_row([&row.run, &row.step, &row.holder], read).optional()
}

fn claim(
    connection: &Connection,
    row: &ClaimRow,
    now: Timestamp,
    lease: Duration,
) -> rusqlite::Result<ClaimResult> {
    let (claimed, is_doubtful) = match stored(connection, row)? {
        None => (ClaimResult::Won, false),
        Some(claim) if claim.is_done => return Ok(ClaimResult::Done),
        // The request is repeated: the first answer was lost.
        Some(claim) if claim.is_held_by_caller && claim.is_doubtful => {
            (ClaimResult::Lapsed { holder: None }, true)
        }
        Some(claim) if claim.is_held_by_caller => (ClaimResult::Won, false),
        Some(claim) if now < claim.lease_until => return Ok(ClaimResult::Busy { until: claim.lease_until }),
        // The holder's name is empty if the holder released the claim.
        Some(claim) => (ClaimResult::Lapsed { holder: claim.holder.parse().ok() }, true),
    };
    let sql = "INSERT INTO claims (run, step, holder, lease_until, doubtful) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (run, step) DO UPDATE SET holder = ?3, lease_until = ?4, doubtful = ?5";
    let until = now.plus(lease).as_millis();
    connection.prepare_cached(sql)?.execute(params![
        row.run,
        row.step,
        row.holder,
        storable(until),
        is_doubtful
    ])?;
    Ok(claimed)
}

fn renew(connection: &Connection, row: &ClaimRow, until: Timestamp) -> rusqlite::Result<bool> {
    let sql = "UPDATE claims SET lease_until = ?4
               WHERE run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0";
    let until = storable(until.as_millis());
    Ok(connection.prepare_cached(sql)?.execute(params![row.run, row.step, row.holder, until])? > 0)
}

fn holds(connection: &Connection, row: &ClaimRow) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM claims
               WHERE run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0)";
    connection.prepare_cached(sql)?.query_row([&row.run, &row.step, &row.holder], |row| row.get(0))
}

/// Returns for each claim whether the data file has it. A released claim is deleted, unless a call was in doubt before.
fn exist(connection: &Connection, ids: &[(String, String)]) -> rusqlite::Result<Vec<bool>> {
    let mut query =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM claims WHERE run = ?1 AND step = ?2)")?;
    ids.iter().map(|(run, step)| query.query_row([run, step], |row| row.get(0))).collect()
}

fn done(connection: &Connection, row: &ClaimRow, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE claims SET done_at = ?4
               WHERE run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0";
    connection.prepare_cached(sql)?.execute(params![row.run, row.step, row.holder, now.as_millis()])?;
    forget_old(connection, now)
}

/// Releases a claim. If the call was in doubt before this holder claimed it, it still is.
fn release(connection: &Connection, row: &ClaimRow) -> rusqlite::Result<()> {
    let is_held = "run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0";
    let values = [&row.run, &row.step, &row.holder];
    let forget = format!("DELETE FROM claims WHERE {is_held} AND NOT doubtful");
    connection.prepare_cached(&forget)?.execute(values)?;
    let leave = format!("UPDATE claims SET lease_until = 0, holder = '' WHERE {is_held} AND doubtful");
    connection.prepare_cached(&leave)?.execute(values)?;
    Ok(())
}

/// Deletes claims whose retention is over. Called whenever a claim ends, so the table stays small.
fn forget_old(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let retention = u64::try_from(CLAIM_RETENTION.as_millis()).unwrap_or(u64::MAX);
    let before = now.as_millis().saturating_sub(retention);
    connection.prepare_cached("DELETE FROM claims WHERE done_at < ?1")?.execute([before])?;
    Ok(())
}

/// Limits a time to what SQLite can store: its integers are signed.
fn storable(millis: u64) -> u64 {
    millis.min(i64::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_millis(100);

    fn memory() -> Connection {
        let connection = Connection::open_in_memory().expect("memory");
        connection.execute_batch(include_str!("schema.sql")).expect("the schema");
        connection
    }

    fn key(holder: &str) -> ClaimRow {
        ClaimRow { run: "run_00_x".to_owned(), step: "pay".to_owned(), holder: holder.to_owned() }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn lapsed(holder: &str) -> ClaimResult {
        ClaimResult::Lapsed { holder: holder.parse().ok() }
    }

    fn claimed(connection: &Connection, holder: &str, now: u64) -> ClaimResult {
        claim(connection, &key(holder), at(now), LEASE).expect("claims")
    }

    #[test]
    fn lease_ends_at_its_time() {
        let connection = memory();
        assert_eq!(claimed(&connection, "a", 1_000), ClaimResult::Won);
        assert_eq!(claimed(&connection, "b", 1_099), ClaimResult::Busy { until: at(1_100) });
        assert_eq!(claimed(&connection, "b", 1_100), lapsed("a"));
        assert!(!renew(&connection, &key("a"), at(9_999)).expect("renews"), "b has it now");
    }

    #[test]
    fn new_process_does_not_wait_for_leases_of_the_old_one() {
        let connection = memory();
        claimed(&connection, "a", 1_000);
        end_all_leases(&connection, at(1_001)).expect("ends leases");
        assert!(!renew(&connection, &key("a"), at(9_999)).expect("renews"), "a is gone");
        assert_eq!(claimed(&connection, "b", 1_001), lapsed("a"));
    }

    #[test]
    fn taking_a_partition_ends_the_leases_of_its_runs_alone() {
        let connection = memory();
        let claim_in = |run: &str, holder: &str| {
            claim(&connection, &ClaimRow { run: run.to_owned(), ..key(holder) }, at(1_000), LEASE)
                .expect("claims")
        };
        for run in ["run_01_x@1", "run_10_x@1", "run_11_x@1", "run_100_x@1"] {
            claim_in(run, "a");
        }
        end_leases_of_partition(&connection, Partition(10), at(1_000)).expect("ends leases");
        assert_eq!(claim_in("run_10_x@1", "b"), lapsed("a"));
        for run in ["run_01_x@1", "run_11_x@1", "run_100_x@1"] {
            assert!(matches!(claim_in(run, "b"), ClaimResult::Busy { .. }), "{run}");
        }
    }

    #[test]
    fn done_claims_are_kept_for_their_retention_and_no_longer() {
        let connection = memory();
        let day = u64::try_from(CLAIM_RETENTION.as_millis()).expect("fits");
        claimed(&connection, "a", 1_000);
        done(&connection, &key("a"), at(1_050)).expect("done");
        end_all_leases(&connection, at(1_050 + day)).expect("ends leases");
        assert_eq!(claimed(&connection, "b", 1_050 + day), ClaimResult::Done);
        end_all_leases(&connection, at(1_051 + day)).expect("ends leases");
        assert_eq!(claimed(&connection, "b", 1_051 + day), ClaimResult::Won);
    }

    #[test]
    fn endless_lease_can_be_stored() {
        let connection = memory();
        claim(&connection, &key("a"), at(1), Duration::MAX).expect("claims");
        assert!(matches!(claimed(&connection, "b", 2), ClaimResult::Busy { .. }));
    }
}
