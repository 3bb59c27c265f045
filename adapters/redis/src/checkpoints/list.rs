//! Runs as people list them: newest first, over all partitions.
//!
//! The index of each partition holds the order for every namespace, or any, and every status. Members are read in pieces and
//! merged over all of these lanes. Rows are read for as many of them as the page needs; what no index knows (workflow,
//! labels) is decided by the row.

use std::collections::{BTreeMap, VecDeque};

use longshore_ports::{Error, RunCursor, RunPage, RunPageBuilder, RunQuery};
use longshore_proto::{Namespace, Partition, RunId, RunStatus, RunSummary};
use redis::{cmd, pipe};
use tracing::warn;

use super::place::Place;
use super::row::{self, Range, member};
use crate::link::Link;

/// How many members of one lane are read at once. There are up to six lanes for each partition, and most pages need a few
/// members of each.
const PIECE: usize = 200;

/// How many rows are read at once.
const ROWS: usize = 500;

/// Every way a run can stand.
const STATUSES: [RunStatus; 6] = [
    RunStatus::Running,
    RunStatus::Failing,
    RunStatus::Cancelling,
    RunStatus::Succeeded,
    RunStatus::Failed,
    RunStatus::Cancelled,
];

/// The key of the set of partitions that have, or had, a checkpoint.
pub(super) fn partitions_key(prefix: &str) -> String {
    format!("{prefix}:partitions")
}

pub(super) async fn list(link: &Link, query: &RunQuery) -> Result<RunPage, Error> {
    let mut all = cmd("SMEMBERS");
    all.arg(partitions_key(link.prefix()));
    let partitions: Vec<u16> = link.query(all, "list runs").await?;
    let mut lanes = Vec::new();
    for partition in partitions {
        lanes.append(&mut Lane::all(&Place::new(link.clone(), Partition(partition)), query).await?);
    }
    let mut page = RunPageBuilder::new(query);
    while page.is_open() {
        let newest = newest(&mut lanes, ROWS.min(query.page_limit() + 1)).await?;
        if newest.is_empty() {
            break;
        }
        let mut rows = rows(link, &newest).await?;
        for place in newest {
            page.visit(place, rows.remove(&place.run));
        }
    }
    Ok(page.build())
}

/// Counts the runs of a namespace that have not ended. A commit that is not put in yet is not counted.
pub(super) async fn live(link: &Link, namespace: &Namespace) -> Result<u64, Error> {
    let doing = "count runs";
    let mut all = cmd("SMEMBERS");
    all.arg(partitions_key(link.prefix()));
    let partitions: Vec<u16> = link.query(all, doing).await?;
    let mut counts = pipe();
    let query = RunQuery { namespace: Some(namespace.clone()), ..RunQuery::default() };
    for partition in partitions.iter().copied().map(Partition) {
        let key = Place::new(link.clone(), partition).key("index");
        for status in STATUSES.into_iter().filter(|status| !status.is_terminal()) {
            let Range { first, end } = Range::listed(&query, status, partition);
            counts.cmd("ZLEXCOUNT").arg(&key).arg(first).arg(end);
        }
    }
    if partitions.is_empty() {
        return Ok(0);
    }
    let counts: Vec<u64> = link.query_all(counts, doing).await?;
    Ok(counts.iter().sum())
}

/// The index of one partition for one status, read from its newest member on.
struct Lane {
    place: Place,
    /// What is not read yet.
    unread: Range,
    /// What is read and not taken yet, newest first.
    read: VecDeque<RunCursor>,
    is_exhausted: bool,
}

impl Lane {
    /// The lanes of a partition that a query needs, each with its first piece.
    async fn all(place: &Place, query: &RunQuery) -> Result<Vec<Self>, Error> {
        place.settle().await?;
        let statuses = if query.statuses.is_empty() { STATUSES.as_slice() } else { &query.statuses };
        let unread = statuses.iter().map(|status| Range::listed(query, *status, place.partition));
        let mut lanes: Vec<Self> = unread
            .map(|unread| Self { place: place.clone(), unread, read: VecDeque::new(), is_exhausted: false })
            .collect();
        let mut pieces = pipe();
        for lane in &lanes {
            pieces.add_command(lane.next_piece());
        }
        let found: Vec<Vec<String>> = place.link.query_all(pieces, "list runs").await?;
        lanes.iter_mut().zip(found).for_each(|(lane, members)| lane.note(&members));
        Ok(lanes)
    }

    fn next_piece(&self) -> redis::Cmd {
        let mut range = cmd("ZRANGE");
        range.arg(self.place.key("index")).arg(&self.unread.end).arg(&self.unread.first);
        range.arg("BYLEX").arg("REV").arg("LIMIT").arg(0).arg(PIECE);
        range
    }

    fn note(&mut self, members: &[String]) {
        self.is_exhausted = members.len() < PIECE;
        if let Some(last) = members.last() {
            self.unread.end = format!("({last}");
        }
        let places = members.iter().filter_map(|text| member(text));
        self.read.extend(places.map(|(submitted_at, run)| RunCursor { submitted_at, run }));
    }

    /// The newest run that is not taken yet.
    async fn newest(&mut self) -> Result<Option<RunCursor>, Error> {
        while self.read.is_empty() && !self.is_exhausted {
            let members: Vec<String> = self.place.link.query(self.next_piece(), "list runs").await?;
            self.note(&members);
        }
        Ok(self.read.front().copied())
    }
}

/// Takes up to `count` runs from the lanes, newest first. A run whose status changed in between may be in two lanes; it is
/// taken from both and returned once.
async fn newest(lanes: &mut [Lane], count: usize) -> Result<Vec<RunCursor>, Error> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        let mut newest: Option<RunCursor> = None;
        for lane in &mut *lanes {
            newest = newest.max(lane.newest().await?);
        }
        let Some(newest) = newest else { break };
        for lane in &mut *lanes {
            lane.read.pop_front_if(|place| *place == newest);
        }
        taken.push(newest);
    }
    Ok(taken)
}

/// The rows of these runs. One that is gone by now, or cannot be read, is not among them.
async fn rows(link: &Link, runs: &[RunCursor]) -> Result<BTreeMap<RunId, RunSummary>, Error> {
    let mut by_partition: BTreeMap<Partition, Vec<RunId>> = BTreeMap::new();
    for place in runs {
        by_partition.entry(place.run.partition()).or_default().push(place.run);
    }
    let mut rows = BTreeMap::new();
    for (partition, runs) in by_partition {
        let mut get = cmd("HMGET");
        get.arg(Place::new(link.clone(), partition).key("rows"));
        for run in &runs {
            get.arg(run.to_string());
        }
        let found: Vec<Option<Vec<u8>>> = link.query(get, "list runs").await?;
        for (run, bytes) in runs.into_iter().zip(found) {
            match bytes.as_deref().map(row::read) {
                Some(Ok(summary)) => drop(rows.insert(run, summary)),
                Some(Err(error)) => warn!(%run, %error, "a row cannot be read and is left out of the list"),
                None => {}
            }
        }
    }
    Ok(rows)
}
