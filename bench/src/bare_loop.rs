//! The bare loop: the least that a broker has to do for one step, written plainly against it.
//!
//! ```text
//!   publish a job (once) ──► work queue ──► pull ──► publish the result ──► ack the job
//!                                                          └──► log ──► read
//! ```
//!
//! Every step of Longshore needs these four actions too, with the same settings of the streams and the same order of
//! acknowledgements. The bare loop has no state, no claims, no checkpoints, and one log. It is measured twice: with
//! single messages, many of them unacknowledged at a time, and with atomic batches. The faster one is the floor.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, Message};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::error::{BenchError, NatsResult, failed_to};
use crate::figures::Floor;
use crate::publish::{PublishMode, WINDOW, publish};

const JOBS: &str = "LS_BENCH_JOBS";
const LOG: &str = "LS_BENCH_LOG";
const LOG_SUBJECT: &str = "longshore-bench.log";

/// Number of steps that are executed before the measurement starts.
const WARM_UP: u32 = 500;

/// The limit for one round: more than ten times what a round takes.
const LIMIT: Duration = Duration::from_secs(300);

/// Body of a job and of a result, about as large as that of a small call.
const BODY: [u8; 256] = [b'x'; 256];

/// The clients of the bare loop, with a connection for each part.
pub(crate) struct BareLoop {
    submitter: Context,
    workers: Vec<Context>,
    reader: Context,
    /// The number of the next step, which makes the subjects of jobs unique.
    next: u64,
}

impl BareLoop {
    /// Creates the clients. One connection submits, one reads, and the others work.
    pub(crate) fn new(submitter: &Client, reader: &Client, workers: &[Client]) -> Self {
        let workers = workers.iter().map(context).collect();
        Self { submitter: context(submitter), workers, reader: context(reader), next: 0 }
    }

    /// Measures one round of many steps at once, on new streams.
    pub(crate) async fn measure(&mut self, steps: u32) -> Result<Floor, BenchError> {
        self.begin().await?;
        let measured = timeout(LIMIT, self.round(steps)).await;
        measured.map_err(failed_to("measure the bare loop"))?.map_err(failed_to("measure the bare loop"))
    }

    /// Prepares steps one at a time, on new streams.
    pub(crate) async fn one_at_a_time(&mut self) -> Result<IdleSteps<'_>, BenchError> {
        self.begin().await?;
        let ready = async { Ok((self.log().await?, self.work(PublishMode::OneByOne).await?)) };
        let ready: NatsResult<_> = timeout(LIMIT, ready).await.map_err(failed_to("prepare the bare loop"))?;
        let (log, workers) = ready.map_err(failed_to("prepare the bare loop"))?;
        Ok(IdleSteps { bare: self, log, workers })
    }

    async fn begin(&self) -> Result<(), BenchError> {
        clear(&self.submitter.client()).await;
        self.create().await.map_err(failed_to("create the streams of the bare loop"))
    }

    async fn create(&self) -> NatsResult<()> {
        let common = Config {
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            allow_atomic_publish: true,
            duplicate_window: Duration::from_secs(1),
            ..Config::default()
        };
        let jobs = Config {
            name: JOBS.to_owned(),
            subjects: vec!["longshore-bench.jobs.>".to_owned()],
            retention: RetentionPolicy::WorkQueue,
            max_messages_per_subject: 1,
            discard_new_per_subject: true,
            ..common.clone()
        };
        let log = Config {
            name: LOG.to_owned(),
            subjects: vec![LOG_SUBJECT.to_owned()],
            deny_delete: true,
            ..common
        };
        self.submitter.create_stream(jobs).await?;
        self.submitter.create_stream(log).await?;
        Ok(())
    }

    async fn round(&mut self, steps: u32) -> NatsResult<Floor> {
        self.many(WARM_UP, PublishMode::OneByOne).await?;
        let pipelined = self.many(steps, PublishMode::OneByOne).await?;
        self.many(WARM_UP, PublishMode::AtomicBatch).await?;
        let batched = self.many(steps, PublishMode::AtomicBatch).await?;
        Ok(Floor { steps_per_second: pipelined.max(batched), pipelined, batched })
    }

    /// Measures the steps per second, with as many in progress as `mode` allows.
    async fn many(&mut self, steps: u32, mode: PublishMode) -> NatsResult<f64> {
        let mut log = self.log().await?;
        let mut workers = self.work(mode).await?;
        let jobs: Vec<_> = (0..steps).map(|_| self.job()).collect();
        let started = Instant::now();
        let submit = async {
            let (size, at_once) = mode.window();
            let chunks = stream::iter(jobs.chunks(size));
            let sent = chunks.map(|chunk| publish(&self.submitter, chunk, &BODY, true, mode));
            sent.buffer_unordered(at_once).try_collect::<()>().await
        };
        let read = async {
            for _ in 0..steps {
                log.next().await.ok_or("the log has ended")??;
            }
            Ok(())
        };
        tokio::select! {
            done = async { tokio::try_join!(submit, read) } => done?,
            Some(ended) = workers.join_next() => return Err(ended.map_or_else(Into::into, failed_worker)),
        };
        Ok(f64::from(steps) / started.elapsed().as_secs_f64())
    }

    fn job(&mut self) -> String {
        self.next += 1;
        format!("longshore-bench.jobs.{}", self.next)
    }

    /// Returns a reader of new entries of the log.
    async fn log(&self) -> NatsResult<pull::Stream> {
        let info = self.reader.get_stream(LOG).await?.cached_info().state.last_sequence;
        let config = pull::Config {
            ack_policy: AckPolicy::None,
            deliver_policy: async_nats::jetstream::consumer::DeliverPolicy::ByStartSequence {
                start_sequence: info + 1,
            },
            ..pull::Config::default()
        };
        let consumer = self.reader.create_consumer_on_stream(config, LOG).await?;
        Ok(consumer.stream().max_messages_per_batch(WINDOW).messages().await?)
    }

    /// Starts the workers. They end when the returned set is dropped.
    async fn work(&self, mode: PublishMode) -> NatsResult<JoinSet<NatsResult<()>>> {
        let config = pull::Config {
            durable_name: Some("work".to_owned()),
            max_ack_pending: i64::try_from(WINDOW * 8)?,
            ..pull::Config::default()
        };
        let mut workers = JoinSet::new();
        for context in &self.workers {
            let consumer = context.create_consumer_on_stream(config.clone(), JOBS).await?;
            let jobs = consumer.stream().max_messages_per_batch(WINDOW).messages().await?;
            workers.spawn(run_jobs(context.clone(), jobs, mode));
        }
        Ok(workers)
    }
}

