//! The ports on NATS: log, job queue, blobs, workflow registry, submits, dead letters and run updates.
//!
//! [`Nats::connect`] waits for a server, checks its version and its JetStream, and creates the streams or verifies
//! them. Checkpoints, claims and leases are in Redis.

mod address;
mod api;
mod backlog;
mod batch;
mod blobs;
mod call_updates;
mod config;
mod connection;
mod dead_letters;
mod denials;
mod denied_subscriptions;
mod error;
mod failure;
mod job_queue;
mod log;
mod missing_texts;
mod nkey;
mod plaintext;
mod publisher;
mod pull;
mod pull_consumer;
mod receipt;
mod registry;
mod run_events;
mod run_updates;
mod scan;
mod service;
mod status;
mod streams;
mod submit_queue;
mod subscriptions;
mod version;

use std::sync::Arc;

use longshore_ports::{Blobs, DeadLetters, Error, JobQueue, RunLog, Submissions, Workflows};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

pub use self::backlog::{Backlog, ServerBacklog, WaitingSubmits};
pub use self::batch::{BatchSetting, BatchStatus};
use self::blobs::BlobStore;
pub use self::config::NatsConfig;
use self::connection::Connection;
pub use self::dead_letters::DEAD_LETTER_TRIM_PERCENT;
use self::dead_letters::DeadLetterStream;
pub use self::error::{ConnectError, NEEDED_VERSION, UnusableConnection};
use self::job_queue::NatsJobQueue;
use self::log::PartitionLogs;
use self::registry::WorkflowRegistry;
pub use self::run_events::RunEvents;
pub use self::service::{ServiceReport, serve};
pub use self::status::{AccountStatus, ConsumerStatus, NatsStatus, StreamStatus};
use self::streams::StreamLayout;
use self::streams::created::CreatedStreams;
pub use self::streams::restore::{RestoredStreams, StreamKind};
use self::submit_queue::SubmitQueue;

/// A connection of a client. It sends requests and receives events, and needs neither JetStream nor a stream.
#[derive(Clone)]
pub struct NatsClient {
    connection: Connection,
    events: RunEvents,
}

impl NatsClient {
    /// Waits for a server and checks it.
    ///
    /// # Errors
    /// If there is no server before the deadline, or one that cannot be used; see [`ConnectError`].
    pub async fn connect(config: NatsConfig) -> Result<Self, ConnectError> {
        let connection = Connection::connect_client(&config).await?;
        Ok(Self { events: RunEvents::new(&connection), connection })
    }

    /// Returns the events of runs.
    pub fn events(&self) -> RunEvents {
        self.events.clone()
    }

    /// Returns the client of the library.
    pub fn client(&self) -> async_nats::Client {
        self.connection.client.clone()
    }

    /// Waits until the server denies a permission, and returns its words. Safe to cancel.
    pub async fn denied(&self) -> String {
        self.connection.denied().await
    }

    /// Reads the state of streams and consumers. It needs an operator's permissions for JetStream.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn status(&self) -> Result<NatsStatus, Error> {
        status::read(&self.connection).await
    }

    /// Reads the jobs that wait, by MCP server.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        backlog::read(&self.connection).await
    }

    /// Returns the registered workflows, as `<namespace>/<name>`, whose text is gone, so that their submits are refused. Only
    /// the hundred that were registered last are looked at.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn workflows_without_text(&self) -> Result<Vec<String>, Error> {
        missing_texts::find(&self.connection).await
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}

/// A connection of a scheduler or a worker, and its ports.
///
/// Background tasks run until [`Nats::close`], or until the runtime ends.
#[derive(Clone)]
pub struct Nats {
    connection: Connection,
    log: Arc<PartitionLogs>,
    jobs: Arc<NatsJobQueue>,
    blobs: Arc<BlobStore>,
    workflows: Arc<WorkflowRegistry>,
    submissions: Arc<SubmitQueue>,
    dead_letters: Arc<DeadLetterStream>,
    events: RunEvents,
    /// Number of missing streams that this process created again.
    restored: watch::Sender<RestoredStreams>,
}

impl Nats {
    /// Connects a scheduler: waits for a server, checks it, and creates or verifies the streams.
    ///
    /// # Errors
    /// If there is no server before the deadline, or one that cannot be used; see [`ConnectError`].
    pub async fn connect(config: NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + config.connect_deadline;
        let layout = StreamLayout::of(&config);
        let connection = Connection::connect(&config).await?;
        let created = CreatedStreams::default();
        let ensured = streams::ensure(&connection.context, layout, deadline, &created);
        Box::pin(connection.unless_denied(ensured)).await?;
        let batch = config.batch;
        let nats = connection.unless_denied(Self::open(connection.clone(), layout, batch)).await?;
        match nats.batch_status().used {
            Some(used) => {
                info!(used, "`nats.batch` decides whether large groups of jobs go to NATS as atomic batches")
            }
            None => info!(
                "the first large groups of jobs are measured to decide whether they go to NATS as atomic batches (`nats.batch`)"
            ),
        }
        connection.spawn(subscriptions::recover(connection.clone()));
        let (restored, replacements) = (nats.restored.clone(), nats.jobs.replacement_counter());
        connection.spawn(streams::restore::restore(connection.clone(), layout, restored));
        connection.spawn(streams::replaced_queue::watch(connection.clone(), replacements));
        Ok(nats)
    }

