//! The connection to NATS that all parts of a process share.
//!
//! [`Connection::connect`] waits for a server until a deadline. After that the client library reconnects for ever.
//! Tasks that have state on the server, such as a consumer or a pull, watch [`Connection::connected`] to set it up
//! again.

use std::error::Error as StdError;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::{ContextBuilder, RequestErrorKind};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use bytes::Bytes;
use futures::StreamExt;
use longshore_ports::retry::{RetryPauses, retry_until};
use longshore_ports::{Error, outage};
use longshore_tls::is_about_certificates;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::address::{address, shown, without_credentials};
use super::api::{ApiError, EmptyRequest, request};
use super::config::NatsConfig;
use super::denials;
use super::error::{ConnectError, UnusableConnection};
use super::failure::failed;
use super::nkey::read_seed;
use super::plaintext::{exposed, with_tls};
use super::subscriptions::DeniedSubscriptions;
use super::version::check_version;

/// Time limit for an answer to a request and for the acknowledgement of a publish. A leader election of JetStream takes
/// about four seconds.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for one attempt to connect.
const CONNECT_ATTEMPT: Duration = Duration::from_secs(2);

/// Pauses between attempts to reconnect. A restarted server is found within the longest one.
const RECONNECT: RetryPauses =
    RetryPauses { first: Duration::from_millis(1), longest: Duration::from_millis(500) };

/// Pauses between attempts to reconnect while the server refuses the user: each attempt is a line in its log.
const RECONNECT_REFUSED: RetryPauses =
    RetryPauses { first: Duration::from_millis(500), longest: Duration::from_secs(5) };

/// Keys of the outage log.
const RECONNECTING: &str = "connect to NATS again";
const LOG_IN: &str = "log in to NATS";

/// Interval of pings to the server. Two without an answer end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);

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
        let (counter, connected) = watch::channel(0);
        let (deny, denied) = watch::channel(None);
        let (fail, failure) = watch::channel(None);
        let denied_subscriptions = DeniedSubscriptions::default();
        let events =
            ConnectionEvents { counter, deny, fail, denied_subscriptions: denied_subscriptions.clone() };
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
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let inner = ConnectionInner {
            client,
            context,
            connected,
            denied,
            failure,
            denied_subscriptions,
            urls,
            tasks,
            stop,
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

async fn connect_until(
    config: &NatsConfig,
    urls: &str,
    servers: &[ServerAddr],
    events: &ConnectionEvents,
    deadline: Instant,
) -> Result<Client, ConnectError> {
    let unreachable = |cause: String| ConnectError::Unreachable {
        urls: urls.to_owned(),
        waited: config.connect_deadline,
        cause,
    };
    let attempt = || async {
        let options = connect_options(config, servers, events.clone()).await?;
        let error = match options.connect(without_credentials(servers)?).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let cause = with_causes(&error);
        Err(match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                ConnectError::Refused { urls: urls.to_owned(), cause }
            }
            ConnectErrorKind::Tls => ConnectError::Tls { urls: urls.to_owned(), cause },
            _ if is_about_certificates(&cause) => ConnectError::Tls { urls: urls.to_owned(), cause },
            _ => unreachable(cause),
        })
    };
    let is_transient = |error: &ConnectError| matches!(error, ConnectError::Unreachable { .. });
    let connected = retry_until("connect to NATS", deadline, attempt, is_transient).await;
    connected.map_err(|error| error.unwrap_or_else(|| unreachable("no answer".to_owned())))
}