/// The bare loop, ready for a step that has the broker to itself. Its workers end with it.
pub(crate) struct IdleSteps<'a> {
    bare: &'a mut BareLoop,
    log: pull::Stream,
    workers: JoinSet<NatsResult<()>>,
}

impl IdleSteps<'_> {
    /// Measures the time of one step.
    pub(crate) async fn step(&mut self) -> Result<Duration, BenchError> {
        let job = self.bare.job();
        let started = Instant::now();
        let step = async {
            let submitted =
                publish(&self.bare.submitter, std::slice::from_ref(&job), &BODY, true, PublishMode::OneByOne);
            let (sent, read) = tokio::select! {
                done = async { tokio::join!(submitted, self.log.next()) } => done,
                Some(ended) = self.workers.join_next() => return Err(ended.map_or_else(Into::into, failed_worker)),
            };
            let took = started.elapsed();
            sent?;
            read.ok_or("the log has ended")??;
            Ok(took)
        };
        let took: NatsResult<_> =
            timeout(LIMIT, step).await.map_err(failed_to("measure a step of the bare loop"))?;
        took.map_err(failed_to("measure a step of the bare loop"))
    }
}

/// Deletes the streams of the bare loop.
pub(crate) async fn clear(client: &Client) {
    let context = context(client);
    for name in [JOBS, LOG] {
        // The stream may not exist.
        let _ = context.delete_stream(name).await;
    }
}

fn context(client: &Client) -> Context {
    let limit = Duration::from_secs(30);
    ContextBuilder::new().timeout(limit).ack_timeout(limit).max_ack_inflight(WINDOW * 4).build(client.clone())
}

fn failed_worker(ended: NatsResult<()>) -> Box<dyn std::error::Error + Send + Sync> {
    ended.err().unwrap_or_else(|| "a worker of the bare loop has ended".into())
}

/// Publishes the results of jobs, and then acknowledges the jobs.
async fn run_jobs(context: Context, jobs: pull::Stream, mode: PublishMode) -> NatsResult<()> {
    let (size, at_once) = mode.window();
    let chunks = jobs.ready_chunks(size);
    let done = chunks.map(|chunk| publish_results(&context, chunk, mode)).buffer_unordered(at_once);
    done.try_collect().await
}

async fn publish_results<E: std::error::Error + Send + Sync + 'static>(
    context: &Context,
    jobs: Vec<Result<Message, E>>,
    mode: PublishMode,
) -> NatsResult<()> {
    let jobs = jobs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let subjects: Vec<_> = jobs.iter().map(|_| LOG_SUBJECT.to_owned()).collect();
    publish(context, &subjects, &BODY, false, mode).await?;
    for job in jobs {
        job.ack().await?;
    }
    Ok(())
}
