//! Claims in the data file: durable before the call they protect begins.
//!
//! The process that holds a partition is the only one that makes the calls of its runs, so a claim that an earlier process
//! left running has no holder: [`settle_partition`] marks it when the partition is taken, and its lease is not waited for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{CLAIM_RETENTION, Error, clock};
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Partition, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::store::Store;

/// About what a claim takes in the file.
const CLAIM_BYTES: usize = 256;

/// All claims of a data directory.
pub(super) struct Claims {
    store: Arc<Store>,
}

impl Claims {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl longshore_ports::Claims for Claims {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        let row = Key::new(key, holder);
        let claim = move |connection: &_| claim(connection, &row, clock::now(), lease);
        let claimed = self.store.write(CLAIM_BYTES, claim).await;
        claimed.map_err(|failure| failure.when(format!("claim {key}")))
    }

    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        let row = Key::new(key, holder);
        let renew = move |connection: &_| renew(connection, &row, clock::now().plus(lease));
        let renewed = self.store.write(CLAIM_BYTES, renew).await;
        match renewed.map_err(|failure| failure.when(format!("renew the claim on {key}"))) {
            // No other process can claim while this one holds the run's partition, so a full disk costs no holder its claim.
            Err(error) if error.retryable => self.holds(key, holder).await,
            renewed => renewed,
        }
    }

    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        let row = Key::new(key, holder);
        let done =
            self.store.write(CLAIM_BYTES, move |connection| done(connection, &row, clock::now())).await;
        done.map_err(|failure| failure.when(format!("mark the claim on {key} as done")))
    }

    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        let row = Key::new(key, holder);
        let released = self.store.write(CLAIM_BYTES, move |connection| release(connection, &row)).await;
        released.map_err(|failure| failure.when(format!("release the claim on {key}")))
    }
}

impl Claims {
    /// Whether a claim is its holder's, by what is on the disk.
    async fn holds(&self, key: &ClaimKey, holder: &NodeId) -> Result<bool, Error> {
        let row = Key::new(key, holder);
        let held = self.store.read(move |connection| Ok(holds(connection, &row)?)).await;
        held.map_err(|failure| failure.when(format!("look up the claim on {key}")))
    }
}

/// Whose claim on what, as columns.
struct Key {
    run: String,
    step: String,
    holder: String,
}

impl Key {
    fn new(key: &ClaimKey, holder: &NodeId) -> Self {
        Self {
            run: format!("{}@{}", key.run, key.submitted_at.as_millis()),
            step: key.step.as_str().to_owned(),
            holder: holder.as_str().to_owned(),
        }
    }
}

/// When a process takes all of the directory: earlier ones are gone, and so are their leases.
pub(super) fn settle_in(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    connection.execute("UPDATE claims SET lease_until = 0 WHERE done_at IS NULL", [])?;
    forget_old(connection, now)
}

/// When a process takes a partition: earlier holders of it are gone, and so are their leases.
pub(super) fn settle_partition(
    connection: &Connection,
    partition: Partition,
    now: Timestamp,
) -> rusqlite::Result<()> {
    // Ids of a partition lie between its prefix and the next character after the underscore that ends it.
    let (from, to) = (format!("run_{partition}_"), format!("run_{partition}`"));
    let sql = "UPDATE claims SET lease_until = 0 WHERE done_at IS NULL AND run >= ?1 AND run < ?2";
    connection.execute(sql, [from, to])?;
    forget_old(connection, now)
}

fn claim(
    connection: &Connection,
    key: &Key,
    now: Timestamp,
    lease: Duration,
) -> rusqlite::Result<ClaimResult> {
    let mut query = connection.prepare_cached(
        "SELECT lease_until, done_at IS NOT NULL, holder = ?3 AND lease_until > 0, doubtful, holder
         FROM claims WHERE run = ?1 AND step = ?2",
    )?;
    let found = query
        .query_row([&key.run, &key.step, &key.holder], |row| {
            let lost: String = row.get(4)?;
            Ok((Timestamp::from_millis(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?, lost))
        })
        .optional()?;
    let (claimed, in_doubt) = match found {
        None => (ClaimResult::Won, false),
        Some((_, true, ..)) => return Ok(ClaimResult::Done),
        // Asked twice: the first answer was lost on the way.
        Some((_, _, true, false, _)) => (ClaimResult::Won, false),
        Some((_, _, true, true, _)) => (ClaimResult::Lapsed { holder: None }, true),
        Some((until, _, false, ..)) if now < until => return Ok(ClaimResult::Busy { until }),
        // A holder that released the claim left no name.
        Some((.., lost)) => (ClaimResult::Lapsed { holder: lost.parse().ok() }, true),
    };
    let sql = "INSERT INTO claims (run, step, holder, lease_until, doubtful) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (run, step) DO UPDATE SET holder = ?3, lease_until = ?4, doubtful = ?5";
    let until = now.plus(lease).as_millis();
    connection.prepare_cached(sql)?.execute(params![
        key.run,
        key.step,
        key.holder,
        storable(until),
        in_doubt
    ])?;
    Ok(claimed)
}

fn renew(connection: &Connection, key: &Key, until: Timestamp) -> rusqlite::Result<bool> {
    let sql = "UPDATE claims SET lease_until = ?4
               WHERE run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0";
    let until = storable(until.as_millis());
    Ok(connection.prepare_cached(sql)?.execute(params![key.run, key.step, key.holder, until])? > 0)
}

fn holds(connection: &Connection, key: &Key) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM claims
               WHERE run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0)";
    connection.prepare_cached(sql)?.query_row([&key.run, &key.step, &key.holder], |row| row.get(0))
}

