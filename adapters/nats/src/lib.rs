//! The cluster's adapters on NATS: log, queue, blobs, registry, submits, dead letters and events.
//!
//! [`Nats::connect`] waits for a server, looks at its version and its JetStream, and creates the streams or verifies
//! them; what it hands out stands under the ports. Checkpoints, claims and leases live in Redis.

mod address;
mod api;
mod backlog;
mod blobs;
mod call_updates;
mod connection;
mod dead_letters;
mod error;
mod events;
mod failure;
mod jobs;
mod line;
mod log;
mod news;
mod nkey;
mod plaintext;
mod publisher;
mod pull;
mod receipt;
mod scan;
mod service;
mod status;
mod streams;
mod submissions;
mod version;
mod workflows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Blobs, DeadLetters, Error, JobQueue, RunLog, Submissions, Workflows};
use longshore_tls::TlsFiles;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

pub use self::backlog::{Backlog, ServerBacklog};
use self::connection::Connection;
pub use self::error::{ConnectError, NEEDED_VERSION, Unfit};
pub use self::events::Events;
pub use self::publisher::{BatchSetting, BatchStatus};
pub use self::service::{ServiceReport, serve};
pub use self::status::{AccountStatus, ConsumerStatus, QueueStatus, Status, StreamStatus};
use self::streams::{Layout, MadeStreams};

/// Where NATS is, and how it is used.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// The servers of one cluster: `nats://host:4222`, ...
    pub urls: Vec<String>,
    /// A file with a user's JWT and seed.
    pub credentials: Option<PathBuf>,
    /// What the subjects of answers begin with, for permissions: `_INBOX`, unless it says so.
    pub inbox_prefix: Option<String>,
    /// A file with the seed of a user's nkey.
    pub nkey: Option<PathBuf>,
    /// Certificates. If any is named, TLS is required.
    pub tls: TlsFiles,
    /// What this process calls itself, for the server's list of connections.
    pub name: String,
    /// How many servers keep each stream; 1, 3 or 5.
    pub replicas: usize,
    /// How many logs there are: the same for as long as the cluster has runs.
    pub partitions: u16,
    /// Use of atomic batches for large groups of jobs.
    pub batch: BatchSetting,
    /// How long to wait for a server.
    pub connect_deadline: Duration,
}

impl NatsConfig {
    const fn layout(&self) -> Layout {
        Layout { partitions: self.partitions, replicas: self.replicas }
    }
}

/// A connection of a client: it sends requests and hears events, and needs neither JetStream nor any stream.
#[derive(Clone)]
pub struct NatsClient {
    connection: Connection,
    events: Events,
}

impl NatsClient {
    /// Waits for a server, and looks at it.
    ///
    /// # Errors
    /// When there is no server until the deadline, or one that will not do; see [`ConnectError`].
    pub async fn connect(config: NatsConfig) -> Result<Self, ConnectError> {
        let connection = Connection::reach(&config).await?;
        Ok(Self { events: Events::new(&connection), connection })
    }

    /// Events of runs.
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// The connection itself.
    pub fn client(&self) -> async_nats::Client {
        self.connection.client.clone()
    }

    /// Returns once the server has not allowed something, in its words. Safe to cancel.
    pub async fn denied(&self) -> String {
        self.connection.denied().await
    }

    /// Streams and consumers as they are; an operator's question, for it needs permissions for JetStream.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn status(&self) -> Result<Status, Error> {
        status::look(&self.connection).await
    }

    /// The jobs that wait, by server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        backlog::look(&self.connection).await
    }

    /// Closes the connection.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}

/// A connection to NATS, with everything in place.
///
/// What runs in the background goes on until [`Nats::close`], or with the runtime.
#[derive(Clone)]
pub struct Nats {
    connection: Connection,
    log: Arc<log::Log>,
    jobs: Arc<jobs::Jobs>,
    blobs: Arc<blobs::Blobs>,
    workflows: Arc<workflows::Workflows>,
    submissions: Arc<submissions::Submissions>,
    dead_letters: Arc<dead_letters::DeadLetters>,
    events: Events,
    restored: watch::Sender<u64>,
}

impl Nats {
    /// Waits for a server, looks at it, and creates or verifies the streams.
    ///
    /// # Errors
    /// When there is no server until the deadline, or one that will not do; see [`ConnectError`].
    pub async fn connect(config: NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + config.connect_deadline;
        let layout = config.layout();
        let connection = Connection::make(&config).await?;
        let made = MadeStreams::default();
        let ensured = streams::ensure(&connection.context, layout, deadline, &made);
        Box::pin(connection.unless_denied(ensured)).await?;
        let batch = config.batch;
        let nats = connection.unless_denied(Self::open(connection.clone(), layout, batch)).await?;
        match nats.batch_status().used {
            Some(used) => info!(used, "`nats.batch` decides whether large groups of jobs go to NATS as atomic batches"),
            None => info!(
                "the first large groups of jobs are measured to decide whether they go to NATS as atomic batches (`nats.batch`)"
            ),
        }
        connection.spawn(streams::restore(connection.clone(), layout, nats.restored.clone()));
        Ok(nats)
    }

