//! A worker with everything it needs, in a directory that vanishes.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use longshore_embedded::{Access, Embedded};
use longshore_ports::{Backend, Delivery, Queued};
use longshore_proto::{
    Attempt, AttemptRecord, Event, Fault, Job, JobId, OnToolError, Outcome, Partition, Payload, RepeatSafety,
    RetryPolicy, RunId, Seq, ServerName, Settlement, Timestamp,
};
use longshore_worker::mcp::{Pool, ServersConfig};
use longshore_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const PARTITION: Partition = Partition(0);

/// Far more than anything here takes, even on a machine that compiles something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// The secrets of the worker.
pub(crate) const TOKEN: &str = "s3cret \"tökén\" of the worker";
pub(crate) const PIN: &str = "4111111111111111";

/// A queue, a log, claims, blobs, a server, and a worker once it is started.
pub(crate) struct Harness {
    dir: TempDir,
    embedded: Embedded,
    pub(crate) backend: Backend,
    pub(crate) pool: Arc<Pool>,
    pub(crate) stop: CancellationToken,
    worker: JoinSet<()>,
}

impl Harness {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let embedded =
            Embedded::open(&dir.path().join("data"), Access::ReadWrite).await.expect("a data directory");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/journal_server.py");
        let journal = dir.path().join("journal");
        let servers = json!({ "mcpServers": {
            "journal": { "command": "python3", "args": [script], "env": { "JOURNAL": journal } },
            "single": {
                "command": "python3",
                "args": [script],
                "env": { "JOURNAL": journal },
                "longshore": { "max_concurrency": 1 },
            },
            "absent": { "command": "/nowhere/to/be/found" },
        }, "longshore": { "secrets": {
            "TOKEN": { "value": "${TOKEN}", "servers": ["journal"] },
            "PIN": { "value": PIN, "servers": ["journal", "single"], "tools": ["journal/note"] },
        } } });
        let env = |name: &str| match name {
            "PATH" => Some(option_env!("PATH").unwrap_or("/usr/bin").to_owned()),
            "TOKEN" => Some(TOKEN.to_owned()),
            _ => None,
        };
        let servers = ServersConfig::parse(&servers.to_string(), &env).expect("a servers file");
        let backend = embedded.backend();
        let (pool, stop) = (Arc::new(Pool::new(servers)), CancellationToken::new());
        Self { dir, embedded, backend, pool, stop, worker: JoinSet::new() }
    }

    /// The same with a worker at work.
    pub(crate) async fn started() -> Self {
        let mut harness = Self::new().await;
        harness.start(WorkerConfig::default());
        harness
    }

    pub(crate) fn start(&mut self, config: WorkerConfig) {
        let node = "worker-1".parse().expect("a node id");
        let worker = Worker::new(self.backend.clone(), Arc::clone(&self.pool), node, config, None);
        self.worker.spawn(worker.run(self.stop.clone()));
    }

    /// Stops the worker and waits for its end.
    pub(crate) async fn stopped(&mut self) {
        self.stop.cancel();
        while let Some(ended) = timeout(PATIENCE, self.worker.join_next()).await.expect("the worker ends") {
            ended.expect("the worker ends well");
        }
    }

    pub(crate) async fn close(mut self) {
        self.stopped().await;
        self.pool.close().await;
        self.embedded.close().await;
    }

    pub(crate) async fn publish(&self, job: &Job) {
        let queued = self.backend.jobs.publish(vec![job.clone()]).await.expect("published");
        assert_eq!(queued, [Queued::New]);
    }

    /// What became of a job, as the log says.
    pub(crate) async fn settled(&self, id: &JobId) -> (Settlement, Vec<AttemptRecord>) {
        let mut log = self.backend.log.read(PARTITION, Seq(1)).await.expect("a reader");
        let found = async {
            loop {
                let entries = log.next(64).await.expect("entries");
                for event in entries.into_iter().flat_map(|entry| entry.events) {
                    if let Ok(Event::Settled { job, settlement, attempts, .. }) = event
                        && job == *id
                    {
                        return (settlement, attempts);
                    }
                }
            }
        };
        timeout(PATIENCE, found).await.expect("settled in time")
    }

    /// The outcome of a job that is done, and its attempts.
    pub(crate) async fn outcome(&self, id: &JobId) -> (Outcome, Vec<AttemptRecord>) {
        match self.settled(id).await {
            (Settlement::Done(outcome), attempts) => (outcome, attempts),
            again => panic!("not done: {again:?}"),
        }
    }

    pub(crate) async fn fault(&self, id: &JobId) -> Fault {
        match self.outcome(id).await {
            (Outcome::Fault(fault), _) => fault,
            other => panic!("no fault: {other:?}"),
        }
    }

    pub(crate) async fn doubt(&self, id: &JobId) -> Fault {
        match self.outcome(id).await {
            (Outcome::Indeterminate(fault), _) => fault,
            other => panic!("no doubt: {other:?}"),
        }
    }

    /// The calls that reached the server.
    pub(crate) fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("journal")).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Waits until so many calls have reached the server.
    pub(crate) async fn called(&self, times: usize) {
        until("the call", || async { self.journal().len() >= times }).await;
    }

    /// Whether a job has left the queue, which it does when it is acknowledged: only then is its place free. For a
    /// worker that has stopped.
    pub(crate) async fn left_the_queue(&self, job: &Job) -> bool {
        self.backend.jobs.publish(vec![job.clone()]).await.expect("published") == [Queued::New]
    }

    /// Takes a job out of the queue, as another worker would.
    pub(crate) async fn take(&self) -> Option<Delivery> {
        let (server, one) = (server(), NonZeroUsize::MIN);
        self.backend.jobs.pull(&server, one, Duration::ZERO).await.expect("pulled").pop()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Waits until something holds.
pub(crate) async fn until<Held: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> Held) {
    let held = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

pub(crate) fn server() -> ServerName {
    "journal".parse().expect("a server name")
}

/// A job that may be repeated: three attempts, 50 ms and 100 ms apart.
pub(crate) fn safe(step: &str, tool: &str, arguments: Value) -> Job {
    let run = RunId::new(PARTITION, Timestamp::from_millis(1), 1);
    Job {
        id: JobId { run, step: step.parse().expect("a path"), attempt: Attempt::FIRST },
        submitted_at: Timestamp::default(),
        namespace: "default".parse().expect("a namespace"),
        workflow: "demo".parse().expect("a workflow name"),
        server: server(),
        tool: tool.parse().expect("a tool name"),
        arguments: Payload::Inline(arguments),
        secrets: Vec::new(),
        timeout: Duration::from_secs(30),
        max_timeout: Duration::from_secs(30),
        retry: RetryPolicy { jitter: false, delay: Duration::from_millis(50), ..RetryPolicy::default() },
        safety: RepeatSafety::Safe,
        idempotency_key: format!("{run}/{step}"),
        own_key: false,
        on_tool_error: OnToolError::Fail,
        keep_content: false,
        trace: None,
    }
}

/// A job of which nobody said that it may be repeated.
pub(crate) fn unsafe_to_repeat(step: &str, tool: &str, arguments: Value) -> Job {
    Job { safety: RepeatSafety::Unknown, ..safe(step, tool, arguments) }
}

/// Opens the gate that a call of `gate` waits at.
pub(crate) fn open(gate: &Path) {
    std::fs::write(gate, "").expect("a file");
}
