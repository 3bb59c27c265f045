//! Checkpoints in the data file: one row for each partition, one for each run.
//!
//! The rows of live runs are the machine's state, and the rows of all runs are the list of runs. One transaction
//! changes both, so that a list never shows a run that a restart would not find.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_ports::{
    CheckpointDelta, Checkpoints, CommitResult, Error, LoadedCheckpoint, RunCursor, RunPage, RunPageBuilder,
    RunQuery, RunRow,
};
use longshore_proto::{
    CheckpointMark, IdError, Namespace, Partition, RunId, Timestamp, WireError, decode, encode,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::StoreError;
use super::store::DataFile;

/// Approximate bytes of a row beside its state: names, times and the summary.
const ROW_OVERHEAD_BYTES: usize = 512;

/// The checkpoints of a data directory.
pub(super) struct CheckpointTable {
    store: Arc<DataFile>,
}

impl CheckpointTable {
    pub(super) fn new(store: Arc<DataFile>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Checkpoints for CheckpointTable {
    async fn load(&self, partition: Partition) -> Result<Option<LoadedCheckpoint>, Error> {
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
        mark.map_err(|failure| {
            failure.when(format!("read the mark of the checkpoint of partition {partition}"))
        })
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

fn load(connection: &Connection, partition: Partition) -> Result<Option<LoadedCheckpoint>, StoreError> {
    // All queries have to see the same commit.
    let snapshot = connection.unchecked_transaction()?;
    let Some(mark) = stored_mark(&snapshot, partition)? else { return Ok(None) };
    let mut query = snapshot.prepare_cached("SELECT state FROM checkpoints WHERE partition = ?1")?;
    let state = query.query_row([partition.0], |row| row.get(0))?;
    let (live, finished) = (live(&snapshot, partition)?, finished(&snapshot, partition)?);
    Ok(Some(LoadedCheckpoint { mark, partition: state, live, finished }))
}

fn count_live(connection: &Connection, namespace: &str) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM runs WHERE live AND namespace = ?1";
    connection.prepare_cached(sql)?.query_row([namespace], |row| row.get(0))
}

fn live(connection: &Connection, partition: Partition) -> Result<Vec<(RunId, Vec<u8>)>, StoreError> {
    let sql = "SELECT run, state FROM runs WHERE live AND partition = ?1 ORDER BY run";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map([partition.0], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    rows.map(|row| row.map_err(StoreError::from).and_then(|(run, state)| Ok((run_id(&run)?, state))))
        .collect()
}

fn finished(connection: &Connection, partition: Partition) -> Result<Vec<(RunId, Timestamp)>, StoreError> {
    let sql = "SELECT run, finished_at FROM runs WHERE NOT live AND partition = ?1 ORDER BY run";
    let mut query = connection.prepare_cached(sql)?;
    let rows = query.query_map([partition.0], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
    let time = Timestamp::from_millis;
    rows.map(|row| row.map_err(StoreError::from).and_then(|(run, at)| Ok((run_id(&run)?, time(at)))))
        .collect()
}

fn run_id(text: &str) -> Result<RunId, StoreError> {
    text.parse().map_err(|error: IdError| StoreError::Damaged(error.to_string()))
}

fn commit(
    connection: &Connection,
    partition: Partition,
    delta: &CheckpointDelta,
) -> rusqlite::Result<CommitResult> {
    let stored = stored_mark(connection, partition)?;
    match &delta.base {
        None if stored.as_ref().is_some_and(|stored| !is_replaceable(stored, delta)) => {
            return Ok(CommitResult::Refused { stored });
        }
        None => {
            // The finished runs of a checkpoint that contradicts the log never existed.
            let is_invalid = stored.is_some() && stored == delta.invalid;
            let clear = "DELETE FROM runs WHERE (live OR ?2) AND partition = ?1";
            connection.prepare_cached(clear)?.execute(params![partition.0, is_invalid])?;
        }
        // The leader checks that the checkpoint still exists.
        base if *base == stored && is_empty(delta) => return Ok(CommitResult::Accepted),
        base if *base == stored => {}
        // The same commit is repeated, after its answer was lost.
        _ if stored.as_ref() == Some(&delta.mark) => return Ok(CommitResult::Accepted),
        _ => return Ok(CommitResult::Refused { stored }),
    }
    for row in &delta.changed {
        store_row(connection, partition, row)?;
    }
    let mut expire = connection.prepare_cached("DELETE FROM runs WHERE run = ?1 AND NOT live")?;
    for run in &delta.expired {
        expire.execute([run.to_string()])?;
    }
    let sql = "INSERT INTO checkpoints (partition, mark, state) VALUES (?1, ?2, ?3)
               ON CONFLICT (partition) DO UPDATE SET mark = ?2, state = ?3";
    connection.prepare_cached(sql)?.execute(params![
        partition.0,
        encode(&delta.mark).map_err(encode_error)?,
        delta.partition
    ])?;
    Ok(CommitResult::Accepted)
}

/// Returns true if a full checkpoint may replace the stored one.
fn is_replaceable(stored: &CheckpointMark, delta: &CheckpointDelta) -> bool {
    let mark = &delta.mark;
    let is_past =
        (&stored.incarnation, stored.version) == (&mark.incarnation, mark.version) && stored.seq <= mark.seq;
    is_past || delta.invalid.as_ref() == Some(stored)
}

/// Returns true if a delta changes nothing.
fn is_empty(delta: &CheckpointDelta) -> bool {
    delta.base.as_ref() == Some(&delta.mark) && delta.changed.is_empty() && delta.expired.is_empty()
}

/// Returns the stored mark. A mark that cannot be decoded counts as missing: a lost checkpoint costs a replay of the
/// log, and nothing else.
fn stored_mark(connection: &Connection, partition: Partition) -> rusqlite::Result<Option<CheckpointMark>> {
    let mut query = connection.prepare_cached("SELECT mark FROM checkpoints WHERE partition = ?1")?;
    let bytes: Option<Vec<u8>> = query.query_row([partition.0], |row| row.get(0)).optional()?;
    Ok(bytes.and_then(|bytes| decode(&bytes).ok()))
}

fn store_row(connection: &Connection, partition: Partition, row: &RunRow) -> rusqlite::Result<()> {
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
        encode(summary).map_err(encode_error)?,
        row.state,
    ])?;
    Ok(())
}

fn encode_error(error: WireError) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(error))
}

fn find(connection: &Connection, run: RunId) -> Result<Option<RunRow>, StoreError> {
    let mut query = connection.prepare_cached("SELECT summary, state FROM runs WHERE run = ?1")?;
    let read = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?));
    let Some((summary, state)) = query.query_row([run.to_string()], read).optional()? else {
        return Ok(None);
    };
    Ok(Some(RunRow { summary: decode(&summary)?, state }))
}

