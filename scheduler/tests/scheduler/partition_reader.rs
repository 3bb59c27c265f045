//! Read-only access to a partition while another process writes its log.
//!
//! The partition has no leader, so no checkpoint is written. The test acts as the worker.

use longshore_embedded::{Access, Embedded};
use longshore_proto::{Attempt, Event, JobId, Partition, RunId, RunStatus, StepStatus};
use longshore_scheduler::{DriverError, Intake, PartitionReader, SubmitRequest};
use serde_json::{Map, json};
use tempfile::TempDir;

use crate::worker::{output, settled};

const P0: Partition = Partition(0);

const CHAIN: &str = "longshore: v1
name: chain
steps:
  - { id: a, call: s/t }
  - { id: b, call: s/t, with: { text: '${{ steps.a.output.text }}' } }
outputs: { b: '${{ steps.b.output }}' }
";

fn job(run: RunId, step: &str) -> JobId {
    JobId { run, step: step.parse().expect("a path"), attempt: Attempt::FIRST }
}

#[tokio::test]
async fn a_reader_sees_runs_of_a_partition_without_a_leader_and_writes_nothing() {
    let dir = TempDir::new().expect("a folder");
    let writer = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
    let intake = Intake::new(writer.backend(), 1);
    let plan = intake.register(CHAIN).await.expect("registers");
    let request = SubmitRequest::new("default".parse().expect("a namespace"), plan.name.clone(), Map::new());
    let run = intake.submit(intake.draw_id(), &plan, request).await.expect("submits");

    // Opened separately, as by another process.
    let read_only = Embedded::open(dir.path(), Access::ReadOnly).await.expect("opens");
    let read = async || PartitionReader::open(read_only.backend(), P0).await.expect("reads");
    let view = read().await.view(run).expect("a view");
    assert_eq!(view.summary.status, RunStatus::Running);
    let statuses: Vec<_> = view.steps.iter().map(|step| step.status).collect();
    assert_eq!(statuses, [StepStatus::Running, StepStatus::Pending]);

    let log = writer.backend().log;
    log.append(P0, &[settled(job(run, "a"), output(json!({ "text": "x" })))]).await.expect("appends");
    assert_eq!(read().await.view(run).expect("a view").steps[1].status, StepStatus::Running);
    log.append(P0, &[settled(job(run, "b"), output(json!(2)))]).await.expect("appends");
    let reader = read().await;
    assert_eq!(reader.view(run).expect("a view").outputs, Some(json!({ "b": 2 })));
    let runs: Vec<_> = reader.summaries().iter().map(|summary| (summary.run, summary.status)).collect();
    assert_eq!(runs, [(run, RunStatus::Succeeded)]);

    assert_eq!(log.tail(P0).await.expect("a tail").0, 3, "the submit and the two reports");
    let checkpoint = writer.backend().checkpoints.load(P0).await.expect("loads");
    assert_eq!(checkpoint, None);
    read_only.close().await;
    writer.close().await;
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_refused() {
    let dir = TempDir::new().expect("a folder");
    let writer = Embedded::open(dir.path(), Access::ReadWrite).await.expect("opens");
    let node = "node".parse().expect("a node");
    let announced =
        Event::LeaderAnnounced { node, version: "1".to_owned(), jobs_lost: false, records_lost: false };
    writer.backend().log.append(P0, &[announced]).await.expect("appends");
    writer.close().await;
    let database = rusqlite::Connection::open(dir.path().join("longshore.db")).expect("opens");
    assert_eq!(database.execute("UPDATE entries SET body = x'09c0'", []).expect("updates"), 1);
    drop(database);
    let read_only = Embedded::open(dir.path(), Access::ReadOnly).await.expect("opens");
    let refused = PartitionReader::open(read_only.backend(), P0).await.err().expect("refused");
    assert!(matches!(refused, DriverError::Newer { found: 9, .. }), "{refused}");
}
