//! Rows: the summaries of runs for lists, each preceded by a line with its positions in the index.
//!
//! ```text
//! default/failed/0000019a1f2b3c4d/0000019a1f2b9999\n  and the summary
//!    │       │        │                 └ time of its end, in milliseconds; empty for a live run
//!    │       │        └ time of its submit
//!    │       └ status
//!    └ namespace
//! ```
//!
//! The scripts build the members of the index from that line, and a [`MemberRange`] selects some of them. Times are
//! hexadecimal and of one width, so that the order of the text is the order of time.

use std::cmp::Ordering;

use longshore_ports::{RunCursor, RunQuery};
use longshore_proto::{
    Namespace, Partition, RunId, RunStatus, RunSummary, Timestamp, WireError, decode, encode,
};

/// The namespace of members for lists of all namespaces. It is not a valid name of a namespace.
const ANY_NAMESPACE: &str = "*";

/// Beginning of the members that are sorted by the time of the end.
const ENDED: &str = "+";

/// The reason why a row cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    /// The first line is missing.
    #[error("a row has no first line")]
    FirstLine,
    /// The summary after the first line is malformed.
    #[error(transparent)]
    Summary(#[from] WireError),
}

/// Encodes the row of a run.
pub(super) fn encode_row(summary: &RunSummary) -> Result<Vec<u8>, WireError> {
    let ended = summary.finished_at.filter(|_| summary.status.is_terminal());
    // An ended run always gets a time of its end: the scripts distinguish live and finished runs by it.
    let ended = ended.or_else(|| summary.status.is_terminal().then_some(summary.submitted_at));
    let (space, status, submitted) = (&summary.namespace, summary.status, hex_millis(summary.submitted_at));
    let first_line = format!("{space}/{status}/{submitted}/{}\n", ended.map(hex_millis).unwrap_or_default());
    let mut row = first_line.into_bytes();
    row.append(&mut encode(summary)?);
    Ok(row)
}

/// Decodes the summary in a row.
pub(super) fn decode_row(row: &[u8]) -> Result<RunSummary, RowError> {
    let end = row.iter().position(|byte| *byte == b'\n').ok_or(RowError::FirstLine)?;
    let (_, summary) = row.split_at_checked(end + 1).ok_or(RowError::FirstLine)?;
    Ok(decode(summary)?)
}

/// Encodes a time for the index.
fn hex_millis(at: Timestamp) -> String {
    format!("{:016x}", at.as_millis())
}

/// A range of members of the index, in the notation of Redis: `[` includes a bound and `(` excludes it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct MemberRange {
    /// Lower bound.
    pub(super) first: String,
    /// Upper bound.
    pub(super) end: String,
}

impl MemberRange {
    /// Returns the members that begin with `words` and a slash. The byte after a slash is `0`.
    fn with_prefix(words: &str) -> Self {
        Self { first: format!("[{words}/"), end: format!("({words}0") }
    }

    /// Returns the runs of a partition with this status that a query selects, sorted by the time of their submit.
    pub(super) fn listed(query: &RunQuery, status: RunStatus, partition: Partition) -> Self {
        let words = format!("{}/{status}", query.namespace.as_ref().map_or(ANY_NAMESPACE, Namespace::as_str));
        let mut range = Self::with_prefix(&words);
        if let Some(since) = query.since {
            range.first = format!("[{words}/{}", hex_millis(since));
        }
        if let Some(RunCursor { submitted_at, run }) = query.after {
            let submitted = hex_millis(submitted_at);
            // Of runs that were submitted at the same time, those of higher partitions come first in the list.
            range.end = match partition.cmp(&run.partition()) {
                Ordering::Less => format!("({words}/{submitted}0"),
                Ordering::Equal => format!("({words}/{submitted}/{run}"),
                Ordering::Greater => format!("({words}/{submitted}"),
            };
        }
        range
    }

    /// Returns the finished runs, sorted by the time of their end; those after a member, if one is given.
    pub(super) fn ended(after: Option<&str>) -> Self {
        let all = Self::with_prefix(ENDED);
        match after {
            Some(member) => Self { first: format!("({member}"), ..all },
            None => all,
        }
    }
}

/// Parses a member of the index: the run, and the time by which it is sorted.
pub(super) fn parse_member(text: &str) -> Option<(Timestamp, RunId)> {
    let (front, run) = text.rsplit_once('/')?;
    let (_, time) = front.rsplit_once('/')?;
    Some((Timestamp::from_millis(u64::from_str_radix(time, 16).ok()?), run.parse().ok()?))
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
            indeterminate: 0,
        }
    }

    #[test]
    fn row_has_a_first_line_and_the_summary() {
        for (status, first_line) in [
            (RunStatus::Running, "sales/running/0000019a1f2b3c4d/\n"),
            (RunStatus::Failed, "sales/failed/0000019a1f2b3c4d/0000019a1f2b9999\n"),
        ] {
            let row = encode_row(&summary(status)).expect("a row");
            assert!(row.starts_with(first_line.as_bytes()), "{}", String::from_utf8_lossy(&row));
            assert_eq!(decode_row(&row).expect("its own row"), summary(status));
        }
        assert!(matches!(decode_row(b"sales"), Err(RowError::FirstLine)));
        assert!(matches!(decode_row(b"sales/\n"), Err(RowError::Summary(_))));
    }

    #[test]
    fn ended_run_always_has_a_time_of_its_end() {
        let row = encode_row(&RunSummary { finished_at: None, ..summary(RunStatus::Failed) }).expect("a row");
        assert!(row.starts_with(b"sales/failed/0000019a1f2b3c4d/0000019a1f2b3c4d\n"));
    }

    #[test]
    fn range_contains_the_members_of_a_query_only() {
        let listed =
            |query: &RunQuery, partition| MemberRange::listed(query, RunStatus::Failed, Partition(partition));
        let range = listed(&RunQuery::default(), 7);
        assert_eq!(range, MemberRange { first: "[*/failed/".to_owned(), end: "(*/failed0".to_owned() });
        let member = "*/failed/0000019a1f2b3c4d/run_07_00000000090000000000000001";
        assert!(member > range.first.trim_matches('[') && member < range.end.trim_matches('('));
        assert_eq!(MemberRange::ended(Some("+/1/x")).first, "(+/1/x");
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
    fn members_are_parsed() {
        let run = summary(RunStatus::Failed).run;
        let text = format!("*/failed/0000019a1f2b3c4d/{run}");
        assert_eq!(parse_member(&text), Some((Timestamp::from_millis(0x19a_1f2b_3c4d), run)));
        assert_eq!(parse_member("nonsense"), None);
        assert_eq!(parse_member("*/failed/xyz/run_00_x"), None);
    }
}
