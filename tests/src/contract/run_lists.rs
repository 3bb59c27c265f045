//! The contracts of [`Checkpoints::runs`](longshore_ports::Checkpoints::runs): filters, order and pages of lists.

use longshore_ports::{PAGE_LIMIT, RunCursor, RunPage, RunQuery, RunRow, SCAN_LIMIT};
use longshore_proto::{Namespace, Partition, RunId, RunStatus, Timestamp};

use super::checkpoints::{CheckpointClient, delta, full, row};
use super::values::{run, run_in, summary};
use super::{Fixture, contracts};

contracts![
    runs_are_listed_newest_first,
    lists_are_filtered_by_namespace_and_status,
    lists_are_filtered_by_workflow_time_and_label,
    list_has_at_most_the_requested_number,
    pages_together_are_the_list_and_new_runs_do_not_shift_them,
    page_that_examined_enough_runs_has_a_cursor,
];

use RunStatus::{Cancelled, Failed, Running};

async fn runs_are_listed_newest_first(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let numbers = [3, 1, 4, 2];
    let rows = numbers.map(|n| RunRow { summary: summary(run(9 - n), Running, n / 2), state: Vec::new() });
    checkpoint.accept(full(1, rows.to_vec())).await;
    // Times 1, 0, 2, 1 for runs 6, 8, 5, 7: of equal times, the higher id counts as newer.
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run(5), run(7), run(6), run(8)]);
}

async fn lists_are_filtered_by_namespace_and_status(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let sales: Namespace = "sales".parse().expect("a namespace");
    let mut rows: Vec<RunRow> = [Running, Failed, Cancelled, Running]
        .iter()
        .zip(1..)
        .map(|(status, n)| row(n, *status, ""))
        .collect();
    for row in &mut rows[2..] {
        row.summary.namespace = sales.clone();
    }
    checkpoint.accept(full(1, rows)).await;
    let list = |namespace: Option<&str>, statuses: &[RunStatus]| {
        let namespace = namespace.map(|name| name.parse().expect("a namespace"));
        checkpoint.list(RunQuery { namespace, statuses: statuses.to_vec(), ..RunQuery::default() })
    };
    assert_eq!(list(Some("sales"), &[]).await, [run(4), run(3)]);
    assert_eq!(list(None, &[Running]).await, [run(4), run(1)]);
    assert_eq!(list(None, &[Failed, Cancelled]).await, [run(3), run(2)]);
    assert_eq!(list(Some("sales"), &[Running, Failed]).await, [run(4)]);
    assert!(list(Some("unknown"), &[]).await.is_empty());
}

async fn list_has_at_most_the_requested_number(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(1, (1..=1_010).map(|n| row(n, Failed, "")).collect())).await;
    let list = |limit| checkpoint.list(RunQuery { limit, ..RunQuery::default() });
    assert_eq!(list(2).await, [run(1_010), run(1_009)]);
    assert_eq!(list(0).await.len(), 1_000);
    assert_eq!(list(5_000).await.len(), 1_000);
}