    /// Connects a worker, which has no permission to create streams: waits until a scheduler has created them, and
    /// verifies them.
    ///
    /// # Errors
    /// As for [`Nats::connect`], and if a stream is missing at the deadline.
    pub async fn join(config: NatsConfig) -> Result<Self, ConnectError> {
        let layout = StreamLayout::of(&config);
        let connection = Connection::connect(&config).await?;
        let verified = streams::verify(&connection.context, layout, config.connect_deadline);
        connection.unless_denied(verified).await?;
        let nats = connection.unless_denied(Self::open(connection.clone(), layout, config.batch)).await?;
        if let Ok(worker) = config.name.parse() {
            let receiving = async { Ok(nats.jobs.receive_grants(&worker).await?) };
            connection.unless_denied(receiving).await?;
        }
        connection.spawn(subscriptions::recover(connection.clone()));
        Ok(nats)
    }

    async fn open(
        connection: Connection,
        layout: StreamLayout,
        batch: BatchSetting,
    ) -> Result<Self, ConnectError> {
        Ok(Self {
            log: Arc::new(PartitionLogs::new(&connection, layout)),
            jobs: Arc::new(NatsJobQueue::open(&connection, batch).await?),
            blobs: Arc::new(BlobStore::new(&connection)),
            workflows: Arc::new(WorkflowRegistry::new(&connection)),
            submissions: Arc::new(SubmitQueue::new(&connection)),
            dead_letters: Arc::new(DeadLetterStream::new(&connection)),
            events: RunEvents::new(&connection),
            restored: watch::Sender::default(),
            connection,
        })
    }

    /// Returns the logs.
    pub fn log(&self) -> Arc<dyn RunLog> {
        Arc::clone(&self.log) as _
    }

    /// Returns the job queue.
    pub fn jobs(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.jobs) as _
    }

    /// Returns the blobs.
    pub fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs) as _
    }

    /// Returns the workflow registry.
    pub fn workflows(&self) -> Arc<dyn Workflows> {
        Arc::clone(&self.workflows) as _
    }

    /// Returns the queue of published submits.
    pub fn submissions(&self) -> Arc<dyn Submissions> {
        Arc::clone(&self.submissions) as _
    }

    /// Returns the dead letters.
    pub fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        Arc::clone(&self.dead_letters) as _
    }

    /// Returns the events of runs.
    pub fn events(&self) -> RunEvents {
        self.events.clone()
    }

    /// Returns the numbers of streams that vanished while this process ran, and that it created again, empty.
    pub fn streams_restored(&self) -> watch::Receiver<RestoredStreams> {
        self.restored.subscribe()
    }

    /// Returns the client of the library, for a micro service.
    pub fn client(&self) -> async_nats::Client {
        self.connection.client.clone()
    }

    /// Fails if there is no connection at this moment, or if it leads to a server that cannot be used: after a
    /// reconnect it may be an older one.
    ///
    /// # Errors
    /// If there is no connection, or the server is too old.
    pub fn check(&self) -> Result<(), UnusableConnection> {
        self.connection.check()
    }

    /// Returns true if the server has recently denied this process the publish on a subject.
    pub fn denies(&self, subject: &str) -> bool {
        denials::is_denied(subject)
    }

    /// Fails while the server denies a permission whose lack shows in no record of requests: for subscriptions, for publishes
    /// without an answer (grants, recalls, run updates, acknowledgements, answers), and for appends of submits.
    ///
    /// # Errors
    /// If such a permission was denied, and not given since as far as is known.
    pub fn check_permissions(&self) -> Result<(), Error> {
        denials::require_none(&self.connection.denied_subscriptions.permissions())
    }

    /// Returns the use of atomic batches by this process.
    pub fn batch_status(&self) -> BatchStatus {
        self.jobs.batch_status()
    }

    /// Reads the state of streams and consumers.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn status(&self) -> Result<NatsStatus, Error> {
        status::read(&self.connection).await
    }

    /// Reads the published submits that wait.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn waiting_submits(&self) -> Result<WaitingSubmits, Error> {
        backlog::submits(&self.connection).await
    }

    /// Reads used storage and storage limit of the account.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn account(&self) -> Result<AccountStatus, Error> {
        status::account(&self.connection).await
    }

    /// Returns the fullness of all logs together, in per cent of the room that the other streams leave them. Submits
    /// are admitted by this number, unless a log has a `max_bytes` of its own that is fuller. Zero without a limit of
    /// the account.
    ///
    /// # Errors
    /// If the server does not answer, or the user has no permission to read the streams of submits and dead letters.
    pub async fn fullness_of_logs(&self) -> Result<u64, Error> {
        self.log.fullness_of_all().await
    }

    /// Reads the state of one stream, without its consumers.
    ///
    /// # Errors
    /// If the stream does not exist or does not answer.
    pub async fn stream(&self, name: &str) -> Result<StreamStatus, Error> {
        status::one_stream(&self.connection, name).await
    }

    /// Reads the jobs that wait, by MCP server.
    ///
    /// # Errors
    /// If the server does not answer.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        backlog::read(&self.connection).await
    }

    /// Removes the messages of jobs that were acknowledged before this backlog was read. Returns their number.
    ///
    /// # Errors
    /// If the server does not answer, or denies it.
    pub async fn remove_acknowledged_jobs(&self, backlog: &Backlog) -> Result<usize, Error> {
        backlog::remove_acknowledged(&self.connection, backlog).await
    }

    /// Waits until the server has processed everything that was sent.
    ///
    /// # Errors
    /// If it does not answer within ten seconds.
    pub async fn flush(&self) -> Result<(), Error> {
        self.connection.round_trip("flush").await
    }

    /// Ends the background tasks, gives back delivered messages that no caller took, and closes the connection.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}
