//! The work queue: one stream with one message for each subject, and so one place for each job.
//!
//! The subject is made of the job's id, and a job is published on condition that its subject has no message; no window
//! of time is involved, and a killed server remembers it. Each server has a [line](super::line), a durable consumer that
//! whoever pulls first creates. There is none for a server that nobody serves, so a misspelt name costs nothing.

mod recalls;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::Info;
use async_nats::{Message, jetstream};
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::{Delivery, Error, JobQueue, Queued};
use longshore_proto::{Job, JobId, ServerName, Timestamp, WireError, decode, encode, subject};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{debug, error, warn};

use self::recalls::Recalls;
use super::api::{Nothing, ask};
use super::connection::Connection;
use super::failure::failed;
use super::line::Line;
use super::publisher::{
    BatchChoice, BatchSetting, BatchStatus, OutgoingMessage, PublishOutcome, Publisher, StoreMode,
};
use super::receipt::Held;
use super::streams::look;

/// The only class of jobs there is yet. Others would have consumers of their own, pulled before or after these.
const CLASS: &str = "std";

/// How many bytes of jobs are pulled at once for a server. Arguments above 64 KiB are blobs, so this is some dozens of the
/// largest jobs.
const PULL_BYTES: usize = 4 * 1024 * 1024;

/// How long a job is left alone that a newer version has written: workers are being replaced, which takes a while.
const NEWER_PAUSE: Duration = Duration::from_secs(10);

/// How many jobs are looked for at once: enough to hide the round trip, and few enough to leave the server to others.
const LOOKS: usize = 64;

/// How long a recall may wait for a connection: it is only good for a while.
const RECALL: Duration = Duration::from_secs(2);

/// How long to wait before asking again how far the queue goes.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The queue of a cluster.
pub(super) struct Jobs {
    connection: Connection,
    publisher: Publisher,
    batch: BatchSetting,
    /// True if large groups of jobs go as atomic batches. `None` until that is measured.
    uses_batches: watch::Receiver<Option<bool>>,
    recalls: Arc<Recalls>,
    /// The last job that was queued before recalls were listened to, over this connection.
    unheard: Arc<AtomicU64>,
    /// The servers this process pulls for.
    lines: Mutex<BTreeMap<ServerName, Arc<Line>>>,
}

impl Jobs {
    /// Begins to listen to recalls.
    pub(super) async fn open(connection: &Connection, batch: BatchSetting) -> Result<Self, Error> {
        let recalls = Recalls::listen(connection).await?;
        // Until it is known, every job may be older.
        let unheard = Arc::new(AtomicU64::new(u64::MAX));
        connection.spawn(note_unheard(connection.clone(), Arc::clone(&unheard)));
        let choice = BatchChoice::new(batch);
        let uses_batches = choice.subscribe();
        let publisher = Publisher::with_batches(connection, choice);
        Ok(Self { connection: connection.clone(), publisher, batch, uses_batches, recalls, unheard, lines: Mutex::default() })
    }

    /// Returns the use of atomic batches.
    pub(super) fn batch_status(&self) -> BatchStatus {
        BatchStatus { setting: self.batch, used: *self.uses_batches.borrow() }
    }

    fn line(&self, server: &ServerName) -> Arc<Line> {
        // No code that holds the lock can panic half-way.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(server.clone()).or_insert_with(|| {
            let consumer = subject::jobs_consumer(CLASS, server);
            let filter = subject::jobs_of(CLASS, server);
            Line::new(&self.connection, subject::JOBS_STREAM, &consumer, &filter, PULL_BYTES)
        });
        Arc::clone(line)
    }

    /// Where in the queue the message under a subject stands, if there is one.
    async fn place(&self, subject: String) -> Result<Option<u64>, Error> {
        let request = json!({ "last_by_subj": subject });
        let get = format!("STREAM.MSG.GET.{}", subject::JOBS_STREAM);
        match ask::<Found>(&self.connection.context, get, &request).await {
            Ok(found) => Ok(Some(found.message.seq)),
            Err(error) if error.code() == Some(ErrorCode::NO_MESSAGE_FOUND) => Ok(None),
            Err(error) => Err(failed("look for jobs in the queue", error)),
        }
    }

    /// A job as it came; nothing if it is none, and then it is taken out of the queue; and nothing if only a newer worker
    /// can read it.
    fn deliver(&self, message: Message) -> Option<Delivery> {
        let receipt = Held::new(&self.connection, &message);
        let job = match decode::<Job>(&message.payload) {
            Ok(job) => job,
            Err(reason @ WireError::Version { .. }) => {
                warn!(subject = %message.subject, %reason, "a job is left to a newer worker");
                receipt.put_off(NEWER_PAUSE);
                return None;
            }
            Err(reason) => {
                error!(subject = %message.subject, %reason, "a message in the queue is no job; it is taken out");
                receipt.discard();
                return None;
            }
        };
        let recalled = self.recalls.watch(&job.id);
        let (recalls, id) = (Arc::clone(&self.recalls), job.id.clone());
        let receipt = receipt.when_gone(move || recalls.forget(&id));
        let message = jetstream::Message { message, context: self.connection.context.clone() };
        // One that does not say how often it was delivered did not come from a queue, and cannot be acknowledged.
        let info = message.info().ok();
        let delivered = info.as_ref().map_or(1, |info| u32::try_from(info.delivered).unwrap_or(1));
        let place = info.as_ref().map_or(0, |info| info.stream_sequence);
        let was_last = info.as_ref().is_some_and(|info| info.pending == 0);
        let recall_missed = place <= self.unheard.load(Ordering::Acquire);
        let queued_at = info.map(|info| {
            let millis = info.published.unix_timestamp_nanos() / 1_000_000;
            Timestamp::from_millis(u64::try_from(millis).unwrap_or_default())
        });
        let receipt = Box::new(receipt);
        Some(Delivery { job, delivered, queued_at, recalled, recall_missed, was_last, receipt })
    }
}