async fn connect_options(
    config: &NatsConfig,
    servers: &[ServerAddr],
    events: ConnectionEvents,
) -> Result<ConnectOptions, ConnectError> {
    let refusals = events.fail.subscribe();
    let options = ConnectOptions::new()
        .name(&config.name)
        .connection_timeout(CONNECT_ATTEMPT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .reconnect_delay_callback(move |attempts| {
            let is_refused = refusals.borrow().as_deref().is_some_and(is_refusal);
            let pauses = if is_refused { RECONNECT_REFUSED } else { RECONNECT };
            pauses.after(u32::try_from(attempts).unwrap_or(u32::MAX))
        })
        .event_callback(move |event| {
            events.record(&event);
            async {}
        });
    let options = match &config.inbox_prefix {
        Some(prefix) => options.custom_inbox_prefix(prefix),
        None => options,
    };
    let options = with_tls(options, &config.tls);
    if let Some(path) = &config.nkey {
        return Ok(options.nkey(read_seed(path)?));
    }
    if let Some(path) = &config.credentials {
        return options.credentials_file(path).await.map_err(|error| unusable_credentials(path, &error));
    }
    // The client library does not read the user information of an address.
    let Some(server) = servers.iter().find(|server| server.has_user_pass()) else { return Ok(options) };
    let user = server.username().unwrap_or_default().to_owned();
    Ok(match server.password() {
        Some(password) => options.user_and_password(user, password.to_owned()),
        None => options.token(user),
    })
}

fn unusable_credentials(path: &Path, error: &std::io::Error) -> ConnectError {
    ConnectError::Credentials { path: path.to_owned(), cause: error.to_string() }
}

/// Records the events of a connection.
#[derive(Clone)]
struct ConnectionEvents {
    /// Number of times that the connection was made.
    counter: watch::Sender<u64>,
    /// The last permission that the server denied.
    deny: watch::Sender<Option<String>>,
    denied_subscriptions: DeniedSubscriptions,
    /// The reason why the last attempt to connect failed.
    fail: watch::Sender<Option<String>>,
}

impl ConnectionEvents {
    fn record(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.denied_subscriptions.clear();
                self.counter.send_modify(|count| *count += 1);
                self.fail.send_replace(None);
                [RECONNECTING, LOG_IN].iter().for_each(|key| _ = outage::record_success(key));
                info!("connected to NATS");
            }
            Event::ClientError(ClientError::Other(cause)) => {
                self.fail.send_replace(Some(cause.clone()));
                // The start of a process reports its failures itself.
                if *self.counter.borrow() > 0 {
                    log_failed_reconnect(cause);
                }
            }
            Event::Disconnected => warn!("lost the connection to NATS; reconnecting"),
            Event::SlowConsumer(subscription) => {
                warn!(subscription, "messages from NATS came faster than they were read; some were dropped");
            }
            Event::ServerError(ServerError::Other(cause)) if is_denial(cause) => {
                let permission = denials::record(cause).or_else(|| self.denied_subscriptions.record(cause));
                // The messages of a group are denied one by one.
                if permission.is_none_or(|permission| outage::record_failure(&format!("denied {permission}")))
                {
                    warn!(
                        cause,
                        "NATS denies this process a permission; give it to the user of this process"
                    );
                }
                self.deny.send_replace(Some(cause.clone()));
            }
            event => info!(%event, "NATS"),
        }
    }
}

/// Logs an attempt to reconnect that failed: when attempts begin to fail for this kind of cause, and once a minute.
fn log_failed_reconnect(cause: &str) {
    if is_refusal(cause) {
        if outage::record_failure(LOG_IN) {
            warn!(
                cause,
                "NATS refuses the user of this process, or its password; trying again until it accepts it"
            );
        }
    } else if outage::record_failure(RECONNECTING) {
        warn!(cause, "cannot connect to NATS; trying again until it works");
    }
}

/// Returns true if the reason of a failed attempt to connect is that the server refuses the user: `authorization violation`.
fn is_refusal(cause: &str) -> bool {
    let cause = cause.to_ascii_lowercase();
    ["authorization violation", "authentication"].iter().any(|words| cause.contains(words))
        && !is_about_certificates(&cause)
}

/// Returns true if an error of the server says that a permission is missing: `Permissions Violation for Publish to
/// "..."`.
fn is_denial(cause: &str) -> bool {
    cause.to_ascii_lowercase().contains("permissions violation")
}

async fn check_jetstream(context: &Context, urls: &str, deadline: Instant) -> Result<(), ConnectError> {
    let doing = format!("ask JetStream at {urls} for its limits");
    let attempt = || request::<Account>(context, "INFO".to_owned(), &EmptyRequest {});
    let is_disabled =
        |error: &ApiError| is_jetstream_disabled(error, context.client().server_info().jetstream);
    match retry_until(&doing, deadline, attempt, |error| !is_disabled(error)).await {
        Ok(_) => Ok(()),
        Err(Some(error)) if is_disabled(&error) => {
            Err(ConnectError::NoJetStream { urls: urls.to_owned(), cause: with_causes(&error) })
        }
        Err(Some(error)) => Err(failed(doing, error).into()),
        Err(None) => Err(Error::transient(doing, "no answer before the deadline").into()),
    }
}

/// Returns true if an error means that JetStream is disabled, and not only away. Without JetStream no server answers;
/// `is_here` says that the connected server has it, since it may leave JetStream to other servers of its cluster.
fn is_jetstream_disabled(error: &ApiError, is_here: bool) -> bool {
    let codes = [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
    match error {
        ApiError::Refused(error) => codes.contains(&error.error_code()),
        ApiError::Denied(_) => false,
        ApiError::NoAnswer(error) => error.kind() == RequestErrorKind::NoResponders && !is_here,
    }
}

/// Returns the text of an error, followed by those of its causes that it does not contain.
fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_reconnects_are_bounded() {
        assert!(RECONNECT.after(0) < Duration::from_millis(5));
        assert_eq!(RECONNECT.after(u32::MAX), RECONNECT.longest);
    }
}
