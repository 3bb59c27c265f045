//! Access to a data directory: other processes, files of other programs and files of newer versions are refused.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a surprise ends the test")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use longshore_embedded::{Access, Embedded, OpenError, PARTITIONS};
use longshore_ports::{Backend, CheckpointDelta};
use longshore_proto::{
    CheckpointMark, ClaimKey, ClaimResult, Digest, Event, NodeId, Partition, RollingHash, RunId, Seq,
    Timestamp,
};
use rusqlite::Connection;
use tempfile::TempDir;

const LOG: Partition = Partition(0);

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

async fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, Access::ReadWrite).await.expect("opens")
}

async fn open_for_reading(dir: &Path) -> Embedded {
    Embedded::open(dir, Access::ReadOnly).await.expect("opens for reading")
}

async fn refusal(dir: &Path, access: Access) -> OpenError {
    Embedded::open(dir, access).await.map(|_| ()).expect_err("is refused")
}

fn database(dir: &Path) -> Connection {
    Connection::open(dir.join("longshore.db")).expect("SQLite opens it")
}

fn event(version: &str) -> Event {
    Event::LeaderAnnounced {
        node: node("here"),
        version: version.to_owned(),
        jobs_lost: false,
        records_lost: false,
    }
}

fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

async fn append(backend: &Backend, version: &str) -> Seq {
    backend.log.append(LOG, &[event(version)]).await.expect("appends")[0]
}

