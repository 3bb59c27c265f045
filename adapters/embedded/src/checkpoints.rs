//! Checkpoints in the data file: one row for each partition, one for each run.
//!
//! The rows of live runs are the machine's state; the rows of all runs are what people list. One transaction moves
//! both, so that a list never shows what a restart would not find.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_ports::{
    CheckpointDelta, CommitResult, Error, RunCursor, RunPage, RunPageBuilder, RunQuery, RunRow,
    StoredCheckpoint,
};
use longshore_proto::{
    CheckpointMark, IdError, Namespace, Partition, RunId, Timestamp, WireError, decode, encode,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::Failure;
use super::store::Store;

/// What a row adds to its state in the file, roughly: names, times and the summary.
const ROW_OVERHEAD_BYTES: usize = 512;

/// All checkpoints of a data directory.
pub(super) struct Checkpoints {
    store: Arc<Store>,
}

impl Checkpoints {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl longshore_ports::Checkpoints for Checkpoints {
    async fn load(&self, partition: Partition) -> Result<Option<StoredCheckpoint>, Error> {
        let loaded = self.store.read(move |connection| load(connection, partition)).await;
        loaded.map_err(|failure| failure.when(format!("load the checkpoint of partition {partition}")))
    }

    async fn commit(&self, partition: Partition, delta: Arc<CheckpointDelta>) -> Result<CommitResult, Error> {
        let states = delta.changed.iter().map(|row| row.state.len() + ROW_OVERHEAD_BYTES).sum::<usize>();
        let bytes = delta.partition.len() + states;
        let committed =
            self.store.write(bytes, move |connection| commit(connection, partition, &delta)).await;
        committed.map_err(|failure| failure.when(format!("commit a checkpoint of partition {partition}")))
    }

    async fn mark(&self, partition: Partition) -> Result<Option<CheckpointMark>, Error> {
        let mark = self.store.read(move |connection| Ok(stored_mark(connection, partition)?)).await;
        mark.map_err(|failure| failure.when(format!("look at the checkpoint of partition {partition}")))
    }

    async fn run(&self, run: RunId) -> Result<Option<RunRow>, Error> {
        let found = self.store.read(move |connection| find(connection, run)).await;
        found.map_err(|failure| failure.when(format!("look up {run}")))
    }

    async fn runs(&self, query: RunQuery) -> Result<RunPage, Error> {
        let listed = self.store.read(move |connection| list(connection, &query)).await;
        listed.map_err(|failure| failure.when("list runs"))
    }

    async fn count_live(&self, namespace: &Namespace) -> Result<u64, Error> {
        let namespace = namespace.to_string();
        let counted = self.store.read(move |connection| Ok(count_live(connection, &namespace)?)).await;
        counted.map_err(|failure| failure.when("count runs"))
    }
}

fn load(connection: &Connection, partition: Partition) -> Result<Option<StoredCheckpoint>, Failure> {
    // All queries have to see the same commit.
    let snapshot = connection.unchecked_transaction()?;
    let Some(mark) = stored_mark(&snapshot, partition)? else { return Ok(None) };
    let mut query = snapshot.prepare_cached("SELECT state FROM checkpoints WHERE partition = ?1")?;
    let state = query.query_row([partition.0], |row| row.get(0))?;
    let (live, finished) = (live(&snapshot, partition)?, finished(&snapshot, partition)?);
    Ok(Some(StoredCheckpoint { mark, partition: state, live, finished }))
}

fn count_live(connection: &Connection, namespace: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM runs WHERE live AND namespace = ?1";
    connection.prepare_cached(sql)?.query_row([namespace], |row| row.get(0))
}

fn live(connection: &Connection, partition: Partition) -> Result<Vec<(RunId, Vec<u8>)>, Failure> {
    let sql = "SELECT run, state FROM runs WHERE live AND partition = ?1 ORDER BY run";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map([partition.0], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    rows.map(|row| row.map_err(Failure::from).and_then(|(run, state)| Ok((run_id(&run)?, state)))).collect()
}

fn finished(connection: &Connection, partition: Partition) -> Result<Vec<(RunId, Timestamp)>, Failure> {
    let sql = "SELECT run, finished_at FROM runs WHERE NOT live AND partition = ?1 ORDER BY run";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map([partition.0], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let moment = Timestamp::from_millis;
    rows.map(|row| row.map_err(Failure::from).and_then(|(run, at)| Ok((run_id(&run)?, moment(at))))).collect()
}

fn run_id(text: &str) -> Result<RunId, Failure> {
    text.parse().map_err(|error: IdError| Failure::Damaged(error.to_string()))
}

fn commit(
    connection: &Connection,
    partition: Partition,
    delta: &CheckpointDelta,
) -> rusqlite::Result<CommitResult> {
    let stored = stored_mark(connection, partition)?;
    match &delta.base {
        None if stored.as_ref().is_some_and(|stored| !gives_way(stored, delta)) => {
            return Ok(CommitResult::Refused { stored });
        }
        None => {
            // Finished runs of what contradicts the log would be ghosts.
            let is_useless = stored.is_some() && stored == delta.invalid;
            let clear = "DELETE FROM runs WHERE (live OR ?2) AND partition = ?1";
            connection.prepare_cached(clear)?.execute(params![partition.0, is_useless])?;
        }
        // Somebody makes sure that it is still there.
        base if *base == stored && is_nothing(delta) => return Ok(CommitResult::Accepted),
        base if *base == stored => {}
        // The same commit once more, after its answer was lost.
        _ if stored.as_ref() == Some(&delta.mark) => return Ok(CommitResult::Accepted),
        _ => return Ok(CommitResult::Refused { stored }),
    }
    for row in &delta.changed {
        put(connection, partition, row)?;
    }
    let mut expire = connection.prepare_cached("DELETE FROM runs WHERE run = ?1 AND NOT live")?;
    for run in &delta.expired {
        expire.execute([run.to_string()])?;
    }
    let sql = "INSERT INTO checkpoints (partition, mark, state) VALUES (?1, ?2, ?3)
               ON CONFLICT (partition) DO UPDATE SET mark = ?2, state = ?3";
    connection.prepare_cached(sql)?.execute(params![
        partition.0,
        encode(&delta.mark).map_err(unencodable)?,
        delta.partition
    ])?;
    Ok(CommitResult::Accepted)
}

/// Whether a full checkpoint may stand in place of this one.
fn gives_way(stored: &CheckpointMark, delta: &CheckpointDelta) -> bool {
    let mark = &delta.mark;
    let is_past =
        (&stored.incarnation, stored.version) == (&mark.incarnation, mark.version) && stored.seq <= mark.seq;
    is_past || delta.invalid.as_ref() == Some(stored)
}

/// Whether a delta leads to where it begins.
fn is_nothing(delta: &CheckpointDelta) -> bool {
    delta.base.as_ref() == Some(&delta.mark) && delta.changed.is_empty() && delta.expired.is_empty()
}

/// What is stored. A mark that cannot be read is none: a checkpoint that is lost costs time, and nothing else.
fn stored_mark(connection: &Connection, partition: Partition) -> rusqlite::Result<Option<CheckpointMark>> {
    let mut query = connection.prepare_cached("SELECT mark FROM checkpoints WHERE partition = ?1")?;
    let bytes: Option<Vec<u8>> = query.query_row([partition.0], |row| row.get(0)).optional()?;
    Ok(bytes.and_then(|bytes| decode(&bytes).ok()))
}

fn put(connection: &Connection, partition: Partition, row: &RunRow) -> rusqlite::Result<()> {
    let sql = "INSERT INTO runs (run, partition, namespace, workflow, status, live, submitted_at, finished_at,
                                 summary, state)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
               ON CONFLICT (run) DO UPDATE SET partition = ?2, namespace = ?3, workflow = ?4, status = ?5, live = ?6,
                                 submitted_at = ?7, finished_at = ?8, summary = ?9, state = ?10";
    let summary = &row.summary;
    connection.prepare_cached(sql)?.execute(params![
        summary.run.to_string(),
        partition.0,
        summary.namespace.as_str(),
        summary.workflow.name.as_str(),
        summary.status.as_str(),
        !summary.status.is_terminal(),
        summary.submitted_at.as_millis(),
        summary.finished_at.map(Timestamp::as_millis),
        encode(summary).map_err(unencodable)?,
        row.state,
    ])?;
    Ok(())
}

fn unencodable(error: WireError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn find(connection: &Connection, run: RunId) -> Result<Option<RunRow>, Failure> {
    let mut query = connection.prepare_cached("SELECT summary, state FROM runs WHERE run = ?1")?;
    let read = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?));
    let Some((summary, state)) = query.query_row([run.to_string()], read).optional()? else {
        return Ok(None);
    };
    Ok(Some(RunRow { summary: decode(&summary)?, state }))
}

/// Runs in the order of the index, until the page is full or has looked at enough of them. Columns decide where they can, so
/// that only summaries that may match are decoded.
fn list(connection: &Connection, query: &RunQuery) -> Result<RunPage, Failure> {
    let sql = "SELECT submitted_at, run, namespace, status, workflow, summary FROM runs
               WHERE submitted_at >= ?1 AND (submitted_at, run) < (?2, ?3)
               ORDER BY submitted_at DESC, run DESC";
    let since = query.since.map_or(0, Timestamp::as_millis);
    // No id is longer in the order of text than this, and no moment later.
    let (before, run) = match query.after {
        Some(RunCursor { submitted_at, run }) => (submitted_at.as_millis(), run.to_string()),
        None => (u64::MAX, "~".to_owned()),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![bounded(since), bounded(before), run])?;
    let mut page = RunPageBuilder::new(query);
    while page.is_open()
        && let Some(row) = rows.next()?
    {
        let place = RunCursor {
            submitted_at: Timestamp::from_millis(row.get(0)?),
            run: run_id(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
        };
        let may_match = columns_match(row, query)?;
        let summary = may_match.then(|| Ok::<_, Failure>(decode(&row.get::<_, Vec<u8>>(5)?)?));
        page.visit(place, summary.transpose()?);
    }
    Ok(page.build())
}

/// A moment as SQLite can hold it.
fn bounded(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn columns_match(row: &Row<'_>, query: &RunQuery) -> Result<bool, Failure> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let (namespace, status, workflow) = (text(2)?, text(3)?, text(4)?);
    Ok(query.namespace.as_ref().is_none_or(|wanted| wanted.as_str() == namespace)
        && (query.statuses.is_empty() || query.statuses.iter().any(|wanted| wanted.as_str() == status))
        && query.workflow.as_ref().is_none_or(|wanted| wanted.as_str() == workflow))
}
