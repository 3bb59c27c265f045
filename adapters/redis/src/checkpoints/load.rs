//! Loads a whole checkpoint, in pages.
//!
//! A page takes the server less than a millisecond, and a commit may come between two pages. So the header of the
//! checkpoint is read before and after: if it has changed, the load starts again.

use std::collections::BTreeMap;

use longshore_ports::{Error, LoadedCheckpoint};
use longshore_proto::{Partition, RunId, Timestamp, decode};
use redis::cmd;
use tracing::warn;

use super::partition::{CheckpointHeader, PartitionStore, StoredCheckpoint};
use super::row::{MemberRange, parse_member};

/// Approximate number of live runs in a page. Their states have some kilobytes each.
const LIVE_PAGE: usize = 200;

/// Finished runs in a page. Each is a member of 60 bytes.
const FINISHED_PAGE: usize = 5_000;

/// Maximum number of attempts to load. A scheduler loads when it takes a partition over, and its last leader may still
/// be committing.
const LOAD_ATTEMPTS: usize = 20;

/// Loads the checkpoint of a partition. `None` if there is none, or it cannot be used: then the log is replayed.
pub(super) async fn load(
    store: &PartitionStore,
    partition: Partition,
) -> Result<Option<LoadedCheckpoint>, Error> {
    for _ in 0..LOAD_ATTEMPTS {
        let header = match store.inspect().await? {
            StoredCheckpoint::Missing => return Ok(None),
            StoredCheckpoint::Damaged(reason) => return Ok(unusable(partition, &reason)),
            StoredCheckpoint::Incomplete => {
                match store.complete().await {
                    Err(error) if error.retryable => return Err(error),
                    // After any other error the next inspection finds it damaged.
                    _ => continue,
                }
            }
            StoredCheckpoint::Usable(header) => header,
        };
        let loaded = read(store, &header).await?;
        let is_unchanged =
            matches!(store.inspect().await?, StoredCheckpoint::Usable(after) if after == header);
        match loaded {
            Ok(loaded) if is_unchanged => return Ok(Some(loaded)),
            Err(reason) if is_unchanged => return Ok(unusable(partition, &reason)),
            _ => {}
        }
    }
    Err(Error::transient(store.doing("load"), format!("it changed during each of {LOAD_ATTEMPTS} attempts")))
}

fn unusable(partition: Partition, reason: &str) -> Option<LoadedCheckpoint> {
    warn!(%partition, reason, "cannot use the checkpoint in Redis; replaying the log instead");
    None
}

/// Reads the checkpoint with this header. The inner error is the reason why it cannot be used.
async fn read(
    store: &PartitionStore,
    header: &CheckpointHeader,
) -> Result<Result<LoadedCheckpoint, String>, Error> {
    let mark = match decode(&header.mark) {
        Ok(mark) => mark,
        Err(error) => return Ok(Err(format!("its mark cannot be decoded: {error}"))),
    };
    let Some(live) = live(store).await? else { return Ok(Err("the id of a live run is invalid".to_owned())) };
    let Some(finished) = finished(store).await? else {
        return Ok(Err("the id of a finished run is invalid".to_owned()));
    };
    if (live.len(), finished.len()) != (header.live, header.finished) {
        return Ok(Err("entries are missing".to_owned()));
    }
    let partition = header.partition.clone();
    Ok(Ok(LoadedCheckpoint {
        mark,
        partition,
        live: live.into_iter().collect(),
        finished: finished.into_iter().collect(),
    }))
}

/// Reads the states of all live runs. `None` if an id is invalid. A scan may return a run twice.
async fn live(store: &PartitionStore) -> Result<Option<BTreeMap<RunId, Vec<u8>>>, Error> {
    let mut live = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = cmd("HSCAN");
        scan.arg(store.key("live")).arg(cursor).arg("COUNT").arg(LIVE_PAGE);
        let (next, page): (u64, Vec<(String, Vec<u8>)>) =
            store.connection.query(scan, &store.doing("load")).await?;
        for (run, state) in page {
            let Ok(run) = run.parse() else { return Ok(None) };
            live.insert(run, state);
        }
        if next == 0 {
            return Ok(Some(live));
        }
        cursor = next;
    }
}

/// Reads the times at which the finished runs ended. `None` if a member is invalid.
async fn finished(store: &PartitionStore) -> Result<Option<BTreeMap<RunId, Timestamp>>, Error> {
    let mut finished = BTreeMap::new();
    let mut last: Option<String> = None;
    loop {
        let MemberRange { first, end } = MemberRange::ended(last.as_deref());
        let mut range = cmd("ZRANGE");
        range.arg(store.key("index")).arg(first).arg(end).arg("BYLEX").arg("LIMIT").arg(0).arg(FINISHED_PAGE);
        let page: Vec<String> = store.connection.query(range, &store.doing("load")).await?;
        for text in &page {
            let Some((ended, run)) = parse_member(text) else { return Ok(None) };
            finished.insert(run, ended);
        }
        if page.len() < FINISHED_PAGE {
            return Ok(Some(finished));
        }
        last = page.into_iter().next_back();
    }
}