async fn lists_are_filtered_by_workflow_time_and_label(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let mut rows: Vec<RunRow> = (1..=4).map(|n| row(n, if n > 2 { Running } else { Failed }, "")).collect();
    for row in &mut rows[1..3] {
        row.summary.workflow.name = "other".parse().expect("a name");
    }
    let labels =
        [("team", "billing"), ("tier", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    rows[0].summary.labels = labels[..1].iter().cloned().collect();
    rows[2].summary.labels = labels.iter().cloned().collect();
    rows[3].summary.indeterminate = 2;
    checkpoint.accept(full(1, rows)).await;
    let list = |query: RunQuery| checkpoint.list(query);
    assert_eq!(list(RunQuery { indeterminate: true, ..RunQuery::default() }).await, [run(4)]);
    let of_other = RunQuery { workflow: Some("other".parse().expect("a name")), ..RunQuery::default() };
    assert_eq!(list(of_other.clone()).await, [run(3), run(2)]);
    assert_eq!(list(RunQuery { statuses: vec![Failed], ..of_other.clone() }).await, [run(2)]);
    let since = RunQuery { since: Some(Timestamp::from_millis(1_003)), ..RunQuery::default() };
    assert_eq!(list(since.clone()).await, [run(4), run(3)]);
    assert_eq!(list(RunQuery { since: since.since, ..of_other.clone() }).await, [run(3)]);
    let labelled = |count: usize| labels[..count].iter().cloned().collect();
    assert_eq!(list(RunQuery { labels: labelled(1), ..RunQuery::default() }).await, [run(3), run(1)]);
    assert_eq!(list(RunQuery { labels: labelled(2), ..RunQuery::default() }).await, [run(3)]);
    assert!(
        list(RunQuery { limit: 1, since: Some(Timestamp::from_millis(9_999)), ..of_other }).await.is_empty()
    );
}

/// Returns the runs of all pages of a query, and the number of pages.
async fn all_pages(checkpoint: &CheckpointClient, mut query: RunQuery) -> (Vec<RunId>, usize) {
    let (mut runs, mut pages) = (Vec::new(), 0);
    loop {
        let RunPage { runs: found, next, .. } = checkpoint.0.runs(query.clone()).await.expect("lists");
        runs.extend(found.iter().map(|summary| summary.run));
        pages += 1;
        let Some(next) = next else { return (runs, pages) };
        query.after = Some(next);
    }
}

async fn pages_together_are_the_list_and_new_runs_do_not_shift_them(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let other = Partition(1);
    let at = |run, n: u64| RunRow { summary: summary(run, Running, n), state: Vec::new() };
    // Each time has two runs in each of two partitions.
    let here = (0..20).map(|n| at(run(n), 1_000 + n / 2)).collect();
    let there = (0..20).map(|n| at(run_in(other, n), 1_000 + n / 2)).collect();
    checkpoint.accept(full(1, here)).await;
    checkpoint.0.commit(other, full(1, there).into()).await.expect("answers");
    let whole = checkpoint.list(RunQuery::default()).await;
    assert_eq!(whole.len(), 40);
    for limit in [1, 3, 40] {
        let query = RunQuery { limit, ..RunQuery::default() };
        assert_eq!(all_pages(&checkpoint, query).await, (whole.clone(), 40_usize.div_ceil(limit)));
    }
    let first = checkpoint.0.runs(RunQuery { limit: 7, ..RunQuery::default() }).await.expect("lists");
    let newer = vec![at(run(99), 5_000)];
    checkpoint.accept(delta(1, 2, newer)).await;
    let rest = RunQuery { after: first.next, ..RunQuery::default() };
    assert_eq!(checkpoint.list(rest).await, whole[7..], "new runs do not shift the next page");
    let gone = RunCursor { submitted_at: Timestamp::from_millis(1_009), run: run(18) };
    let behind = checkpoint.list(RunQuery { after: Some(gone), ..RunQuery::default() }).await;
    assert_eq!(behind, whole[4..], "after all four of that time");
}

async fn page_that_examined_enough_runs_has_a_cursor(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let count = u64::try_from(SCAN_LIMIT).expect("fits") + 50;
    let mut rows: Vec<RunRow> = (1..=count).map(|n| row(n, Failed, "")).collect();
    rows[0].summary.workflow.name = "rare".parse().expect("a name");
    checkpoint.accept(full(1, rows)).await;
    let query = RunQuery { workflow: Some("rare".parse().expect("a name")), ..RunQuery::default() };
    let page = checkpoint.0.runs(query.clone()).await.expect("lists");
    assert!(page.runs.is_empty());
    assert_eq!(page.next.map(|next| next.run), Some(run(51)), "the last examined run");
    assert_eq!(all_pages(&checkpoint, query).await, (vec![run(1)], 2));
    let full_pages = RunQuery::default();
    let page = checkpoint.0.runs(full_pages.clone()).await.expect("lists");
    assert_eq!(page.next, page.runs.last().map(RunCursor::of));
    let pages = SCAN_LIMIT / PAGE_LIMIT + 1;
    assert_eq!(all_pages(&checkpoint, full_pages).await.1, pages);
}
