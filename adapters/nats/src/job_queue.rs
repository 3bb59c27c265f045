//! The work queue: one stream that holds at most one message for each job.
//!
//! The subject of a message contains the job's id, and a job is published on condition that its subject has no message.
//! No window of time is involved, and a killed server still knows its jobs. Each server has a durable [pull
//! consumer](super::pull_consumer), which the first process that pulls creates. There is none for a server that no
//! worker serves, so a misspelt name costs nothing.

mod grants;
mod recalls;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::client::PublishError;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::Info;
use async_nats::{Message, jetstream};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::{Delivery, Error, GrantWaiter, JobQueue};
use longshore_proto::{
    DeliveryId, Grant, Job, JobAddress, JobId, NodeId, ServerName, WireError, decode, encode, subject,
};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use self::grants::Grants;
use self::recalls::Recalls;
use super::api::{ApiError, EmptyRequest, find_message, remove_message, request};
use super::batch::{BatchChoice, BatchSetting, BatchStatus};
use super::connection::Connection;
use super::failure::failed;
use super::publisher::{OutgoingMessage, Publisher, StoreMode};
use super::pull_consumer::PullConsumer;
use super::receipt::NatsReceipt;
use super::streams::stream_info;

/// The only class of jobs so far. Others would have consumers of their own, pulled before or after these.
const CLASS: &str = "std";

/// Maximum number of bytes of jobs that are pulled at once for a server. Arguments above 64 KiB are blobs, so this is
/// some dozens of the largest jobs.
const PULL_BYTES: usize = 4 * 1024 * 1024;

/// Delay before a job is delivered again that a newer version has written. Replacing the workers takes a while.
const NEWER_FORMAT_DELAY: Duration = Duration::from_secs(10);

/// Jobs that are looked up at once: enough to hide the round trip, and few enough to leave the server to other clients.
const LOOKUPS: usize = 64;

/// Time that a recall may wait for a connection. Later it would be of little use.
const RECALL_LIMIT: Duration = Duration::from_secs(2);

/// Time that a grant may wait for a connection. The worker asks again after two seconds.
const GRANT_LIMIT: Duration = Duration::from_secs(1);

/// Time in which the client library passes a denial on, after the server sent it: milliseconds, or some tenths of a second on a busy
/// machine. A later one makes the worker unready.
const DENIAL_PAUSE: Duration = Duration::from_millis(200);

/// Pause before the end of the queue is read again.
const END_PAUSE: Duration = Duration::from_secs(1);

/// The job queue of a cluster.
pub(super) struct NatsJobQueue {
    connection: Connection,
    publisher: Publisher,
    batch: BatchSetting,
    /// True if large groups of jobs go as atomic batches. `None` until that is measured.
    uses_batches: watch::Receiver<Option<bool>>,
    recalls: Arc<Recalls>,
    grants: Grants,
    /// Number of times that the stream was created again.
    replacements: watch::Sender<u64>,
    /// Sequence of the last job that was queued before this connection received recalls.
    before_recalls: Arc<AtomicU64>,
    /// Consumers of the servers that this process pulls for.
    consumers: Mutex<BTreeMap<ServerName, Arc<PullConsumer>>>,
}

impl NatsJobQueue {
    /// Subscribes to recalls and starts the publisher.
    pub(super) async fn open(connection: &Connection, batch: BatchSetting) -> Result<Self, Error> {
        let recalls = Recalls::subscribe(connection).await?;
        // Until the end of the queue is known, every job may be older than the subscription.
        let before_recalls = Arc::new(AtomicU64::new(u64::MAX));
        connection.spawn(track_recall_start(connection.clone(), Arc::clone(&before_recalls)));
        let choice = BatchChoice::new(batch);
        let uses_batches = choice.subscribe();
        let publisher = Publisher::with_batches(connection, choice);
        Ok(Self {
            connection: connection.clone(),
            publisher,
            batch,
            uses_batches,
            recalls,
            grants: Grants::default(),
            replacements: watch::Sender::default(),
            before_recalls,
            consumers: Mutex::default(),
        })
    }