#[async_trait]
impl JobQueue for Jobs {
    async fn publish(&self, jobs: Vec<Job>) -> Result<Vec<Queued>, Error> {
        let messages = jobs.iter().map(message).collect::<Result<_, _>>();
        let messages = messages.map_err(|error| Error::permanent("queue jobs", error))?;
        let placed = self.publisher.publish("queue jobs", messages).await?;
        Ok(placed.into_iter().map(queued).collect())
    }

    async fn holds(&self, jobs: &[Job]) -> Result<Vec<bool>, Error> {
        let subjects: Vec<_> = jobs.iter().map(|job| subject::job(CLASS, &job.server, &job.id)).collect();
        let places = stream::iter(subjects).map(|subject| self.place(subject)).buffered(LOOKS);
        places.map_ok(|place| place.is_some()).try_collect().await
    }

    async fn waiting(&self, server: &ServerName, job: &JobId) -> Result<Option<u64>, Error> {
        let Some(place) = self.place(subject::job(CLASS, server, job)).await? else { return Ok(None) };
        let consumer = subject::jobs_consumer(CLASS, server);
        let info = format!("CONSUMER.INFO.{}.{consumer}", subject::JOBS_STREAM);
        match ask::<Info>(&self.connection.context, info, &Nothing {}).await {
            // What stands before the last delivery is out, or was given back and goes first.
            Ok(info) => Ok((place > info.delivered.stream_sequence).then_some(info.num_pending)),
            Err(error) if error.code() == Some(ErrorCode::CONSUMER_NOT_FOUND) => Ok(None),
            Err(error) => Err(failed(format!("look at consumer {consumer}"), error)),
        }
    }

    async fn recall(&self, job: &JobId) -> Result<(), Error> {
        let sent = self.connection.client.publish(subject::recall(job), bytes::Bytes::new());
        match tokio::time::timeout(RECALL, sent).await {
            Ok(sent) => sent.map_err(|error| failed(format!("recall job {job}"), error)),
            Err(_) => Err(Error::transient(format!("recall job {job}"), "there is no connection to NATS")),
        }
    }

    fn outlives_process(&self) -> bool {
        true
    }

    async fn pull(
        &self,
        server: &ServerName,
        max: NonZeroUsize,
        wait: Duration,
    ) -> Result<Vec<Delivery>, Error> {
        let messages = self.line(server).pull(max.get(), wait).await?;
        Ok(messages.into_iter().filter_map(|message| self.deliver(message)).collect())
    }
}

/// Notes how far the queue went when recalls began to be heard, for each connection anew.
async fn note_unheard(connection: Connection, unheard: Arc<AtomicU64>) {
    let mut connected = connection.connected();
    loop {
        match look(&connection.context, subject::JOBS_STREAM).await {
            Ok(info) => {
                unheard.store(info.state.last_sequence, Ordering::Release);
                if connected.changed().await.is_err() {
                    return;
                }
                unheard.store(u64::MAX, Ordering::Release);
            }
            Err(error) => {
                debug!(%error, "how far the queue goes is not known yet");
                sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// The answer to a request for a message.
#[derive(Deserialize)]
struct Found {
    message: Stored,
}

/// Of a message only its place.
#[derive(Deserialize)]
struct Stored {
    seq: u64,
}

fn message(job: &Job) -> Result<OutgoingMessage, WireError> {
    let subject = subject::job(CLASS, &job.server, &job.id).into();
    Ok(OutgoingMessage { subject, body: encode(job)?.into(), store: StoreMode::IfAbsent })
}

fn queued(placed: PublishOutcome) -> Queued {
    match placed {
        PublishOutcome::Stored(_) => Queued::New,
        PublishOutcome::AlreadyPresent => Queued::Already,
    }
}