    /// The same for a worker, which needs no permission to create streams: waits until a scheduler has created them, and
    /// verifies them.
    ///
    /// # Errors
    /// As for [`Nats::connect`], and when a stream is not there until the deadline.
    pub async fn join(config: NatsConfig) -> Result<Self, ConnectError> {
        let connection = Connection::make(&config).await?;
        connection.unless_denied(streams::verify(&connection.context, &config)).await?;
        connection.unless_denied(Self::open(connection.clone(), config.layout(), config.batch)).await
    }

    async fn open(connection: Connection, layout: Layout, batch: BatchSetting) -> Result<Self, ConnectError> {
        Ok(Self {
            log: Arc::new(log::Log::new(&connection, layout)),
            jobs: Arc::new(jobs::Jobs::open(&connection, batch).await?),
            blobs: Arc::new(blobs::Blobs::new(&connection)),
            workflows: Arc::new(workflows::Workflows::new(&connection)),
            submissions: Arc::new(submissions::Submissions::new(&connection)),
            dead_letters: Arc::new(dead_letters::DeadLetters::new(&connection)),
            events: Events::new(&connection),
            restored: watch::Sender::default(),
            connection,
        })
    }

    /// The log.
    pub fn log(&self) -> Arc<dyn RunLog> {
        Arc::clone(&self.log) as _
    }

    /// The queue.
    pub fn jobs(&self) -> Arc<dyn JobQueue> {
        Arc::clone(&self.jobs) as _
    }

    /// Large values.
    pub fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::clone(&self.blobs) as _
    }

    /// The registry.
    pub fn workflows(&self) -> Arc<dyn Workflows> {
        Arc::clone(&self.workflows) as _
    }

    /// Submits that were published.
    pub fn submissions(&self) -> Arc<dyn Submissions> {
        Arc::clone(&self.submissions) as _
    }

    /// What was refused.
    pub fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        Arc::clone(&self.dead_letters) as _
    }

    /// What happens to runs.
    pub fn events(&self) -> Events {
        self.events.clone()
    }

    /// The number of streams that were missing while this process ran, and that it made again without what was in them.
    pub fn streams_restored(&self) -> watch::Receiver<u64> {
        self.restored.subscribe()
    }

    /// The connection itself, for a micro service.
    pub fn client(&self) -> async_nats::Client {
        self.connection.client.clone()
    }

    /// Whether there is a connection at this moment, to a server that will do: one that came back may be an older one.
    ///
    /// # Errors
    /// When there is none, or the server is too old.
    pub fn check(&self) -> Result<(), Unfit> {
        self.connection.check()
    }

    /// Returns the use of atomic batches by this process.
    pub fn batch_status(&self) -> BatchStatus {
        self.jobs.batch_status()
    }

    /// Streams and consumers as they are.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn status(&self) -> Result<Status, Error> {
        status::look(&self.connection).await
    }

    /// How much waits in the queues: cheap enough to be asked for all the time.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn queues(&self) -> Result<Vec<QueueStatus>, Error> {
        status::queues(&self.connection).await
    }

    /// What the account stores, and may store.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn account(&self) -> Result<AccountStatus, Error> {
        status::account(&self.connection).await
    }

    /// Returns how full all logs are together, in per cent of what the other streams leave them: the number by which submits
    /// are admitted, unless a log has a `max_bytes` of its own that is fuller. Zero without a limit of the account.
    ///
    /// # Errors
    /// When the server does not answer, or the user may not look at the streams of submits and dead letters.
    pub async fn fullness_of_logs(&self) -> Result<u64, Error> {
        self.log.fullness_of_all().await
    }

    /// One stream, without its consumers.
    ///
    /// # Errors
    /// When there is no such stream, or it does not answer.
    pub async fn stream(&self, name: &str) -> Result<StreamStatus, Error> {
        status::one_stream(&self.connection, name).await
    }

    /// The jobs that wait, by server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        backlog::look(&self.connection).await
    }

    /// Waits until the server has everything that was sent.
    ///
    /// # Errors
    /// When it does not answer within ten seconds.
    pub async fn flush(&self) -> Result<(), Error> {
        self.connection.round_trip("flush").await
    }

    /// Ends what runs in the background, gives back what was delivered and not taken, and closes the connection.
    pub async fn close(&self) {
        self.connection.close().await;
    }
}