    /// Returns the counter of times that the stream was created again.
    pub(super) fn replacement_counter(&self) -> watch::Sender<u64> {
        self.replacements.clone()
    }

    /// Subscribes to the grants of a worker before the first job, and waits until a missing permission has been reported.
    pub(super) async fn receive_grants(&self, worker: &NodeId) -> Result<(), Error> {
        self.grants.subscribe(&self.connection, worker).await?;
        // The server handles requests in order, and reports a denial beside them.
        for _ in 0..2 {
            let info = stream_info(&self.connection.context, subject::JOBS_STREAM).await;
            info.map_err(|error| failed("read the stream of jobs", error))?;
        }
        // The client library passes a denial on by a task of its own, which a busy machine runs a little later.
        sleep(DENIAL_PAUSE).await;
        Ok(())
    }

    /// Returns the use of atomic batches.
    pub(super) fn batch_status(&self) -> BatchStatus {
        BatchStatus { setting: self.batch, used: *self.uses_batches.borrow() }
    }

    fn consumer(&self, server: &ServerName) -> Arc<PullConsumer> {
        // No code that holds the lock can panic half-way.
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = consumers.entry(server.clone()).or_insert_with(|| {
            let name = subject::jobs_consumer(CLASS, server);
            let filter = subject::jobs_of(CLASS, server);
            PullConsumer::new(&self.connection, subject::JOBS_STREAM, &name, &filter, PULL_BYTES)
        });
        Arc::clone(consumer)
    }

    /// Returns the sequence of the message under a subject, if there is one.
    async fn sequence_of(&self, subject: String) -> Result<Option<u64>, Error> {
        let query = json!({ "last_by_subj": subject });
        let found = find_message(&self.connection.context, subject::JOBS_STREAM, &query).await;
        let found = found.map_err(|error| failed("look for jobs in the queue", error))?;
        Ok(found.map(|message| message.seq))
    }

    /// Removes the message of a job, if there is one.
    async fn remove(&self, job: &JobId) -> Result<(), Error> {
        let Some(seq) = self.sequence_of(subject::job_of_any_server(CLASS, job)).await? else {
            return Ok(());
        };
        match remove_message(&self.connection.context, subject::JOBS_STREAM, seq).await {
            // The server refuses only what is not there: the worker was faster.
            Ok(()) | Err(ApiError::Refused(_)) => Ok(()),
            Err(error) => Err(failed("withdraw a job", error)),
        }
    }

    /// Decodes a delivery. Returns `None` for malformed messages, which are removed from the queue, and for newer
    /// formats, which are returned to the queue.
    fn decode_delivery(&self, message: Message) -> Option<Delivery> {
        let receipt = NatsReceipt::new(&self.connection, &message);
        let job = match decode::<Job>(&message.payload) {
            Ok(job) => job,
            Err(reason @ WireError::Version { .. }) => {
                warn!(subject = %message.subject, %reason, "cannot read a job of a newer version; returning it to the queue");
                receipt.postpone(NEWER_FORMAT_DELAY);
                return None;
            }
            Err(reason) => {
                error!(subject = %message.subject, %reason, "cannot decode a job; removing it from the queue");
                receipt.terminate();
                return None;
            }
        };
        let recalled = self.recalls.watch(&job.id);
        let (recalls, id) = (Arc::clone(&self.recalls), job.id.clone());
        let receipt = receipt.on_drop(move || recalls.forget(&id));
        let message = jetstream::Message { message, context: self.connection.context.clone() };
        // A message without a delivery count was not delivered by a consumer, and cannot be acknowledged.
        let info = message.info().ok();
        let delivered = info.as_ref().map_or(1, |info| u32::try_from(info.delivered).unwrap_or(1));
        let seq = info.as_ref().map_or(0, |info| info.stream_sequence);
        let was_last = info.as_ref().is_some_and(|info| info.pending == 0);
        let recall_missed = seq <= self.before_recalls.load(Ordering::Acquire);
        let receipt = Box::new(receipt);
        Some(Delivery { job, delivered, recalled, recall_missed, was_last, receipt })
    }
}

