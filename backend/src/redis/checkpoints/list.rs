//! Runs as people list them: newest first, over all partitions.
//!
//! The index of each partition holds the order for every question: by namespace or any, and by status. Only as many
//! rows are read as the list has lines.

use std::collections::BTreeMap;

use longshore_proto::{Partition, RunId, RunStatus, RunSummary, Timestamp};
use redis::{cmd, pipe};
use tracing::warn;

use super::place::Place;
use super::row::{self, Range, member};
use crate::redis::link::Link;
use crate::{Error, RunQuery};

/// How many runs a list has at most.
const LIMIT: usize = 1_000;

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

pub(super) async fn list(link: &Link, query: &RunQuery) -> Result<Vec<RunSummary>, Error> {
    let mut all = cmd("SMEMBERS");
    all.arg(partitions_key(link.prefix()));
    let partitions: Vec<u16> = link.query(all, "list runs").await?;
    let limit = if query.limit == 0 { LIMIT } else { query.limit.min(LIMIT) };
    let mut newest: Vec<(Timestamp, RunId)> = Vec::new();
    for partition in partitions {
        let place = Place::new(link.clone(), Partition(partition));
        newest.append(&mut candidates(&place, query, limit).await?);
        newest.sort_by(|one, other| other.cmp(one));
        newest.truncate(limit);
    }
    let mut rows = rows(link, &newest).await?;
    let in_order = newest.iter().filter_map(|(_, run)| rows.remove(run));
    Ok(in_order.filter(|summary| is_asked_for(query, summary)).collect())
}

/// The newest runs of a partition that are asked for, with the moments of their submits.
async fn candidates(place: &Place, query: &RunQuery, limit: usize) -> Result<Vec<(Timestamp, RunId)>, Error> {
    place.settle().await?;
    let statuses = if query.statuses.is_empty() { STATUSES.as_slice() } else { &query.statuses };
    let mut ranges = pipe();
    for status in statuses {
        let Range { first, end } = Range::listed(query.namespace.as_ref(), *status);
        ranges.cmd("ZRANGE").arg(place.key("index")).arg(end).arg(first);
        ranges.arg("BYLEX").arg("REV").arg("LIMIT").arg(0).arg(limit);
    }
    let found: Vec<Vec<String>> = place.link.query_all(ranges, "list runs").await?;
    Ok(found.iter().flatten().filter_map(|text| member(text)).collect())
}

/// The rows of these runs. One that is gone by now, or cannot be read, is not among them.
async fn rows(link: &Link, runs: &[(Timestamp, RunId)]) -> Result<BTreeMap<RunId, RunSummary>, Error> {
    let mut by_partition: BTreeMap<Partition, Vec<RunId>> = BTreeMap::new();
    for (_, run) in runs {
        by_partition.entry(run.partition()).or_default().push(*run);
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

/// Whether a run still stands as it did when it was found.
fn is_asked_for(query: &RunQuery, summary: &RunSummary) -> bool {
    (query.statuses.is_empty() || query.statuses.contains(&summary.status))
        && query.namespace.as_ref().is_none_or(|namespace| *namespace == summary.namespace)
}
