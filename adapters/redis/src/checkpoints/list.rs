//! Lists runs of all partitions, newest first.
//!
//! The index of each partition is sorted for every namespace, and for all namespaces, by status. Its members are read
//! in pages and merged over all partitions and statuses. Rows are read for as many of them as the result needs. Filters
//! that the index does not support (workflow, labels) are applied to the rows.

use std::collections::{BTreeMap, VecDeque};

use longshore_ports::{Error, RunCursor, RunPage, RunPageBuilder, RunQuery};
use longshore_proto::{Namespace, Partition, RunId, RunStatus, RunSummary};
use redis::{cmd, pipe};
use tracing::warn;

use super::partition::PartitionStore;
use super::row::{self, MemberRange, parse_member};
use crate::connection::RedisConnection;

/// Members of one scan that are read at once. There are up to six scans for each partition, and most results need a few
/// members of each.
const MEMBERS_PAGE: usize = 200;

/// Rows that are read at once.
const ROWS_PAGE: usize = 500;

/// All statuses of a run.
const STATUSES: [RunStatus; 6] = [
    RunStatus::Running,
    RunStatus::Failing,
    RunStatus::Cancelling,
    RunStatus::Succeeded,
    RunStatus::Failed,
    RunStatus::Cancelled,
];

/// Returns the key of the set of partitions that have, or had, a checkpoint.
pub(super) fn partitions_key(prefix: &str) -> String {
    format!("{prefix}:partitions")
}

/// Returns the runs that a query selects.
pub(super) async fn list(connection: &RedisConnection, query: &RunQuery) -> Result<RunPage, Error> {
    let mut all = cmd("SMEMBERS");
    all.arg(partitions_key(connection.prefix()));
    let partitions: Vec<u16> = connection.query(all, "list runs").await?;
    let mut scans = Vec::new();
    for partition in partitions {
        scans.append(
            &mut IndexScan::start_all(&PartitionStore::new(connection.clone(), Partition(partition)), query)
                .await?,
        );
    }
    let mut page = RunPageBuilder::new(query);
    while page.is_open() {
        let newest = take_newest(&mut scans, ROWS_PAGE.min(query.page_limit() + 1)).await?;
        if newest.is_empty() {
            break;
        }
        let mut rows = rows(connection, &newest).await?;
        for cursor in newest {
            page.visit(cursor, rows.remove(&cursor.run));
        }
    }
    Ok(page.build())
}

/// Counts the runs of a namespace that have not ended. Rows of an incomplete commit are not counted.
pub(super) async fn live(connection: &RedisConnection, namespace: &Namespace) -> Result<u64, Error> {
    let doing = "count runs";
    let mut all = cmd("SMEMBERS");
    all.arg(partitions_key(connection.prefix()));
    let partitions: Vec<u16> = connection.query(all, doing).await?;
    let mut counts = pipe();
    let query = RunQuery { namespace: Some(namespace.clone()), ..RunQuery::default() };
    for partition in partitions.iter().copied().map(Partition) {
        let key = PartitionStore::new(connection.clone(), partition).key("index");
        for status in STATUSES.into_iter().filter(|status| !status.is_terminal()) {
            let MemberRange { first, end } = MemberRange::listed(&query, status, partition);
            counts.cmd("ZLEXCOUNT").arg(&key).arg(first).arg(end);
        }
    }
    if partitions.is_empty() {
        return Ok(0);
    }
    let counts: Vec<u64> = connection.query_pipeline(counts, doing).await?;
    Ok(counts.iter().sum())
}

/// A scan of the index of one partition for one status, from the newest member on.
struct IndexScan {
    store: PartitionStore,
    /// Members that are not read yet.
    unread: MemberRange,
    /// Runs that are read and not taken yet, newest first.
    read: VecDeque<RunCursor>,
    is_exhausted: bool,
}