fn done(connection: &Connection, key: &Key, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "UPDATE claims SET done_at = ?4
               WHERE run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0";
    connection.prepare_cached(sql)?.execute(params![key.run, key.step, key.holder, now.as_millis()])?;
    forget_old(connection, now)
}

/// What was in doubt before this holder came is still in doubt when it leaves.
fn release(connection: &Connection, key: &Key) -> rusqlite::Result<()> {
    let mine = "run = ?1 AND step = ?2 AND holder = ?3 AND done_at IS NULL AND lease_until > 0";
    let values = [&key.run, &key.step, &key.holder];
    let forget = format!("DELETE FROM claims WHERE {mine} AND NOT doubtful");
    connection.prepare_cached(&forget)?.execute(values)?;
    let leave = format!("UPDATE claims SET lease_until = 0, holder = '' WHERE {mine} AND doubtful");
    connection.prepare_cached(&leave)?.execute(values)?;
    Ok(())
}

/// The table stays as small as what was done lately: every claim that ends takes the old ones with it.
fn forget_old(connection: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    let retention = u64::try_from(CLAIM_RETENTION.as_millis()).unwrap_or(u64::MAX);
    let before = now.as_millis().saturating_sub(retention);
    connection.prepare_cached("DELETE FROM claims WHERE done_at < ?1")?.execute([before])?;
    Ok(())
}

/// SQLite's integers are signed: a lease that never ends stops at the largest one.
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

    fn key(holder: &str) -> Key {
        Key { run: "run_00_x".to_owned(), step: "pay".to_owned(), holder: holder.to_owned() }
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
    fn a_lease_ends_at_its_moment() {
        let connection = memory();
        assert_eq!(claimed(&connection, "a", 1_000), ClaimResult::Won);
        assert_eq!(claimed(&connection, "b", 1_099), ClaimResult::Busy { until: at(1_100) });
        assert_eq!(claimed(&connection, "b", 1_100), lapsed("a"));
        assert!(!renew(&connection, &key("a"), at(9_999)).expect("renews"), "it is b's now");
    }

    #[test]
    fn a_new_process_need_not_wait_for_the_leases_of_the_old_one() {
        let connection = memory();
        claimed(&connection, "a", 1_000);
        settle_in(&connection, at(1_001)).expect("settles in");
        assert!(!renew(&connection, &key("a"), at(9_999)).expect("renews"), "a is gone");
        assert_eq!(claimed(&connection, "b", 1_001), lapsed("a"));
    }

    #[test]
    fn taking_a_partition_ends_the_leases_of_its_runs_alone() {
        let connection = memory();
        let claim_in = |run: &str, holder: &str| {
            claim(&connection, &Key { run: run.to_owned(), ..key(holder) }, at(1_000), LEASE).expect("claims")
        };
        for run in ["run_01_x@1", "run_10_x@1", "run_11_x@1", "run_100_x@1"] {
            claim_in(run, "a");
        }
        settle_partition(&connection, Partition(10), at(1_000)).expect("settles");
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
        settle_in(&connection, at(1_050 + day)).expect("settles in");
        assert_eq!(claimed(&connection, "b", 1_050 + day), ClaimResult::Done);
        settle_in(&connection, at(1_051 + day)).expect("settles in");
        assert_eq!(claimed(&connection, "b", 1_051 + day), ClaimResult::Won);
    }

    #[test]
    fn a_lease_without_end_can_be_stored() {
        let connection = memory();
        claim(&connection, &key("a"), at(1), Duration::MAX).expect("claims");
        assert!(matches!(claimed(&connection, "b", 2), ClaimResult::Busy { .. }));
    }
}
