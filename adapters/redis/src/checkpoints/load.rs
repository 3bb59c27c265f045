//! A whole checkpoint, read in pages.
//!
//! Pages hold the server up for less than a millisecond each, and a commit may come between two of them. So the
//! checkpoint is looked at before and after: if it is another one by then, the reading begins again.

use std::collections::BTreeMap;

use longshore_ports::{Error, StoredCheckpoint};
use longshore_proto::{Partition, RunId, Timestamp, decode};
use redis::cmd;
use tracing::warn;

use super::place::{Kept, Place, Whole};
use super::row::{Range, member};

/// Live runs in one page, roughly; their states have some kilobytes each.
const LIVE_PAGE: usize = 200;

/// Finished runs in one page; each is a line of 60 bytes.
const DONE_PAGE: usize = 5_000;

/// How often to begin again. Whoever loads is about to lead, and the leader before it commits its last.
const READINGS: usize = 20;

/// The checkpoint, or nothing if there is none or it cannot be used: the log has everything.
pub(super) async fn load(place: &Place, partition: Partition) -> Result<Option<StoredCheckpoint>, Error> {
    for _ in 0..READINGS {
        let whole = match place.inspect().await? {
            Kept::Nothing => return Ok(None),
            Kept::Damaged(why) => return Ok(unusable(partition, &why)),
            Kept::Unsettled => {
                match place.settle().await {
                    Err(error) if error.retryable => return Err(error),
                    // Whatever keeps it from being settled, the next look finds it damaged.
                    _ => continue,
                }
            }
            Kept::Whole(whole) => whole,
        };
        let read = read(place, &whole).await?;
        let is_same = matches!(place.inspect().await?, Kept::Whole(after) if after == whole);
        match read {
            Ok(loaded) if is_same => return Ok(Some(loaded)),
            Err(why) if is_same => return Ok(unusable(partition, &why)),
            _ => {}
        }
    }
    Err(Error::transient(place.doing("load"), format!("it changed under each of {READINGS} readings")))
}

fn unusable(partition: Partition, why: &str) -> Option<StoredCheckpoint> {
    warn!(%partition, why, "the checkpoint in Redis cannot be used; the log is replayed instead");
    None
}

/// The checkpoint, or why it cannot be used.
async fn read(place: &Place, whole: &Whole) -> Result<Result<StoredCheckpoint, String>, Error> {
    let mark = match decode(&whole.mark) {
        Ok(mark) => mark,
        Err(error) => return Ok(Err(format!("its mark cannot be read: {error}"))),
    };
    let Some(live) = live(place).await? else { return Ok(Err("a live run has no id".to_owned())) };
    let Some(finished) = finished(place).await? else {
        return Ok(Err("a finished run has no id".to_owned()));
    };
    if (live.len(), finished.len()) != (whole.live, whole.done) {
        return Ok(Err("entries are missing".to_owned()));
    }
    let partition = whole.partition.clone();
    Ok(Ok(StoredCheckpoint {
        mark,
        partition,
        live: live.into_iter().collect(),
        finished: finished.into_iter().collect(),
    }))
}

/// Every live run with its state. A scan may show a run twice.
async fn live(place: &Place) -> Result<Option<BTreeMap<RunId, Vec<u8>>>, Error> {
    let mut live = BTreeMap::new();
    let mut cursor = 0_u64;
    loop {
        let mut scan = cmd("HSCAN");
        scan.arg(place.key("live")).arg(cursor).arg("COUNT").arg(LIVE_PAGE);
        let (next, page): (u64, Vec<(String, Vec<u8>)>) =
            place.link.query(scan, &place.doing("load")).await?;
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

/// Every finished run with the moment it ended.
async fn finished(place: &Place) -> Result<Option<BTreeMap<RunId, Timestamp>>, Error> {
    let mut finished = BTreeMap::new();
    let mut last: Option<String> = None;
    loop {
        let Range { first, end } = Range::ended(last.as_deref());
        let mut range = cmd("ZRANGE");
        range.arg(place.key("index")).arg(first).arg(end).arg("BYLEX").arg("LIMIT").arg(0).arg(DONE_PAGE);
        let page: Vec<String> = place.link.query(range, &place.doing("load")).await?;
        for text in &page {
            let Some((ended, run)) = member(text) else { return Ok(None) };
            finished.insert(run, ended);
        }
        if page.len() < DONE_PAGE {
            return Ok(Some(finished));
        }
        last = page.into_iter().next_back();
    }
}
