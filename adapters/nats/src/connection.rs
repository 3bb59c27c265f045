//! One connection to NATS, shared by everything in a process.
//!
//! It is made once, patiently; after that the client reconnects by itself for ever, and whoever holds state on the
//! server (a consumer, a pull) watches [`Connection::connected`] to set it up again.

use std::error::Error as StdError;
use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::{ContextBuilder, RequestErrorKind};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use bytes::Bytes;
use futures::StreamExt;
use longshore_ports::Error;
use longshore_tls::is_about_certificates;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use super::NatsConfig;
use super::address::{address, shown, without_credentials};
use super::api::{ApiError, Nothing, ask};
use super::error::{ConnectError, Unfit};
use super::failure::failed;
use super::nkey::read_seed;
use super::plaintext::{exposed, with_tls};
use super::version::check_version;

/// How long the server may take to answer a request or to acknowledge a publish. A leader election of JetStream takes about four seconds.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one try to connect may take.
const TRY: Duration = Duration::from_secs(2);

/// How long to wait between tries while there is no server.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// The longest pause between two tries to get the connection back: a restarted server is found within it.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often the server is asked whether it is still there; two silent pings end the connection.
const PING: Duration = Duration::from_secs(10);

/// How long [`Connection::close`] waits for what runs in the background: a word to the server for each message it holds.
const CLOSING: Duration = Duration::from_secs(5);

/// A connection, and what runs on it in the background until it is told to stop. Clones are the same one, and cheap:
/// every message in somebody's hands has one, to be answered over.
#[derive(Clone)]
pub(super) struct Connection(Arc<Parts>);

/// What a connection is made of.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) context: Context,
    /// Counts how often the connection was made.
    connected: watch::Receiver<u64>,
    /// The last thing that the server did not allow, in its words.
    denied: watch::Receiver<Option<String>>,
    /// What runs in the background; it ends with `stop`.
    pub(super) tasks: TaskTracker,
    /// Where the servers are, without passwords.
    urls: String,
    pub(super) stop: CancellationToken,
}

impl Deref for Connection {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Connection {
    /// Waits for a server with JetStream until the deadline, and refuses one that will not do.
    pub(super) async fn make(config: &NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + config.connect_deadline;
        let connection = Self::reach(config).await?;
        let urls = connection.urls.as_str();
        let checked = check_jetstream(&connection.context, urls, deadline);
        connection.unless_denied(checked).await?;
        Ok(connection)
    }

    /// The same for a client, whose account may have no JetStream.
    pub(super) async fn reach(config: &NatsConfig) -> Result<Self, ConnectError> {
        let deadline = Instant::now() + config.connect_deadline;
        config.tls.read()?;
        let servers = config.urls.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>()?;
        let urls = shown(&servers);
        let (counter, connected) = watch::channel(0);
        let (deny, denied) = watch::channel(None);
        let notices = Notices { counter, deny };
        let client = reach(config, &urls, &servers, &notices, deadline).await?;
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
        let connection =
            Self(Arc::new(Parts { client, context, connected, denied, urls, tasks, stop }));
        connection.spawn(connection.clone().look_again());
        Ok(connection)
    }

    /// Looks at every server that the connection is made to later: it may be an older one.
    async fn look_again(self) {
        let mut connected = self.connected();
        while connected.changed().await.is_ok() {
            // By the time it answers, the client knows what it says of itself.
            let answer = self.round_trip("look at the server again").await;
            match (answer, self.check()) {
                (_, Err(error @ Unfit::Server(_))) => {
                    error!(%error, "this server of NATS will not do; not ready until it is upgraded")
                }
                (Err(error), Ok(())) => warn!(%error, "NATS is back and does not answer yet"),
                _ => {}
            }
        }
    }

    /// Whether there is a connection at this moment, to a server that will do.
    pub(super) fn check(&self) -> Result<(), Unfit> {
        match self.client.connection_state() {
            State::Connected => Ok(check_version(&self.client.server_info().version)?),
            State::Pending | State::Disconnected => Err(Unfit::Lost),
        }
    }

    /// Waits until the server has taken in everything that was sent before: it works through a connection in order,
    /// and the client's own flush only writes. A message to an own inbox needs no permission that a client does not have.
    pub(super) async fn round_trip(&self, doing: &str) -> Result<(), Error> {
        let inbox = self.client.new_inbox();
        let heard = self.client.subscribe(inbox.clone()).await;
        let mut heard = heard.map_err(|error| failed(doing, error))?;
        let sent = self.client.publish(inbox, Bytes::new()).await;
        sent.map_err(|error| failed(doing, error))?;
        match timeout(ANSWER_TIMEOUT, heard.next()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::transient(doing, "the connection was closed")),
            Err(_) => Err(Error::transient(doing, format!("no answer within {ANSWER_TIMEOUT:?}"))),
        }
    }

    /// Does something at the start; as soon as the server does not allow a part of it, that is the error. The server only
    /// says so beside the connection, and whoever asked would wait for an answer.
    pub(super) async fn unless_denied<T>(
        &self,
        doing: impl Future<Output = Result<T, ConnectError>>,
    ) -> Result<T, ConnectError> {
        tokio::select! { biased;
            cause = self.denied() => Err(ConnectError::Denied { urls: self.urls.clone(), cause }),
            done = doing => done,
        }
    }