#[tokio::test]
async fn directory_is_created_for_its_owner_alone() {
    let dir = directory();
    let nested = dir.path().join("not/yet/there");
    open(&nested).await.close().await;
    let mode = std::fs::metadata(&nested).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn second_process_is_refused_until_the_first_has_closed() {
    let dir = directory();
    let first = open(dir.path()).await;
    let refused = refusal(dir.path(), Access::ReadWrite).await;
    assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(refused.to_string().contains(&format!("in use by process {}", std::process::id())), "{refused}");
    first.close().await;
    open(dir.path()).await.close().await;
}

async fn share(dir: &Path) -> Embedded {
    Embedded::open(dir, Access::Shared).await.expect("opens")
}

#[tokio::test]
async fn processes_that_share_a_directory_hold_partitions_of_their_own() {
    let dir = directory();
    let (first, second) = (share(dir.path()).await, share(dir.path()).await);
    let none = BTreeSet::new();
    assert_eq!(first.hold_free(&none).await.expect("is free"), Partition(0));
    assert_eq!(second.hold_free(&none).await.expect("is free"), Partition(1));
    let refused = second.hold(Partition(0)).await.expect_err("is held");
    assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(matches!(refusal(dir.path(), Access::ReadWrite).await, OpenError::InUse { .. }));
    let reader = open_for_reading(dir.path()).await;
    let holder = |partition| reader.holder(Partition(partition)).expect("looks");
    assert_eq!([0, 1, 2].map(|partition| holder(partition).is_some()), [true, true, false]);
    first.close().await;
    assert!(holder(0).is_none());
    second.hold(Partition(0)).await.expect("is free again");
    second.close().await;
    open(dir.path()).await.close().await;
}

#[tokio::test]
async fn partition_with_runs_that_have_not_ended_is_taken_for_a_new_run_only_as_the_last() {
    let dir = directory();
    let store = share(dir.path()).await;
    append(&store.backend(), "1").await;
    let none = BTreeSet::new();
    assert_eq!(
        store.hold_free(&none).await.expect("is free"),
        Partition(1),
        "the log of 0 is not checkpointed"
    );
    assert_eq!(store.hold_free(&BTreeSet::from([LOG])).await.expect("is free"), LOG);
    store.close().await;
    let stores = [share(dir.path()).await, share(dir.path()).await];
    for partition in (1..PARTITIONS).map(Partition) {
        stores[0].hold(partition).await.expect("is free");
    }
    assert_eq!(stores[1].hold_free(&none).await.expect("is free"), LOG);
    assert!(matches!(share(dir.path()).await.hold_free(&none).await, Err(OpenError::Full { .. })));
}

#[tokio::test]
async fn entries_of_another_process_reach_a_follower_in_order() {
    let dir = directory();
    let (leader, other) = (share(dir.path()).await, share(dir.path()).await);
    let mut follower = leader.backend().log.read(LOG, Seq(1)).await.expect("reads");
    let mut seen = Vec::new();
    for (store, version) in [(&leader, "1"), (&other, "2"), (&other, "3"), (&leader, "4"), (&other, "5")] {
        append(&store.backend(), version).await;
        if version != "2" {
            while seen.len() < version.parse::<usize>().expect("a number") {
                seen.extend(follower.next(10).await.expect("follows").into_iter().map(|entry| entry.seq));
            }
        }
    }
    assert_eq!(seen, [1, 2, 3, 4, 5].map(Seq));
    leader.close().await;
    other.close().await;
}

#[tokio::test]
async fn locks_of_partitions_are_private_and_never_a_link() {
    let dir = directory();
    let store = share(dir.path()).await;
    store.hold(Partition(7)).await.expect("is free");
    let mode = std::fs::metadata(dir.path().join("lock-07")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let target = dir.path().join("precious");
    std::fs::write(&target, "precious").expect("writes");
    std::os::unix::fs::symlink(&target, dir.path().join("lock-08")).expect("links");
    assert!(matches!(store.hold(Partition(8)).await, Err(OpenError::SymbolicLink { .. })));
    assert!(matches!(store.holder(Partition(8)), Err(OpenError::SymbolicLink { .. })));
    assert_eq!(std::fs::read_to_string(&target).expect("reads"), "precious");
    store.close().await;
}

#[tokio::test]
async fn ports_fail_after_a_close() {
    let dir = directory();
    let embedded = open(dir.path()).await;
    let backend = embedded.backend();
    append(&backend, "1").await;
    let mut follower = backend.log.read(LOG, Seq(2)).await.expect("reads");
    let (followed, ()) = tokio::join!(follower.next(1), embedded.close());
    let errors = [
        followed.map(|_| ()),
        backend.log.append(LOG, &[event("2")]).await.map(|_| ()),
        backend.log.tail(LOG).await.map(|_| ()),
    ];
    for error in errors {
        let error = error.expect_err("it is closed");
        assert!(!error.retryable && error.to_string().contains("has been closed"), "{error}");
    }
}

#[tokio::test]
async fn waiting_changes_are_written_before_a_close() {
    let dir = directory();
    let embedded = open(dir.path()).await;
    let backend = embedded.backend();
    let appends = (0..100).map(|n| {
        let backend = backend.clone();
        async move { backend.log.append(LOG, &[event(&n.to_string())]).await.is_ok() }
    });
    let mut writing = tokio::task::JoinSet::from_iter(appends);
    // At least one change is being written when the directory is closed.
    let mut written = u64::from(writing.join_next().await.expect("some").expect("ends"));
    embedded.close().await;
    written += writing.join_all().await.into_iter().map(u64::from).sum::<u64>();
    let embedded = open(dir.path()).await;
    assert_eq!(embedded.backend().log.tail(LOG).await.expect("a tail"), Seq(written));
    embedded.close().await;
}

#[tokio::test]
async fn closed_directory_has_one_data_file() {
    // Once is not enough: the connections close on threads of their own.
    for _ in 0..20 {
        let dir = directory();
        let store = open(dir.path()).await;
        let backend = store.backend();
        append(&backend, "1").await;
        assert_eq!(backend.log.tail(LOG).await.expect("reads"), Seq(1));
        store.close().await;
        let rest = std::fs::read_dir(dir.path()).expect("lists").map(|file| file.expect("lists").file_name());
        let mut rest: Vec<_> = rest.collect();
        rest.sort();
        assert_eq!(rest, ["lock", "longshore.db"]);
    }
}

#[tokio::test]
async fn file_of_a_newer_version_is_refused() {
    let dir = directory();
    open(dir.path()).await.close().await;
    database(dir.path()).pragma_update(None, "user_version", 99).expect("updates");
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = refusal(dir.path(), access).await;
        assert!(matches!(refused, OpenError::Newer { found: 99, known: 1, .. }), "{refused}");
        assert!(refused.to_string().ends_with("upgrade longshore"), "{refused}");
    }
}

#[tokio::test]
async fn file_that_is_not_a_database_is_refused_unchanged() {
    let dir = directory();
    let path = dir.path().join("longshore.db");
    let text = "not a database, but a text that is long enough to look at. ".repeat(100);
    std::fs::write(&path, &text).expect("writes");
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = refusal(dir.path(), access).await;
        assert!(matches!(refused, OpenError::NotOurs { .. }), "{refused}");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
}

#[tokio::test]
async fn database_of_another_program_is_refused_unchanged() {
    let dir = directory();
    database(dir.path()).execute_batch("CREATE TABLE theirs (x)").expect("creates");
    let before = std::fs::read(dir.path().join("longshore.db")).expect("reads");
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = refusal(dir.path(), access).await;
        assert!(matches!(refused, OpenError::NotOurs { .. }), "{refused}");
    }
    assert_eq!(std::fs::read(dir.path().join("longshore.db")).expect("reads"), before);
}

#[tokio::test]
async fn file_in_place_of_the_directory_is_refused() {
    let dir = directory();
    let path = dir.path().join("file");
    std::fs::write(&path, "").expect("writes");
    let refused = refusal(&path, Access::ReadWrite).await;
    assert!(matches!(refused, OpenError::NotADirectory { .. }), "{refused}");
}

#[tokio::test]
async fn incomplete_data_file_is_completed() {
    let dir = directory();
    std::fs::write(dir.path().join("longshore.db"), "").expect("writes");
    assert!(matches!(refusal(dir.path(), Access::ReadOnly).await, OpenError::Absent { .. }));
    let embedded = open(dir.path()).await;
    append(&embedded.backend(), "1").await;
    embedded.close().await;
}

