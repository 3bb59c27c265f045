//! The connection to NATS that all parts of a process share.
//!
//! [`Connection::connect`] waits for a server until a deadline. After that the client library reconnects for ever.
//! Tasks that have state on the server, such as a consumer or a pull, watch [`Connection::connected`] to set it up
//! again.

mod connect;
mod events;
mod jetstream;

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use async_nats::connection::State;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use bytes::Bytes;
use futures::StreamExt;
use longshore_ports::Error;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

pub(super) use self::connect::ANSWER_TIMEOUT;
use self::connect::connect_until;
use self::events::{ConnectionEvents, is_refusal};
use self::jetstream::check_jetstream;
use super::address::{address, shown};
use super::config::NatsConfig;
use super::denied_subscriptions::DeniedSubscriptions;
use super::error::{ConnectError, UnusableConnection};
use super::failure::failed;
use super::plaintext::exposed;
use super::version::check_version;

/// Time limit of each part of [`Connection::close`]: background tasks send the server one answer for each message that
/// they hold.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A connection and its background tasks. Clones share it and are cheap: every delivered message has one, over which it
/// is acknowledged.
#[derive(Clone)]
pub(super) struct Connection(Arc<ConnectionInner>);

/// The shared part of a [`Connection`].
pub(super) struct ConnectionInner {
    pub(super) client: Client,
    pub(super) context: Context,
    /// Number of times that the connection was made.
    connected: watch::Receiver<u64>,
    /// The last permission that the server denied, in its words.
    denied: watch::Receiver<Option<String>>,
    /// Subscriptions that the server refused or dropped.
    pub(super) denied_subscriptions: DeniedSubscriptions,
    /// The reason why the last attempt to connect failed. `None` while there is a connection.
    failure: watch::Receiver<Option<String>>,
    /// Background tasks. They end with `stop`.
    pub(super) tasks: TaskTracker,
    /// Addresses of the servers, without passwords.
    urls: String,
    pub(super) stop: CancellationToken,
}

impl Deref for Connection {
    type Target = ConnectionInner;

    fn deref(&self) -> &ConnectionInner {
        &self.0
    }
}

impl Connection {
    /// Waits for a server with JetStream until the deadline. Refuses a server that cannot be used.
    pub(super) async fn connect(config: &NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + config.connect_deadline;
        let connection = Self::connect_client(config).await?;
        let urls = connection.urls.as_str();
        let checked = check_jetstream(&connection.context, urls, deadline);
        connection.unless_denied(checked).await?;
        Ok(connection)
    }

    /// Waits for a server on behalf of a client, whose account may have no JetStream.
    pub(super) async fn connect_client(config: &NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + config.connect_deadline;
        config.tls.read()?;
        let servers = config.urls.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>()?;
        let urls = shown(&servers);
        let events = ConnectionEvents::default();
        let client = connect_until(config, &urls, &servers, &events, deadline).await?;
        let is_tls = config.tls.is_set() || client.server_info().tls_required;
        if let Some(server) = exposed(&servers, is_tls) {
            let host = server.host();
            warn!(
                "password or token went to NATS at {host} in plain text; use tls:// and `nats.ca`, or an nkey"
            );
        }
        check_version(&client.server_info().version)?;
        let context =
            ContextBuilder::new().timeout(ANSWER_TIMEOUT).ack_timeout(ANSWER_TIMEOUT).build(client.clone());
        let inner = ConnectionInner {
            client,
            context,
            connected: events.connected.subscribe(),
            denied: events.denied.subscribe(),
            failure: events.failure.subscribe(),
            denied_subscriptions: events.denied_subscriptions,
            urls,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let connection = Self(Arc::new(inner));
        connection.spawn(connection.clone().check_reconnects());
        Ok(connection)
    }

    /// Checks the server after each reconnect, which may be an older one.
    async fn check_reconnects(self) {
        let mut connected = self.connected();
        while connected.changed().await.is_ok() {
            // The client library knows the version of the server by the time of this answer.
            let answer = self.round_trip("check the server").await;
            match (answer, self.check()) {
                (_, Err(error @ UnusableConnection::Server(_))) => {
                    error!(%error, "cannot use this NATS server; not ready until it is upgraded")
                }
                (Err(error), Ok(())) => {
                    warn!(%error, "NATS is connected again and does not answer yet; requests wait for it")
                }
                _ => {}
            }
        }
    }

    /// Fails if there is no connection at this moment, or if it leads to a server that cannot be used.
    pub(super) fn check(&self) -> Result<(), UnusableConnection> {
        match self.client.connection_state() {
            State::Connected => Ok(check_version(&self.client.server_info().version)?),
            State::Pending | State::Disconnected => Err(match self.failure.borrow().clone() {
                Some(cause) if is_refusal(&cause) => UnusableConnection::Refused { cause },
                Some(cause) => UnusableConnection::Unreachable { cause },
                None => UnusableConnection::Lost,
            }),
        }
    }

    /// Waits until the server has processed everything that was sent before: it processes a connection in order, and
    /// the client library's own flush only writes. A message to an inbox of the client needs no permission that a
    /// client does not have.
    pub(super) async fn round_trip(&self, doing: &str) -> Result<(), Error> {
        let inbox = self.client.new_inbox();
        let subscribed = self.client.subscribe(inbox.clone()).await;
        let mut messages = subscribed.map_err(|error| failed(doing, error))?;
        let sent = self.client.publish(inbox, Bytes::new()).await;
        sent.map_err(|error| failed(doing, error))?;
        match timeout(ANSWER_TIMEOUT, messages.next()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::transient(doing, "the connection was closed")),
            Err(_) => Err(Error::transient(doing, format!("no answer within {ANSWER_TIMEOUT:?}"))),
        }
    }

    /// Runs a step of the start, and fails as soon as the server denies a permission. The server reports a denial
    /// beside the request, which would otherwise wait for an answer until its deadline.
    pub(super) async fn unless_denied<T>(
        &self,
        step: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        tokio::select! { biased;
            cause = self.denied() => Err(ConnectError::Denied { urls: self.urls.clone(), cause }),
            done = step => done,
        }
    }

    /// Waits until the server denies a permission, and returns its words. Safe to cancel.
    pub(super) async fn denied(&self) -> String {
        let mut denied = self.denied.clone();
        let cause = denied.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone());
        match cause {
            Some(cause) => cause,
            None => std::future::pending().await, // the connection is closed
        }
    }

    /// Ends the background tasks, flushes the messages that were sent last, and closes the connection.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        // The server notices by itself what is not sent in time.
        let _ = timeout(CLOSE_LIMIT, self.tasks.wait()).await;
        let _ = timeout(CLOSE_LIMIT, self.client.flush()).await;
        let _ = timeout(CLOSE_LIMIT, self.client.drain()).await;
    }

    /// Runs a task until it ends or the connection is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    /// Returns a receiver that changes after each reconnect. State on the server that belonged to the old connection
    /// may be gone by then.
    pub(super) fn connected(&self) -> watch::Receiver<u64> {
        let mut connected = self.connected.clone();
        connected.mark_unchanged();
        connected
    }
}