    /// Returns once the server has not allowed something, in its words. Safe to cancel.
    pub(super) async fn denied(&self) -> String {
        let mut denied = self.denied.clone();
        let cause = denied.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone());
        match cause {
            Some(cause) => cause,
            None => std::future::pending().await, // the connection is gone
        }
    }

    /// Returns the last thing that the server has not allowed, in its words.
    pub(super) fn last_denied(&self) -> Option<String> {
        self.denied.borrow().clone()
    }

    /// Ends what runs in the background, lets what was sent last leave, and closes the connection.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        // Whatever cannot be said in time, the server finds out by itself.
        let _ = timeout(CLOSING, self.tasks.wait()).await;
        let _ = timeout(CLOSING, self.client.flush()).await;
        let _ = timeout(CLOSING, self.client.drain()).await;
    }

    /// Runs something until it ends or the connection is closed.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(task));
    }

    /// Changes whenever the connection was lost and made again: what lived on the server with it may be gone.
    pub(super) fn connected(&self) -> watch::Receiver<u64> {
        let mut connected = self.connected.clone();
        connected.mark_unchanged();
        connected
    }
}

async fn reach(
    config: &NatsConfig,
    urls: &str,
    servers: &[ServerAddr],
    notices: &Notices,
    deadline: Instant,
) -> Result<Client, ConnectError> {
    loop {
        let options = options(config, servers, notices.clone()).await?;
        let error = match options.connect(without_credentials(servers)?).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let cause = chain(&error);
        match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                return Err(ConnectError::Refused { urls: urls.to_owned(), cause });
            }
            ConnectErrorKind::Tls => return Err(ConnectError::Tls { urls: urls.to_owned(), cause }),
            _ if is_about_certificates(&cause) => {
                return Err(ConnectError::Tls { urls: urls.to_owned(), cause });
            }
            _ if Instant::now() + BETWEEN_TRIES >= deadline => {
                let waited = config.connect_deadline;
                return Err(ConnectError::Unreachable { urls: urls.to_owned(), waited, cause });
            }
            _ => debug!(%urls, %cause, "waiting for NATS"),
        }
        sleep(BETWEEN_TRIES).await;
    }
}

async fn options(
    config: &NatsConfig,
    servers: &[ServerAddr],
    notices: Notices,
) -> Result<ConnectOptions, ConnectError> {
    let options = ConnectOptions::new()
        .name(&config.name)
        .connection_timeout(TRY)
        .ping_interval(PING)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .reconnect_delay_callback(pause)
        .event_callback(move |event| {
            notices.notice(&event);
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
        return options.credentials_file(path).await.map_err(|error| unusable(path, &error));
    }
    // The client library leaves it to us to look at what stands before the host.
    let Some(server) = servers.iter().find(|server| server.has_user_pass()) else { return Ok(options) };
    let user = server.username().unwrap_or_default().to_owned();
    Ok(match server.password() {
        Some(password) => options.user_and_password(user, password.to_owned()),
        None => options.token(user),
    })
}

fn unusable(path: &Path, error: &std::io::Error) -> ConnectError {
    ConnectError::Credentials { path: path.to_owned(), cause: error.to_string() }
}

/// At once at first, then ever slower, up to [`LONGEST_PAUSE`].
fn pause(tries: usize) -> Duration {
    let doublings = u32::try_from(tries).unwrap_or(u32::MAX).min(10);
    Duration::from_millis(2_u64.pow(doublings)).min(LONGEST_PAUSE)
}

/// Where events of the connection are noted.
#[derive(Clone)]
struct Notices {
    /// Counts how often the connection was made.
    counter: watch::Sender<u64>,
    /// What the server did not allow.
    deny: watch::Sender<Option<String>>,
}

impl Notices {
    fn notice(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.counter.send_modify(|count| *count += 1);
                info!("connected to NATS");
            }
            Event::Disconnected => warn!("lost the connection to NATS; trying to get it back"),
            Event::SlowConsumer(subscription) => {
                warn!(subscription, "messages from NATS came faster than they were taken; some were dropped");
            }
            Event::ServerError(ServerError::Other(cause)) if is_denial(cause) => {
                warn!(cause, "NATS does not allow this process something; give its user that permission");
                self.deny.send_replace(Some(cause.clone()));
            }
            event => info!(%event, "NATS"),
        }
    }
}

/// Whether the server's words say that a permission is missing: `Permissions Violation for Publish to "..."`.
fn is_denial(cause: &str) -> bool {
    cause.to_ascii_lowercase().contains("permissions violation")
}

async fn check_jetstream(context: &Context, urls: &str, deadline: Instant) -> Result<(), ConnectError> {
    loop {
        let asked = timeout_at(deadline, ask::<Account>(context, "INFO".to_owned(), &Nothing {})).await;
        let error = match asked {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            Err(elapsed) => {
                return Err(
                    Error::transient(format!("ask JetStream at {urls} for its limits"), elapsed).into()
                );
            }
        };
        if is_disabled(&error, context.client().server_info().jetstream) {
            return Err(ConnectError::NoJetStream { urls: urls.to_owned(), cause: chain(&error) });
        }
        if Instant::now() + BETWEEN_TRIES >= deadline {
            return Err(failed(format!("ask JetStream at {urls} for its limits"), error).into());
        }
        sleep(BETWEEN_TRIES).await;
    }
}

/// Nobody answers where there is no JetStream; the server at hand may leave it to others of its cluster.
fn is_disabled(error: &ApiError, here: bool) -> bool {
    let codes = [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
    match error {
        ApiError::Said(word) => codes.contains(&word.error_code()),
        ApiError::NoAnswer(error) => error.kind() == RequestErrorKind::NoResponders && !here,
    }
}

/// An error with its causes, where its own text leaves them out.
fn chain(error: &(dyn StdError + 'static)) -> String {
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
    fn pauses_between_tries_are_bounded() {
        assert!(pause(0) < Duration::from_millis(5));
        assert_eq!(pause(usize::MAX), LONGEST_PAUSE);
    }
}
