//! A run as lists show it, with its place in them written in front.
//!
//! ```text
//! default/failed/0000019a1f2b3c4d/0000019a1f2b9999\n  and the summary
//!    │       │        │                 └ when it ended, in milliseconds; empty while it has not
//!    │       │        └ when it was submitted
//!    │       └ where it stands
//!    └ whose it is
//! ```
//!
//! The scripts make the members of the index from that line, and [`Range`] asks for ranges of them. Times are
//! hexadecimal and of one width, so that the order of the text is the order of time.

use std::cmp::Ordering;

use longshore_ports::{RunCursor, RunQuery};
use longshore_proto::{
    Namespace, Partition, RunId, RunStatus, RunSummary, Timestamp, WireError, decode, encode,
};

/// Stands for any namespace: no namespace can have it as its name.
const ANY: &str = "*";

/// Stands before what is listed by the moment it ended.
const ENDED: &str = "+";

/// Why a row is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// It does not begin with a place.
    #[error("a row has no first line")]
    Place,
    /// What follows is no summary.
    #[error(transparent)]
    Summary(#[from] WireError),
}

/// The row of a run.
pub(super) fn write(summary: &RunSummary) -> Result<Vec<u8>, WireError> {
    let ended = summary.finished_at.filter(|_| summary.status.is_terminal());
    // A run that ended must have a moment for it, whatever its summary says: the scripts tell the two kinds by it.
    let ended = ended.or_else(|| summary.status.is_terminal().then_some(summary.submitted_at));
    let (space, status, submitted) = (&summary.namespace, summary.status, moment(summary.submitted_at));
    let place = format!("{space}/{status}/{submitted}/{}\n", ended.map(moment).unwrap_or_default());
    let mut row = place.into_bytes();
    row.append(&mut encode(summary)?);
    Ok(row)
}

/// The summary in a row.
pub(super) fn read(row: &[u8]) -> Result<RunSummary, RowError> {
    let end = row.iter().position(|byte| *byte == b'\n').ok_or(RowError::Place)?;
    let (_, summary) = row.split_at_checked(end + 1).ok_or(RowError::Place)?;
    Ok(decode(summary)?)
}

fn moment(at: Timestamp) -> String {
    format!("{:016x}", at.as_millis())
}

/// A range of members of the index, as Redis writes it: from its first to what would be the first behind it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Range {
    /// Where it begins.
    pub(super) first: String,
    /// What stands behind its end.
    pub(super) end: String,
}

impl Range {
    /// Members that begin with these words. What separates words is followed by `0` in the order of bytes.
    fn of(words: &str) -> Self {
        Self { first: format!("[{words}/"), end: format!("({words}0") }
    }

    /// Runs of a partition with this status that a query asks for, by the moment of their submit.
    pub(super) fn listed(query: &RunQuery, status: RunStatus, partition: Partition) -> Self {
        let words = format!("{}/{status}", query.namespace.as_ref().map_or(ANY, Namespace::as_str));
        let mut range = Self::of(&words);
        if let Some(since) = query.since {
            range.first = format!("[{words}/{}", moment(since));
        }
        if let Some(RunCursor { submitted_at, run }) = query.after {
            let moment = moment(submitted_at);
            // Of runs that were submitted at the same moment, those of higher partitions come first in the list.
            range.end = match partition.cmp(&run.partition()) {
                Ordering::Less => format!("({words}/{moment}0"),
                Ordering::Equal => format!("({words}/{moment}/{run}"),
                Ordering::Greater => format!("({words}/{moment}"),
            };
        }
        range
    }

    /// Finished runs, by the moment they ended; behind this member, if there is one.
    pub(super) fn ended(after: Option<&str>) -> Self {
        let all = Self::of(ENDED);
        match after {
            Some(member) => Self { first: format!("({member}"), ..all },
            None => all,
        }
    }
}