impl IndexScan {
    /// Starts the scans of a partition that a query needs, and reads the first page of each.
    async fn start_all(store: &PartitionStore, query: &RunQuery) -> Result<Vec<Self>, Error> {
        store.complete().await?;
        // A status of the query that occurs twice is read once.
        let is_listed = |status: &RunStatus| query.statuses.is_empty() || query.statuses.contains(status);
        let statuses = STATUSES.into_iter().filter(is_listed);
        let unread = statuses.map(|status| MemberRange::listed(query, status, store.partition));
        let mut scans: Vec<Self> = unread
            .map(|unread| Self { store: store.clone(), unread, read: VecDeque::new(), is_exhausted: false })
            .collect();
        let mut pages = pipe();
        for scan in &scans {
            pages.add_command(scan.next_page());
        }
        let found: Vec<Vec<String>> = store.connection.query_pipeline(pages, "list runs").await?;
        scans.iter_mut().zip(found).for_each(|(scan, members)| scan.add_page(&members));
        Ok(scans)
    }

    fn next_page(&self) -> redis::Cmd {
        let mut range = cmd("ZRANGE");
        range.arg(self.store.key("index")).arg(&self.unread.end).arg(&self.unread.first);
        range.arg("BYLEX").arg("REV").arg("LIMIT").arg(0).arg(MEMBERS_PAGE);
        range
    }

    fn add_page(&mut self, members: &[String]) {
        self.is_exhausted = members.len() < MEMBERS_PAGE;
        if let Some(last) = members.last() {
            self.unread.end = format!("({last}");
        }
        let runs = members.iter().filter_map(|text| parse_member(text));
        self.read.extend(runs.map(|(submitted_at, run)| RunCursor { submitted_at, run }));
    }

    /// Returns the newest run that is not taken yet.
    async fn newest(&mut self) -> Result<Option<RunCursor>, Error> {
        while self.read.is_empty() && !self.is_exhausted {
            let members: Vec<String> = self.store.connection.query(self.next_page(), "list runs").await?;
            self.add_page(&members);
        }
        Ok(self.read.front().copied())
    }
}

/// Takes up to `count` runs from the scans, newest first. A run whose status changed in between may be in two scans. It
/// is taken from both and returned once.
async fn take_newest(scans: &mut [IndexScan], count: usize) -> Result<Vec<RunCursor>, Error> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let mut newest: Option<RunCursor> = None;
        for scan in &mut *scans {
            newest = newest.max(scan.newest().await?);
        }
        let Some(newest) = newest else { break };
        for scan in &mut *scans {
            scan.read.pop_front_if(|cursor| *cursor == newest);
        }
        taken.push(newest);
    }
    Ok(taken)
}

/// Returns the rows of some runs. A run that is gone by now, or whose row cannot be decoded, is left out.
async fn rows(
    connection: &RedisConnection,
    runs: &[RunCursor],
) -> Result<BTreeMap<RunId, RunSummary>, Error> {
    let mut by_partition: BTreeMap<Partition, Vec<RunId>> = BTreeMap::new();
    for cursor in runs {
        by_partition.entry(cursor.run.partition()).or_default().push(cursor.run);
    }
    let mut rows = BTreeMap::new();
    for (partition, runs) in by_partition {
        let mut get = cmd("HMGET");
        get.arg(PartitionStore::new(connection.clone(), partition).key("rows"));
        for run in &runs {
            get.arg(run.to_string());
        }
        let found: Vec<Option<Vec<u8>>> = connection.query(get, "list runs").await?;
        for (run, bytes) in runs.into_iter().zip(found) {
            match bytes.as_deref().map(row::decode_row) {
                Some(Ok(summary)) => drop(rows.insert(run, summary)),
                Some(Err(error)) => {
                    warn!(%run, %error, "cannot decode the row of a run; leaving it out of the list")
                }
                None => {}
            }
        }
    }
    Ok(rows)
}
