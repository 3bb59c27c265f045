//! NATS, Redis, and one scheduler in this process.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{HeaderMap, jetstream};
use longshore_nats::{self as nats, BatchSetting, Nats, NatsConfig};
use longshore_ports::{Backend, DeadLetter, Delivery};
use longshore_proto::{AttemptRecord, Event, Namespace, Outcome, Output, Settlement};
use longshore_redis::{Redis, RedisConfig};
use longshore_scheduler::{Ingest, Node, NodeConfig, RequestHandlers, SubmitHandler};
use longshore_tests::nats_server::NatsServer;
use longshore_tests::redis_server::RedisServer;
use longshore_tls::TlsFiles;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The limit for each step, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) const PARTITIONS: u16 = 2;

pub(crate) const WORKFLOW: &str = "longshore: v1
name: report
inputs: { month: { type: integer, default: 1 } }
steps:
  - { id: fetch, call: crm/list, with: { month: '${{ inputs.month }}' } }
outputs: { rows: '${{ steps.fetch.output }}' }
";

/// A scheduler with its NATS and Redis.
pub(crate) struct Cluster {
    pub(crate) nats: Nats,
    pub(crate) redis: Redis,
    pub(crate) client: async_nats::Client,
    pub(crate) submits: Arc<SubmitHandler>,
    pub(crate) handlers: Arc<RequestHandlers>,
    pub(crate) backend: Backend,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    pub(crate) redis_server: RedisServer,
    _nats_server: NatsServer,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(NodeConfig::default().ttl).await
    }

    /// Starts a scheduler whose leases last this long.
    pub(crate) async fn start_with(ttl: Duration) -> Self {
        Self::start_as(NodeConfig { ttl, ..NodeConfig::default() }).await
    }

    /// Starts a scheduler with these settings.
    pub(crate) async fn start_as(node: NodeConfig) -> Self {
        Self::start_leading(node, true).await
    }

    /// Starts a scheduler that takes submits and requests, and leads no partition.
    pub(crate) async fn start_without_leader() -> Self {
        Self::start_leading(NodeConfig::default(), false).await
    }

    async fn start_leading(node: NodeConfig, leads: bool) -> Self {
        let (nats_server, redis_server) = (NatsServer::start().await, RedisServer::start().await);
        let nats = Nats::connect(NatsConfig {
            urls: vec![nats_server.url()],
            credentials: None,
            inbox_prefix: None,
            batch: BatchSetting::Auto,
            nkey: None,
            tls: TlsFiles::default(),
            name: "requests".to_owned(),
            replicas: 1,
            partitions: PARTITIONS,
            connect_deadline: PATIENCE,
        });
        let redis = Redis::connect(RedisConfig {
            url: redis_server.url(),
            connect_deadline: PATIENCE,
            prefix: "ls".to_owned(),
            tls: TlsFiles::default(),
        });
        let (nats, redis) = (nats.await.expect("connects"), redis.await.expect("connects"));
        let backend = Backend {
            log: nats.log(),
            jobs: nats.jobs(),
            checkpoints: redis.checkpoints(),
            claims: redis.claims(),
            blobs: nats.blobs(),
        };
        let client = async_nats::connect(nats_server.url()).await.expect("connects");
        let submits = SubmitHandler::new(backend.clone(), nats.workflows(), redis.submit_ids(), PARTITIONS);
        let submits = Arc::new(submits);
        let handlers = Arc::new(RequestHandlers::new(
            backend.clone(),
            Arc::clone(&submits),
            redis.catalog(),
            nats.dead_letters(),
        ));
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let served =
            nats::serve(nats.client(), Arc::clone(&handlers) as _, Box::new(|| json!(null)), stop.clone());
        tasks.spawn(async move { served.await.expect("serves") });
        let config = NodeConfig { partitions: PARTITIONS, ..node };
        let updates = Arc::new(nats.events());
        let id = "scheduler".parse().expect("a node");
        let node = Node::new(backend.clone(), redis.lease(), id, config, updates);
        let (submissions, dead_letters) = (nats.submissions(), nats.dead_letters());
        let ingest = Ingest::new(Arc::clone(&submits), submissions, dead_letters, node.backpressure());
        tasks.spawn(ingest.run(stop.clone()));
        let leading = stop.clone();
        tasks.spawn(async move {
            if leads {
                node.run(leading).await;
            } else {
                leading.cancelled().await;
                drop(node);
            }
        });
        Self {
            nats,
            redis,
            client,
            submits,
            handlers,
            backend,
            stop,
            tasks,
            redis_server,
            _nats_server: nats_server,
        }
    }

    /// Ends the scheduler in order.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                ended.expect("no panic")
            }
        };
        timeout(PATIENCE, ended).await.expect("in time");
        self.nats.close().await;
    }

    /// Registers a workflow.
    pub(crate) async fn push(&self, text: &str) {
        let namespace = "default".parse().expect("a namespace");
        self.handlers.push(&namespace, text).await.expect("registers");
    }

    /// Publishes a submit, as any client does.
    pub(crate) async fn publish(&self, to: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) {
        let (subject, body) = (format!("longshore.v1.submit.{to}"), body.into());
        let jetstream = jetstream::new(self.client.clone());
        let sent = jetstream.publish_with_headers(subject, map(headers), body.into());
        sent.await.expect("publishes").await.expect("a receipt");
    }

    /// Publishes a submit without waiting for an acknowledgement.
    pub(crate) async fn say(&self, to: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) {
        let (subject, body) = (format!("longshore.v1.submit.{to}"), body.into());
        let sent = self.client.publish_with_headers(subject, map(headers), body.into());
        sent.await.expect("publishes");
    }

    /// Sends a request. Returns the answer, or the code of the error with the body.
    pub(crate) async fn ask(&self, verb: &str, request: Value) -> Result<Value, (u16, Value)> {
        self.ask_of("default", verb, request.to_string()).await
    }

    /// Sends a request with any body, about any namespace.
    pub(crate) async fn ask_of(
        &self,
        namespace: &str,
        verb: &str,
        body: impl Into<Vec<u8>>,
    ) -> Result<Value, (u16, Value)> {
        let (subject, body): (_, Vec<u8>) = (format!("longshore.v1.api.{namespace}.{verb}"), body.into());
        let answer = loop {
            let request = async_nats::Request::new().payload(body.clone().into()).timeout(Some(PATIENCE));
            match self.client.send_request(subject.clone(), request).await {
                Ok(answer) => break answer,
                // The service has not subscribed yet.
                Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{verb}: {error}"),
            }
        };
        let document = serde_json::from_slice(&answer.payload).expect("JSON");
        let header =
            |name| answer.headers.as_ref().and_then(|headers| headers.get(name)).map(ToString::to_string);
        match header(NATS_SERVICE_ERROR_CODE) {
            None => Ok(document),
            Some(code) => {
                assert!(header(NATS_SERVICE_ERROR).is_some_and(|text| !text.is_empty()), "an error says why");
                Err((code.parse().expect("a number"), document))
            }
        }
    }

    /// Returns the run that has an id.
    pub(crate) async fn run_of(&self, id: &str, namespace: &Namespace) -> String {
        let submit = json!({ "workflow": "report", "id": id }).to_string();
        let answer = self.ask_of(namespace.as_str(), "submit", submit).await.expect("submits");
        answer["run"].as_str().expect("a run").to_owned()
    }

    /// Pulls a job of the server `crm`.
    pub(crate) async fn job(&self) -> Delivery {
        let crm = "crm".parse().expect("a server");
        let pulling = async {
            loop {
                let jobs = self.backend.jobs.pull(&crm, NonZeroUsize::MIN, Duration::from_secs(5)).await;
                if let Some(job) = jobs.expect("pulls").into_iter().next() {
                    return job;
                }
            }
        };
        timeout(PATIENCE, pulling).await.expect("a job in time")
    }

    /// Reports the output of a job and acknowledges it.
    pub(crate) async fn settle(&self, delivery: Delivery, output: Value) {
        self.report(&delivery, output).await;
        delivery.receipt.ack().await.expect("acks");
    }

    /// Reports the output of a job, which stays in the queue.
    pub(crate) async fn report(&self, delivery: &Delivery, output: Value) {
        let id = delivery.job.id.clone();
        let event = Event::Settled {
            settlement: Settlement::Done(Outcome::Output(Output { value: output.into(), content: None })),
            attempts: Vec::<AttemptRecord>::new(),
            worker: "worker".parse().expect("a node"),
            job: id.clone(),
            unreported: false,
            unreported_worker: None,
        };
        self.backend.log.append(id.run.partition(), &[event]).await.expect("appends");
    }

    /// Waits until there are this many dead letters, and returns them, the oldest first.
    pub(crate) async fn dead_letters(&self, count: usize) -> Vec<DeadLetter> {
        let waiting = async {
            loop {
                let letters = self.nats.dead_letters().list(None, 100).await.expect("lists");
                if letters.len() >= count {
                    return letters.into_iter().rev().collect();
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("refused in time")
    }

    /// Returns the number of runs, as of the last checkpoint.
    pub(crate) async fn runs(&self) -> usize {
        let runs = self.ask("list", json!({})).await.expect("lists");
        runs["runs"].as_array().expect("a list").len()
    }
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    map
}
