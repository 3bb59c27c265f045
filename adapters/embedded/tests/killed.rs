//! kill -9 loses nothing that was acknowledged.
//!
//! This binary is both sides: started with `work <dir>` it writes as fast as it can, and prints what was acknowledged.
//! The test kills it, opens the directory, and compares every line.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a surprise ends the test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use longshore_embedded::{Access, Embedded, OpenError};
use longshore_ports::Backend;
use longshore_proto::{ClaimKey, ClaimResult, Digest, Event, NodeId, Partition, RunId, Seq, Timestamp};

const LOG: Partition = Partition(0);

/// Lines that a process prints before it is killed, one number for each round on the same directory: from "just
/// started" to "the write-ahead log was copied into the file a few times".
const ROUNDS: [usize; 10] = [0, 1, 17, 170, 400, 1_000, 33, 2_000, 3, 5_000];

/// Concurrent writers of a process.
const WRITERS: u64 = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [work, dir] = &arguments[..]
        && work == "work"
    {
        runtime().block_on(write_until_killed(Path::new(dir)));
        return ExitCode::FAILURE;
    }
    let trial = Trial::test("kill_9_loses_nothing_that_was_acknowledged", || {
        kill_9_loses_nothing_that_was_acknowledged();
        Ok(())
    });
    libtest_mimic::run(&Arguments::from_args(), vec![trial]).exit_code()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn event(text: &str) -> Event {
    Event::LeaderAnnounced { node: node(), version: text.to_owned(), jobs_lost: false, records_lost: false }
}

fn node() -> NodeId {
    "worker".parse().expect("a node id")
}

fn claim_key(name: &str) -> ClaimKey {
    ClaimKey {
        run: RunId::new(LOG, Timestamp::default(), 1),
        submitted_at: Timestamp::default(),
        step: name.parse().expect("a step"),
    }
}

async fn write_until_killed(dir: &Path) {
    let embedded = Embedded::open(dir, Access::ReadWrite).await.expect("opens");
    let begin = embedded.backend().log.tail(LOG).await.expect("a tail").0;
    let writers = (0..WRITERS).map(|writer| write(embedded.backend(), format!("{begin}_{writer}")));
    tokio::task::JoinSet::from_iter(writers).join_all().await;
}

async fn write(backend: Backend, name: String) {
    for n in 0_u64.. {
        let text = format!("{name}_{n}_{}", "x".repeat(usize::try_from(n * 97 % 3_000).expect("fits")));
        let seq = backend.log.append(LOG, &[event(&text)]).await.expect("appends")[0];
        print(&format!("entry {seq} {text}"));
        if n % 5 == 0 {
            let digest = backend.blobs.put(text.clone().into_bytes()).await.expect("puts");
            print(&format!("blob {digest} {text}"));
            let step = format!("{name}_{n}");
            let lease = Duration::from_secs(3600);
            backend.claims.claim(&claim_key(&step), &node(), lease).await.expect("claims");
            print(&format!("claim {step}"));
            backend.claims.done(&claim_key(&step), &node()).await.expect("is done");
            print(&format!("done {step}"));
        }
    }
}

fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("the test reads the pipe");
}

fn kill_9_loses_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut acknowledged = Vec::new();
    for lines in ROUNDS {
        let child = start(dir.path());
        acknowledged.extend(read_and_kill(child, lines, dir.path()));
        runtime().block_on(compare(dir.path(), &acknowledged));
    }
}

fn start(dir: &Path) -> Child {
    let binary = std::env::current_exe().expect("this binary");
    Command::new(binary).arg("work").arg(dir).stdout(Stdio::piped()).spawn().expect("starts")
}

/// Reads `lines` lines, kills the process, and returns these lines with the complete ones that were still in the pipe.
fn read_and_kill(mut child: Child, lines: usize, dir: &Path) -> Vec<String> {
    let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut printed = Vec::new();
    let mut read = || {
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        line.strip_suffix('\n').map(str::to_owned)
    };
    while printed.len() < lines {
        printed.push(read().expect("it runs until it is killed"));
    }
    if lines > 0 {
        let refused = runtime().block_on(Embedded::open(dir, Access::ReadWrite)).map(|_| ());
        let refused = refused.expect_err("the directory is in use");
        assert!(matches!(refused, OpenError::InUse { pid, .. } if pid == Some(child.id())), "{refused}");
    }
    child.kill().expect("kills");
    child.wait().expect("ends");
    while let Some(line) = read() {
        printed.push(line);
    }
    printed
}

async fn compare(dir: &Path, acknowledged: &[String]) {
    // First as a reader, which takes no lock and finds the write-ahead log of the killed process. A process that was
    // killed at once has not created the file yet.
    if !acknowledged.is_empty() {
        let reader = Embedded::open(dir, Access::ReadOnly).await.expect("opens for reading");
        reader.backend().log.tail(LOG).await.expect("a tail");
        reader.close().await;
    }
    let embedded = Embedded::open(dir, Access::ReadWrite).await.expect("opens");
    let backend = embedded.backend();
    let entries = read_all(&backend).await;
    for line in acknowledged {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["entry", seq, text] => {
                let seq: usize = seq.parse().expect("a number");
                assert_eq!(entries[seq - 1], event(text), "entry {seq}");
            }
            ["blob", digest, text] => {
                let digest: Digest = digest.parse().expect("a digest");
                assert_eq!(backend.blobs.get(digest).await.expect("gets").expect("a blob"), text.as_bytes());
            }
            // Its `done` may be stored too, though it was not printed; or this test claimed it in an earlier round.
            ["claim", step] => assert_ne!(claim(&backend, step).await, ClaimResult::Won, "{step}"),
            ["done", step] => assert_eq!(claim(&backend, step).await, ClaimResult::Done, "{step}"),
            _ => unreachable!("{line}"),
        }
    }
    embedded.close().await;
}

async fn read_all(backend: &Backend) -> Vec<Event> {
    let tail = backend.log.tail(LOG).await.expect("a tail");
    let mut reader = backend.log.read(LOG, Seq(1)).await.expect("reads");
    let mut entries = Vec::new();
    while (entries.len() as u64) < tail.0 {
        entries.extend(reader.next(1_000).await.expect("dense"));
    }
    entries.into_iter().flat_map(|entry| entry.events).map(|event| event.expect("whole")).collect()
}

async fn claim(backend: &Backend, step: &str) -> ClaimResult {
    backend.claims.claim(&claim_key(step), &node(), Duration::ZERO).await.expect("answers")
}
