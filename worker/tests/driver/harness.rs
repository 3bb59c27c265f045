//! A worker with its backend and servers, in a temporary directory.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use longshore_embedded::{Access, Embedded};
use longshore_ports::{Backend, Delivery};
use longshore_proto::{
    Attempt, AttemptRecord, DeliveryId, Event, Fault, Grant, GrantDecision, Job, JobId, OnToolError, Outcome,
    Partition, Payload, RepeatSafety, RetryPolicy, RunId, Seq, ServerName, Settlement, Timestamp,
};
use longshore_worker::mcp::{ServerPool, ServersConfig};
use longshore_worker::{Worker, WorkerConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

const PARTITION: Partition = Partition(0);

/// Far longer than any wait here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A secret of the worker.
pub(crate) const TOKEN: &str = "s3cret \"tökén\" of the worker";
/// Another secret of the worker, which looks like a number.
pub(crate) const PIN: &str = "4111111111111111";

/// A backend, servers, and a worker once it is started.
pub(crate) struct Harness {
    dir: TempDir,
    embedded: Embedded,
    pub(crate) backend: Backend,
    pub(crate) pool: Arc<ServerPool>,
    pub(crate) stop: CancellationToken,
    worker: JoinSet<()>,
    leader: JoinSet<()>,
}

impl Harness {
    /// Returns a harness whose leader grants each job to the first delivery that asks.
    pub(crate) async fn new() -> Self {
        let mut harness = Self::without_leader().await;
        harness.lead();
        harness
    }

    pub(crate) async fn without_leader() -> Self {
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
        let (pool, stop) = (Arc::new(ServerPool::new(servers)), CancellationToken::new());
        Self { dir, embedded, backend, pool, stop, worker: JoinSet::new(), leader: JoinSet::new() }
    }

    /// Starts a leader that decides about every request in the log.
    pub(crate) fn lead(&mut self) {
        let (log, jobs) = (Arc::clone(&self.backend.log), Arc::clone(&self.backend.jobs));
        self.leader.spawn(async move {
            let mut reader = log.read(PARTITION, Seq(1)).await.expect("a reader");
            let mut granted = BTreeMap::<JobId, DeliveryId>::new();
            loop {
                let entries = reader.next(64).await.expect("entries");
                for event in entries.into_iter().flat_map(|entry| entry.events) {
                    let Ok(Event::Starting { job, delivery }) = event else { continue };
                    let is_first =
                        *granted.entry(job.clone()).or_insert_with(|| delivery.clone()) == delivery;
                    let decision = if is_first { GrantDecision::Granted } else { GrantDecision::Denied };
                    jobs.grant(&[Grant { job, delivery, decision }]).await.expect("sent");
                }
            }
        });
    }

    pub(crate) async fn append(&self, event: Event) {
        self.backend.log.append(PARTITION, &[event]).await.expect("appended");
    }

    /// Returns all events in the log.
    async fn events(&self) -> Vec<Event> {
        let tail = self.backend.log.tail(PARTITION).await.expect("a tail");
        let mut log = self.backend.log.read(PARTITION, Seq(1)).await.expect("a reader");
        let (mut events, mut last) = (Vec::new(), Seq(0));
        while last < tail {
            for entry in log.next(64).await.expect("entries") {
                last = entry.seq;
                events.extend(entry.events.into_iter().flatten());
            }
        }
        events
    }

    /// Returns the number of requests for a grant of a job.
    pub(crate) async fn starting(&self, id: &JobId) -> usize {
        let events = self.events().await;
        events.iter().filter(|event| matches!(event, Event::Starting { job, .. } if job == id)).count()
    }

    pub(crate) async fn is_returned(&self, id: &JobId) -> bool {
        self.events().await.iter().any(|event| matches!(event, Event::Returned { job, .. } if job == id))
    }

    pub(crate) async fn is_settled(&self, id: &JobId) -> bool {
        self.events().await.iter().any(|event| matches!(event, Event::Settled { job, .. } if job == id))
    }

    /// Returns a harness with a running worker.
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
        self.leader.shutdown().await;
        self.pool.close().await;
        self.embedded.close().await;
    }

    pub(crate) async fn publish(&self, job: &Job) {
        assert!(self.left_the_queue(job).await, "it is not in the queue yet");
        self.backend.jobs.publish(vec![job.clone()]).await.expect("published");
    }

    /// Waits for the settlement of a job in the log.
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

    /// Waits for the outcome of a job, and returns it with its attempts.
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

    pub(crate) async fn indeterminate(&self, id: &JobId) -> Fault {
        match self.outcome(id).await {
            (Outcome::Indeterminate(fault), _) => fault,
            other => panic!("not indeterminate: {other:?}"),
        }
    }

    /// Returns the calls that reached the server.
    pub(crate) fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.file("journal")).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Waits until this number of calls has reached the server.
    pub(crate) async fn called(&self, times: usize) {
        until("calls", || async { self.journal().len() >= times }).await;
    }

    /// Returns true if the queue does not have a job. A job leaves it when it is acknowledged.
    pub(crate) async fn left_the_queue(&self, job: &Job) -> bool {
        self.backend.jobs.holds(&[job.address()]).await.expect("answers") == [false]
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

/// Waits until a condition is true.
pub(crate) async fn until<IsTrue: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> IsTrue) {
    let waited = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("timed out waiting for {what}"));
}

pub(crate) fn server() -> ServerName {
    "journal".parse().expect("a server name")
}

/// Returns a job that is safe to repeat: three attempts, 50 ms and 100 ms apart.
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

/// Returns the same job with an idempotency key of the step.
pub(crate) fn with_own_key(step: &str, tool: &str, arguments: Value) -> Job {
    Job { own_key: true, ..safe(step, tool, arguments) }
}

/// Returns the same job without the statement that it is safe to repeat.
pub(crate) fn unsafe_to_repeat(step: &str, tool: &str, arguments: Value) -> Job {
    Job { safety: RepeatSafety::Unknown, ..safe(step, tool, arguments) }
}

/// Creates the file for which a call of `gate` waits.
pub(crate) fn open(gate: &Path) {
    std::fs::write(gate, "").expect("a file");
}