#[tokio::test]
async fn read_only_access_creates_nothing() {
    let dir = directory();
    let absent = dir.path().join("absent");
    assert!(matches!(refusal(&absent, Access::ReadOnly).await, OpenError::Absent { .. }));
    assert!(!absent.exists());
}

#[tokio::test]
async fn reader_works_beside_a_writer_and_after_it() {
    let dir = directory();
    let writer = open(dir.path()).await;
    append(&writer.backend(), "1").await;
    let reader = open_for_reading(dir.path()).await;
    let mut follower = reader.backend().log.read(LOG, Seq(1)).await.expect("reads");
    assert_eq!(follower.next(10).await.expect("reads on").len(), 1);
    let writes = writer.backend();
    let (followed, _) = tokio::join!(follower.next(10), append(&writes, "2"));
    assert_eq!(followed.expect("follows")[0].events[0].as_ref().expect("decodes"), &event("2"));
    writer.close().await;
    assert_eq!(reader.backend().log.tail(LOG).await.expect("a tail"), Seq(2));
    reader.close().await;
    let reader = open_for_reading(dir.path()).await;
    assert_eq!(reader.backend().log.tail(LOG).await.expect("a tail"), Seq(2));
}

#[tokio::test]
async fn read_only_access_refuses_every_change() {
    let dir = directory();
    open(dir.path()).await.close().await;
    let backend = open_for_reading(dir.path()).await.backend();
    let mark = CheckpointMark {
        incarnation: backend.log.incarnation(LOG).await.expect("an incarnation"),
        seq: Seq(1),
        version: 1,
        hash: RollingHash::default(),
    };
    let delta = CheckpointDelta {
        base: None,
        invalid: None,
        mark,
        partition: Vec::new(),
        changed: Vec::new(),
        expired: Vec::new(),
    };
    let errors = [
        backend.log.append(LOG, &[event("1")]).await.map(|_| ()),
        backend.log.trim(LOG, Seq(1)).await,
        backend.checkpoints.commit(LOG, delta.into()).await.map(|_| ()),
        backend.claims.claim(&key(), &node("here"), Duration::ZERO).await.map(|_| ()),
        backend.blobs.put(b"text".to_vec()).await.map(|_| ()),
    ];
    for error in errors {
        let error = error.expect_err("it only looks");
        assert!(!error.retryable && error.to_string().contains("for reading only"), "{error}");
    }
}

fn key() -> ClaimKey {
    let run = RunId::new(LOG, Timestamp::default(), 1);
    ClaimKey { run, submitted_at: Timestamp::default(), step: "pay".parse().expect("a step") }
}

#[tokio::test]
async fn lease_ends_with_the_process_that_holds_the_directory() {
    let dir = directory();
    let embedded = open(dir.path()).await;
    let hour = Duration::from_secs(3600);
    let claim = async |embedded: &Embedded, who| {
        embedded.backend().claims.claim(&key(), &node(who), hour).await.expect("answers")
    };
    assert_eq!(claim(&embedded, "before").await, ClaimResult::Won);
    embedded.close().await;
    let embedded = open(dir.path()).await;
    assert_eq!(claim(&embedded, "after").await, ClaimResult::Lapsed { holder: Some(node("before")) });
    embedded.close().await;
}

#[tokio::test]
async fn changed_blob_is_an_error() {
    let dir = directory();
    let embedded = open(dir.path()).await;
    let digest = embedded.backend().blobs.put(b"text".to_vec()).await.expect("puts");
    database(dir.path()).execute("UPDATE blobs SET body = x'00'", []).expect("updates");
    let error = embedded.backend().blobs.get(digest).await.expect_err("it was changed");
    assert!(!error.retryable, "{error}");
    assert!(error.to_string().contains(&Digest::of(b"text").to_string()), "{error}");
    embedded.close().await;
}

#[tokio::test]
async fn checkpoint_that_cannot_be_decoded_counts_as_missing() {
    let dir = directory();
    let embedded = open(dir.path()).await;
    let backend = embedded.backend();
    let mark = |seq| CheckpointMark {
        incarnation: longshore_proto::Incarnation("one".to_owned()),
        seq: Seq(seq),
        version: 1,
        hash: RollingHash::default(),
    };
    let delta = |base, seq| CheckpointDelta {
        base,
        invalid: None,
        mark: mark(seq),
        partition: Vec::new(),
        changed: Vec::new(),
        expired: Vec::new(),
    };
    backend.checkpoints.commit(LOG, delta(None, 1).into()).await.expect("commits");
    database(dir.path()).execute("UPDATE checkpoints SET mark = x'00'", []).expect("updates");
    assert_eq!(backend.checkpoints.load(LOG).await.expect("answers"), None);
    backend.checkpoints.commit(LOG, delta(None, 2).into()).await.expect("commits");
    assert_eq!(backend.checkpoints.load(LOG).await.expect("answers").expect("one").mark, mark(2));
    embedded.close().await;
}
