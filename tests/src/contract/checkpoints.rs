//! The contracts of [`Checkpoints`].

use std::sync::Arc;

use longshore_ports::{CheckpointDelta, Checkpoints, CommitResult, LoadedCheckpoint, RunQuery, RunRow};
use longshore_proto::{CheckpointMark, Incarnation, Partition, RollingHash, RunId, RunStatus, Seq};
use tokio::task::JoinSet;

use super::values::{PARTITION, mark, run, run_in, summary};
use super::{Fixture, contracts};

contracts![
    new_store_has_no_checkpoint,
    full_checkpoint_is_loaded_unchanged,
    delta_changes_its_runs_and_keeps_the_others,
    live_runs_are_in_the_order_of_their_ids,
    delta_onto_another_base_is_refused_and_changes_nothing,
    delta_without_a_stored_checkpoint_is_refused,
    repeated_commit_changes_nothing,
    one_of_many_commits_onto_one_base_is_accepted,
    finished_run_is_not_live_and_still_known,
    full_checkpoint_replaces_live_runs_and_keeps_finished_ones,
    full_checkpoint_does_not_replace_a_newer_one_of_another_leader,
    useless_checkpoint_is_replaced_with_its_finished_runs,
    expired_runs_are_deleted,
    checkpoints_of_partitions_are_separate,
    run_is_found_by_its_id,
    checkpoints_outlive_the_process,
];

use RunStatus::{Cancelled, Failed, Running, Succeeded};

pub(super) fn row(n: u64, status: RunStatus, state: &str) -> RunRow {
    RunRow { summary: summary(run(n), status, 1_000 + n), state: state.as_bytes().to_vec() }
}

/// Returns a delta from the mark at `base` to the mark at `to`.
pub(super) fn delta(base: u64, to: u64, changed: Vec<RunRow>) -> CheckpointDelta {
    CheckpointDelta { base: Some(mark(base)), ..full(to, changed) }
}

pub(super) fn full(to: u64, changed: Vec<RunRow>) -> CheckpointDelta {
    CheckpointDelta {
        base: None,
        invalid: None,
        mark: mark(to),
        partition: format!("at {to}").into_bytes(),
        changed,
        expired: Vec::new(),
    }
}

pub(super) struct CheckpointClient(pub(super) Arc<dyn Checkpoints>);

impl CheckpointClient {
    pub(super) fn of(fixture: &dyn Fixture) -> Self {
        Self(fixture.backend().checkpoints)
    }

    async fn commit(&self, delta: CheckpointDelta) -> CommitResult {
        self.0.commit(PARTITION, delta.into()).await.expect("answers")
    }

    pub(super) async fn accept(&self, delta: CheckpointDelta) {
        assert_eq!(self.commit(delta).await, CommitResult::Accepted);
    }

    async fn load(&self) -> LoadedCheckpoint {
        self.0.load(PARTITION).await.expect("answers").expect("a checkpoint")
    }

    async fn live(&self) -> Vec<(RunId, String)> {
        let text = |state| String::from_utf8(state).expect("text");
        self.load().await.live.into_iter().map(|(run, state)| (run, text(state))).collect()
    }

    pub(super) async fn list(&self, query: RunQuery) -> Vec<RunId> {
        self.0.runs(query).await.expect("lists").runs.into_iter().map(|summary| summary.run).collect()
    }
}

async fn new_store_has_no_checkpoint(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    assert_eq!(checkpoint.0.load(PARTITION).await.expect("answers"), None);
    assert_eq!(checkpoint.0.run(run(1)).await.expect("answers"), None);
    assert!(checkpoint.list(RunQuery::default()).await.is_empty());
}

async fn full_checkpoint_is_loaded_unchanged(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(7, vec![row(1, Running, "one"), row(2, Failed, "two")])).await;
    let loaded = checkpoint.load().await;
    assert_eq!((loaded.mark, loaded.partition), (mark(7), b"at 7".to_vec()));
    assert_eq!(loaded.live, [(run(1), b"one".to_vec())]);
    let ended = row(2, Failed, "").summary.finished_at.expect("it ended");
    assert_eq!(loaded.finished, [(run(2), ended)]);
}