/// Lists runs in the order of the index, until the page is full or its limit of examined runs is reached. Columns are
/// compared first, so that only summaries that may match are decoded.
fn list(connection: &Connection, query: &RunQuery) -> Result<RunPage, StoreError> {
    let sql = "SELECT submitted_at, run, namespace, status, workflow, summary FROM runs
               WHERE submitted_at >= ?1 AND (submitted_at, run) < (?2, ?3)
               ORDER BY submitted_at DESC, run DESC";
    let since = query.since.map_or(0, Timestamp::as_millis);
    // No id sorts after this text, and no time after this one.
    let (before, run) = match query.after {
        Some(RunCursor { submitted_at, run }) => (submitted_at.as_millis(), run.to_string()),
        None => (u64::MAX, "~".to_owned()),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![storable(since), storable(before), run])?;
    let mut page = RunPageBuilder::new(query);
    while page.is_open()
        && let Some(row) = rows.next()?
    {
        let cursor = RunCursor {
            submitted_at: Timestamp::from_millis(row.get(0)?),
            run: run_id(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?,
        };
        let may_match = columns_match(row, query)?;
        let summary = may_match.then(|| Ok::<_, StoreError>(decode(&row.get::<_, Vec<u8>>(5)?)?));
        page.visit(cursor, summary.transpose()?);
    }
    Ok(page.build())
}

/// Limits a time to what SQLite can store: its integers are signed.
fn storable(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn columns_match(row: &Row<'_>, query: &RunQuery) -> Result<bool, StoreError> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let (namespace, status, workflow) = (text(2)?, text(3)?, text(4)?);
    Ok(query.namespace.as_ref().is_none_or(|wanted| wanted.as_str() == namespace)
        && (query.statuses.is_empty() || query.statuses.iter().any(|wanted| wanted.as_str() == status))
        && query.workflow.as_ref().is_none_or(|wanted| wanted.as_str() == workflow))
}
