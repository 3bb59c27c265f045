//! A full disk: writes are refused with the reason, acknowledged data stays, and writes succeed again when there is
//! space.
//!
//! The disk is a small tmpfs, which only root can mount: without that right the test fails and says so.

#![expect(clippy::expect_used, reason = "a surprise ends the test")]

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use longshore_embedded::{Access, Embedded};
use longshore_ports::{Backend, CheckpointDelta, Error};
use longshore_proto::{
    CheckpointMark, ClaimKey, Event, Incarnation, NodeId, Partition, RollingHash, RunId, Seq, Timestamp,
};
use tempfile::TempDir;

const LOG: Partition = Partition(0);

/// A small file system, which is unmounted at the end.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(dir.path()).output();
        let mount = mount.expect("there is a `mount`");
        let said = String::from_utf8_lossy(&mount.stderr).into_owned();
        assert!(mount.status.success(), "this test fills up a tmpfs, and only root can mount one: {said}");
        Self(dir)
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Fills the file system.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("creates");
        let error = loop {
            if let Err(error) = ballast.write_all(&[1; 4_096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("removes");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: after a failed assertion the files may still be open.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(), "unmounts");
    }
}

async fn open(dir: &Path) -> Embedded {
    Embedded::open(dir, Access::ReadWrite).await.expect("opens")
}

fn node() -> NodeId {
    "here".parse().expect("a node id")
}

fn event(n: u64) -> Event {
    Event::LeaderAnnounced {
        node: node(),
        version: format!("{n} {}", "x".repeat(500)),
        jobs_lost: false,
        records_lost: false,
    }
}

fn delta() -> CheckpointDelta {
    let incarnation = Incarnation("one".to_owned());
    let mark = CheckpointMark { incarnation, seq: Seq(1), version: 1, hash: RollingHash::default() };
    CheckpointDelta {
        base: None,
        invalid: None,
        mark,
        partition: vec![0; 100_000],
        changed: Vec::new(),
        expired: Vec::new(),
    }
}

fn key() -> ClaimKey {
    ClaimKey {
        run: RunId::new(LOG, Timestamp::default(), 1),
        submitted_at: Timestamp::default(),
        step: "pay".parse().expect("a step"),
    }
}

fn assert_full(error: Error) {
    assert!(error.retryable, "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
}

/// Appends single events until the disk is full. Returns the number of appended events.
async fn append_until_full(backend: &Backend, first: u64) -> u64 {
    for n in first.. {
        match backend.log.append(LOG, &[event(n)]).await {
            Ok(seqs) => assert_eq!(seqs, [Seq(n)]),
            Err(error) => {
                assert_full(error);
                return n - first;
            }
        }
    }
    unreachable!("disks are finite")
}

/// Asserts that the log consists of the events 1, 2, 3, ..., up to `tail`.
async fn assert_log(backend: &Backend, tail: u64) {
    assert_eq!(backend.log.tail(LOG).await.expect("a tail"), Seq(tail));
    let mut reader = backend.log.read(LOG, Seq(1)).await.expect("reads");
    let mut n = 0;
    while n < tail {
        for mut entry in reader.next(1_000).await.expect("reads on") {
            n += 1;
            let said = entry.events.pop().expect("one event").expect("decodes");
            assert_eq!((entry.seq, said), (Seq(n), event(n)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_refuses_writes_until_there_is_space_again() {
    let disk = Disk::new();
    let embedded = open(&disk.data()).await;
    let backend = embedded.backend();
    backend.log.append(LOG, &(1..=20).map(event).collect::<Vec<_>>()).await.expect("appends");
    disk.fill();
    let mut tail = 20 + append_until_full(&backend, 21).await;
    for refused in join_all((0..50).map(async |n| backend.log.append(LOG, &[event(n)]).await)).await {
        assert_full(refused.expect_err("there is no space"));
    }
    assert_full(backend.checkpoints.commit(LOG, delta().into()).await.expect_err("there is no space"));
    assert_full(backend.claims.claim(&key(), &node(), Duration::ZERO).await.expect_err("there is no space"));
    assert_full(backend.blobs.put(vec![0; 100_000]).await.expect_err("there is no space"));
    assert_log(&backend, tail).await;

    disk.free();
    assert_eq!(backend.log.append(LOG, &[event(tail + 1)]).await.expect("appends"), [Seq(tail + 1)]);
    backend.checkpoints.commit(LOG, delta().into()).await.expect("commits");
    backend.claims.claim(&key(), &node(), Duration::ZERO).await.expect("claims");
    backend.blobs.put(vec![0; 100_000]).await.expect("puts");
    tail += 1;
    assert_log(&backend, tail).await;

    // The disk is full again when the directory is closed.
    disk.fill();
    tail += append_until_full(&backend, tail + 1).await;
    embedded.close().await;
    disk.free();
    let embedded = open(&disk.data()).await;
    assert_log(&embedded.backend(), tail).await;
    embedded.close().await;
}

#[tokio::test]
async fn directory_that_a_full_disk_prevented_is_created_later() {
    let disk = Disk::new();
    std::fs::create_dir(disk.data()).expect("creates");
    disk.fill();
    let refused = Embedded::open(&disk.data(), Access::ReadWrite).await.map(|_| ()).expect_err("no space");
    assert!(refused.to_string().contains("full"), "{refused}");
    disk.free();
    let embedded = open(&disk.data()).await;
    embedded.backend().log.append(LOG, &[event(1)]).await.expect("appends");
    embedded.close().await;
}