async fn delta_changes_its_runs_and_keeps_the_others(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(7, vec![row(1, Running, "one"), row(2, Running, "two")])).await;
    checkpoint.accept(delta(7, 9, vec![row(2, Running, "two more"), row(3, Running, "three")])).await;
    let expected = [(run(1), "one"), (run(2), "two more"), (run(3), "three")];
    assert_eq!(checkpoint.live().await, expected.map(|(run, state)| (run, state.to_owned())));
    let loaded = checkpoint.load().await;
    assert_eq!((loaded.mark, loaded.partition), (mark(9), b"at 9".to_vec()));
}

async fn live_runs_are_in_the_order_of_their_ids(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let numbers = [300, 2, 1 << 40, 31, 1, 32];
    checkpoint.accept(full(1, numbers.iter().map(|n| row(*n, Running, "")).collect())).await;
    let live: Vec<RunId> = checkpoint.load().await.live.into_iter().map(|(run, _)| run).collect();
    assert!(live.is_sorted() && live.len() == 6, "{live:?}");
}

async fn delta_onto_another_base_is_refused_and_changes_nothing(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(7, vec![row(1, Running, "one"), row(2, Failed, "two")])).await;
    let before = checkpoint.load().await;
    let bases = [
        mark(6),
        mark(8),
        CheckpointMark { incarnation: Incarnation("another".to_owned()), ..mark(7) },
        CheckpointMark { version: 2, ..mark(7) },
        CheckpointMark { hash: RollingHash::default(), ..mark(7) },
    ];
    for base in bases {
        let changed = vec![row(1, Succeeded, "changed"), row(3, Running, "new")];
        let wrong = CheckpointDelta { base: Some(base), expired: vec![run(2)], ..full(9, changed) };
        assert_eq!(checkpoint.commit(wrong).await, CommitResult::Refused { stored: Some(mark(7)) });
    }
    assert_eq!(checkpoint.load().await, before);
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run(2), run(1)]);
}

async fn delta_without_a_stored_checkpoint_is_refused(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let refused = checkpoint.commit(delta(1, 2, vec![row(1, Running, "one")])).await;
    assert_eq!(refused, CommitResult::Refused { stored: None });
    assert_eq!(checkpoint.0.load(PARTITION).await.expect("answers"), None);
}

async fn repeated_commit_changes_nothing(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let first = full(7, vec![row(1, Running, "one")]);
    checkpoint.accept(first.clone()).await;
    checkpoint.accept(first).await;
    let second = delta(7, 9, vec![row(1, Running, "one more"), row(2, Running, "two")]);
    checkpoint.accept(second.clone()).await;
    let after = checkpoint.load().await;
    checkpoint.accept(second).await;
    assert_eq!(checkpoint.load().await, after);
}

async fn one_of_many_commits_onto_one_base_is_accepted(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(1, Vec::new())).await;
    let mut commits = JoinSet::new();
    for n in 2..30 {
        let checkpoint = CheckpointClient::of(fixture);
        commits.spawn(async move { (n, checkpoint.commit(delta(1, n, vec![row(n, Running, "")])).await) });
    }
    let answers = commits.join_all().await;
    let accepted: Vec<_> = answers.iter().filter(|(_, answer)| *answer == CommitResult::Accepted).collect();
    let [(n, _)] = accepted[..] else { unreachable!("one of them: {answers:?}") };
    let loaded = checkpoint.load().await;
    assert_eq!((loaded.mark, loaded.live), (mark(*n), vec![(run(*n), Vec::new())]));
}

async fn finished_run_is_not_live_and_still_known(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(1, vec![row(1, Running, "one")])).await;
    checkpoint.accept(delta(1, 2, vec![row(1, Cancelled, "the end")])).await;
    assert!(checkpoint.live().await.is_empty());
    assert_eq!(checkpoint.load().await.finished.len(), 1);
    let found = checkpoint.0.run(run(1)).await.expect("answers");
    assert_eq!(found, Some(row(1, Cancelled, "the end")));
}