#[async_trait]
impl JobQueue for NatsJobQueue {
    async fn publish(&self, jobs: Vec<Job>) -> Result<(), Error> {
        let messages = jobs.iter().map(message).collect::<Result<_, _>>();
        let messages = messages.map_err(|error| Error::permanent("queue jobs", error))?;
        self.publisher.publish("queue jobs", messages).await.map(|_| ())
    }

    async fn holds(&self, jobs: &[JobAddress]) -> Result<Vec<bool>, Error> {
        let subjects: Vec<_> = jobs.iter().map(|job| subject::job(CLASS, &job.server, &job.id)).collect();
        let found = stream::iter(subjects).map(|subject| self.sequence_of(subject)).buffered(LOOKUPS);
        found.map_ok(|seq| seq.is_some()).try_collect().await
    }

    async fn waiting(&self, server: &ServerName, job: &JobId) -> Result<Option<u64>, Error> {
        let Some(seq) = self.sequence_of(subject::job(CLASS, server, job)).await? else { return Ok(None) };
        let consumer = subject::jobs_consumer(CLASS, server);
        let info = format!("CONSUMER.INFO.{}.{consumer}", subject::JOBS_STREAM);
        match request::<Info>(&self.connection.context, info, &EmptyRequest {}).await {
            // A job before the last delivered one is delivered, or was given back and is the next to be delivered.
            Ok(info) => Ok((seq > info.delivered.stream_sequence).then_some(info.num_pending)),
            Err(error) if error.code() == Some(ErrorCode::CONSUMER_NOT_FOUND) => Ok(None),
            Err(error) => Err(failed(format!("read consumer {consumer}"), error)),
        }
    }

    async fn recall(&self, jobs: &[JobId]) -> Result<(), Error> {
        let sending = async {
            for job in jobs {
                self.connection.client.publish(subject::recall(job), bytes::Bytes::new()).await?;
            }
            Ok::<_, PublishError>(())
        };
        match tokio::time::timeout(RECALL_LIMIT, sending).await {
            Ok(sent) => sent.map_err(|error| failed("recall jobs", error)),
            Err(_) => Err(Error::transient("recall jobs", "there is no connection to NATS")),
        }
    }

    async fn withdraw(&self, jobs: &[JobId]) -> Result<(), Error> {
        let jobs = stream::iter(jobs.to_vec());
        jobs.map(|job| async move { self.remove(&job).await }).buffer_unordered(LOOKUPS).try_collect().await
    }

    async fn grant(&self, grants: &[Grant]) -> Result<(), Error> {
        let sent = tokio::time::timeout(GRANT_LIMIT, grants::send(&self.connection, grants)).await;
        sent.unwrap_or_else(|_| Err(Error::transient("send grants", "there is no connection to NATS")))
    }

    async fn grant_waiter(&self, delivery: &DeliveryId) -> Result<GrantWaiter, Error> {
        self.grants.waiter(&self.connection, delivery).await
    }

    fn outlives_process(&self) -> bool {
        true
    }

    fn replacements(&self) -> Option<watch::Receiver<u64>> {
        Some(self.replacements.subscribe())
    }

    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let messages = self.consumer(server).pull(max.get(), wait).await?;
        Ok(messages.into_iter().filter_map(|message| self.decode_delivery(message)).collect())
    }
}

/// Records the end of the queue at the time when recalls began to arrive, once more after each reconnect.
async fn track_recall_start(connection: Connection, before_recalls: Arc<AtomicU64>) {
    let mut connected = connection.connected();
    loop {
        match stream_info(&connection.context, subject::JOBS_STREAM).await {
            Ok(info) => {
                before_recalls.store(info.state.last_sequence, Ordering::Release);
                if connected.changed().await.is_err() {
                    return;
                }
                before_recalls.store(u64::MAX, Ordering::Release);
            }
            Err(error) => {
                debug!(%error, "cannot read the end of the queue; trying again");
                sleep(END_PAUSE).await;
            }
        }
    }
}

fn message(job: &Job) -> Result<OutgoingMessage, WireError> {
    let subject = subject::job(CLASS, &job.server, &job.id).into();
    Ok(OutgoingMessage { subject, body: encode(job)?.into(), store: StoreMode::IfAbsent })
}