/// The run of a member of the index, and the moment by which it is listed.
pub(super) fn member(text: &str) -> Option<(Timestamp, RunId)> {
    let (front, run) = text.rsplit_once('/')?;
    let (_, moment) = front.rsplit_once('/')?;
    Some((Timestamp::from_millis(u64::from_str_radix(moment, 16).ok()?), run.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use longshore_proto::{Digest, WorkflowRef};

    fn summary(status: RunStatus) -> RunSummary {
        RunSummary {
            run: RunId::new(Partition(7), Timestamp::from_millis(9), 1),
            namespace: "sales".parse().expect("a namespace"),
            workflow: WorkflowRef { name: "demo".parse().expect("a name"), digest: Digest::of(b"text") },
            status,
            submitted_at: Timestamp::from_millis(0x19a_1f2b_3c4d),
            finished_at: status.is_terminal().then(|| Timestamp::from_millis(0x19a_1f2b_9999)),
            error: None,
            failed_step: None,
            cancel_reason: None,
            labels: BTreeMap::new(),
        }
    }

    #[test]
    fn a_row_says_its_place_and_then_its_summary() {
        for (status, place) in [
            (RunStatus::Running, "sales/running/0000019a1f2b3c4d/\n"),
            (RunStatus::Failed, "sales/failed/0000019a1f2b3c4d/0000019a1f2b9999\n"),
        ] {
            let row = write(&summary(status)).expect("a row");
            assert!(row.starts_with(place.as_bytes()), "{}", String::from_utf8_lossy(&row));
            assert_eq!(read(&row).expect("its own row"), summary(status));
        }
        assert!(matches!(read(b"sales"), Err(RowError::Place)));
        assert!(matches!(read(b"sales/\n"), Err(RowError::Summary(_))));
    }

    #[test]
    fn a_run_that_ended_has_a_moment_for_it() {
        let row = write(&RunSummary { finished_at: None, ..summary(RunStatus::Failed) }).expect("a row");
        assert!(row.starts_with(b"sales/failed/0000019a1f2b3c4d/0000019a1f2b3c4d\n"));
    }

    #[test]
    fn ranges_hold_what_begins_so_and_nothing_else() {
        let listed =
            |query: &RunQuery, partition| Range::listed(query, RunStatus::Failed, Partition(partition));
        let range = listed(&RunQuery::default(), 7);
        assert_eq!(range, Range { first: "[*/failed/".to_owned(), end: "(*/failed0".to_owned() });
        let member = "*/failed/0000019a1f2b3c4d/run_07_00000000090000000000000001";
        assert!(member > range.first.trim_matches('[') && member < range.end.trim_matches('('));
        assert_eq!(Range::ended(Some("+/1/x")).first, "(+/1/x");
        let since = RunQuery { since: Some(Timestamp::from_millis(0x19a_1f2b_3c4d)), ..RunQuery::default() };
        let first = listed(&since, 7).first;
        assert!(member > first.trim_matches('['), "{first}");
        let run: RunId = "run_07_00000000090000000000000001".parse().expect("an id");
        let after = RunCursor { submitted_at: Timestamp::from_millis(0x19a_1f2b_3c4d), run };
        let query = RunQuery { after: Some(after), ..RunQuery::default() };
        let is_in = |partition| {
            let member = format!("*/failed/0000019a1f2b3c4d/run_{partition:02}_00000000090000000000000001");
            member.as_str() < listed(&query, partition).end.trim_matches('(')
        };
        assert_eq!([6, 7, 8, 100].map(is_in), [true, false, false, false]);
    }

    #[test]
    fn members_are_read_back() {
        let run = summary(RunStatus::Failed).run;
        let text = format!("*/failed/0000019a1f2b3c4d/{run}");
        assert_eq!(member(&text), Some((Timestamp::from_millis(0x19a_1f2b_3c4d), run)));
        assert_eq!(member("nonsense"), None);
        assert_eq!(member("*/failed/xyz/run_00_x"), None);
    }
}