async fn full_checkpoint_replaces_live_runs_and_keeps_finished_ones(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(5, vec![row(1, Running, "one"), row(2, Succeeded, "two")])).await;
    checkpoint.accept(full(6, vec![row(3, Running, "three")])).await;
    assert_eq!(checkpoint.live().await, [(run(3), "three".to_owned())]);
    assert_eq!(checkpoint.load().await.mark, mark(6));
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run(3), run(2)]);
    assert_eq!(checkpoint.0.run(run(2)).await.expect("answers"), Some(row(2, Succeeded, "two")));
}

async fn full_checkpoint_does_not_replace_a_newer_one_of_another_leader(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(7, vec![row(1, Running, "one"), row(2, Failed, "two")])).await;
    let before = checkpoint.load().await;
    let elsewhere = CheckpointMark { incarnation: Incarnation("another".to_owned()), ..mark(9) };
    let wrong = [
        full(6, Vec::new()),
        CheckpointDelta { invalid: Some(mark(5)), ..full(6, Vec::new()) },
        CheckpointDelta { mark: elsewhere, ..full(9, Vec::new()) },
        CheckpointDelta { mark: CheckpointMark { version: 9, ..mark(9) }, ..full(9, Vec::new()) },
    ];
    for delta in wrong {
        assert_eq!(checkpoint.commit(delta).await, CommitResult::Refused { stored: Some(mark(7)) });
    }
    assert_eq!(checkpoint.load().await, before);
}

async fn useless_checkpoint_is_replaced_with_its_finished_runs(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(7, vec![row(1, Running, "one"), row(2, Failed, "two")])).await;
    let another = CheckpointMark { incarnation: Incarnation("another".to_owned()), ..mark(3) };
    let rebuilt = full(3, vec![row(3, Running, "three"), row(4, Succeeded, "four")]);
    let rebuilt = CheckpointDelta { invalid: Some(mark(7)), mark: another.clone(), ..rebuilt };
    checkpoint.accept(rebuilt.clone()).await;
    checkpoint.accept(rebuilt).await;
    assert_eq!(checkpoint.load().await.mark, another);
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run(4), run(3)]);
    assert_eq!(checkpoint.0.run(run(2)).await.expect("answers"), None);
}

async fn expired_runs_are_deleted(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(1, vec![row(1, Failed, ""), row(2, Failed, "")])).await;
    let expired = vec![run(1), run(77)];
    checkpoint.accept(CheckpointDelta { expired, ..delta(1, 2, Vec::new()) }).await;
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run(2)]);
    assert_eq!(checkpoint.0.run(run(1)).await.expect("answers"), None);
}

async fn checkpoints_of_partitions_are_separate(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    let other = Partition(1);
    let there = RunRow { summary: summary(run_in(other, 9), Running, 1), state: b"there".to_vec() };
    checkpoint.accept(full(1, vec![row(1, Running, "here")])).await;
    let committed = checkpoint.0.commit(other, full(8, vec![there]).into()).await.expect("answers");
    assert_eq!(committed, CommitResult::Accepted);
    checkpoint.accept(full(2, Vec::new())).await;
    let loaded = checkpoint.0.load(other).await.expect("answers").expect("a checkpoint");
    assert_eq!((loaded.mark.seq, loaded.live.len()), (Seq(8), 1));
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run_in(other, 9)]);
}

async fn run_is_found_by_its_id(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(1, vec![row(1, Running, "one"), row(2, Running, "two")])).await;
    assert_eq!(checkpoint.0.run(run(2)).await.expect("answers"), Some(row(2, Running, "two")));
    assert_eq!(checkpoint.0.run(run(3)).await.expect("answers"), None);
}

async fn checkpoints_outlive_the_process(fixture: &mut dyn Fixture) {
    let checkpoint = CheckpointClient::of(fixture);
    checkpoint.accept(full(7, vec![row(1, Running, "one"), row(2, Failed, "two")])).await;
    let before = checkpoint.load().await;
    fixture.restart().await;
    let checkpoint = CheckpointClient::of(fixture);
    assert_eq!(checkpoint.load().await, before);
    assert_eq!(checkpoint.list(RunQuery::default()).await, [run(2), run(1)]);
    checkpoint.accept(delta(7, 8, Vec::new())).await;
}
