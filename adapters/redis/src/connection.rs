//! The connection to Redis that all parts of a process share, and the classification of its errors.
//!
//! Requests are pipelined: none waits for the answer to another. A missing answer after [`ANSWER_LIMIT`] is an error,
//! and after any error the request may or may not have been executed.
//!
//! The client library connects again after a lost connection. It gives up if the server refuses the new one, as with a
//! password that was changed or too many clients, and then fails every request. [`RedisConnection`] replaces such a
//! connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::{Error, outage};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation, ServerErrorKind,
    Value,
};
use tokio::time::Instant;
use tracing::{info, warn};

/// Time limit for an answer. A script of Longshore takes milliseconds. The longest pause of the server itself is a
/// flush to a slow disk, about a second.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Time limit for one attempt to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Attempts to reconnect, beyond the first, before a request fails. More would only hide the outage from the drivers,
/// which repeat requests by their own rules.
const RECONNECT_RETRIES: usize = 1;

/// Codes of transient errors: full memory, a full disk, a script that runs too long, too few replicas.
const TRANSIENT: [&str; 5] = ["OOM", "MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE"];

/// Pause between two replacements of a connection that the server refuses.
const REPLACE_PAUSE: Duration = Duration::from_secs(1);

/// Key of the outage log.
const LOG_IN: &str = "log in to Redis";

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) struct RedisConnection {
    client: Client,
    manager: Arc<Mutex<SharedManager>>,
    prefix: Arc<str>,
    /// Address of the server, without user and password.
    address: Arc<str>,
}

/// The connection of the client library.
struct SharedManager {
    manager: ConnectionManager,
    /// Time of the last check for a refused connection.
    checked_at: Option<Instant>,
    /// True while the server refuses the connection.
    is_refused: bool,
}

impl fmt::Debug for RedisConnection {
    /// Leaves out the description of the connection, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client: _, manager: _, prefix, address } = self;
        f.debug_struct("RedisConnection")
            .field("prefix", prefix)
            .field("address", address)
            .finish_non_exhaustive()
    }
}

impl RedisConnection {
    pub(super) async fn open(client: Client, address: &str, prefix: &str) -> Result<Self, RedisError> {
        let manager = ConnectionManager::new_with_config(client.clone(), manager_config()).await?;
        let shared = SharedManager { manager, checked_at: None, is_refused: false };
        let manager = Arc::new(Mutex::new(shared));
        Ok(Self { client, manager, prefix: prefix.into(), address: address.into() })
    }

    /// Returns the beginning of all keys.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the address of the server, without user and password.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a command. The error says what failed.
    pub(super) async fn query<T: FromRedisValue>(&self, command: Cmd, doing: &str) -> Result<T, Error> {
        self.send(command).await.map_err(|error| self.failure(error, doing))
    }

    /// Sends a command, for callers that classify the error.
    pub(super) async fn send<T: FromRedisValue>(&self, command: Cmd) -> Result<T, RedisError> {
        let answer = command.query_async(&mut self.manager()).await;
        self.checked(answer).await
    }

    /// Sends several commands in one write.
    pub(super) async fn query_pipeline<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        doing: &str,
    ) -> Result<T, Error> {
        let answers = commands.query_async(&mut self.manager()).await;
        self.checked(answers).await.map_err(|error| self.failure(error, doing))
    }

    /// Runs a script. Loads it first if the server does not have it.
    pub(super) async fn run_script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        doing: &str,
    ) -> Result<T, Error> {
        let answer = script.invoke_async(&mut self.manager()).await;
        self.checked(answer).await.map_err(|error| self.failure(error, doing))
    }

    fn manager(&self) -> ConnectionManager {
        self.shared().manager.clone()
    }

    fn shared(&self) -> MutexGuard<'_, SharedManager> {
        // The lock is never poisoned with a half-made change.
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the result of a request, and replaces the connection if the server refuses it.
    async fn checked<T>(&self, result: Result<T, RedisError>) -> Result<T, RedisError> {
        match &result {
            Ok(_) => self.note_accepted(),
            Err(error) if may_be_refusal(error) => self.replace_refused().await,
            Err(_) => {}
        }
        result
    }

    /// Replaces the connection if it fails every request, at most once in [`REPLACE_PAUSE`].
    async fn replace_refused(&self) {
        let manager = {
            let mut shared = self.shared();
            if shared.checked_at.is_some_and(|at| at.elapsed() < REPLACE_PAUSE) {
                return;
            }
            shared.checked_at = Some(Instant::now());
            shared.manager.clone()
        };
        // Without a connection this request fails like all others, and otherwise the server answers it.
        let answer: Result<Value, RedisError> = redis::cmd("PING").query_async(&mut manager.clone()).await;
        let Err(error) = answer.as_ref().map_err(|error| error.clone()) else { return };
        if !may_be_refusal(&error) {
            return;
        }
        // It connects with the next request.
        let Ok(manager) = ConnectionManager::new_lazy_with_config(self.client.clone(), manager_config())
        else {
            return;
        };
        let mut shared = self.shared();
        (shared.manager, shared.is_refused) = (manager, true);
        drop(shared);
        if outage::record_failure(LOG_IN) {
            warn!(address = %self.address, %error, "Redis refuses the connection of this process; trying again until it accepts it");
        }
    }

    /// Notes that the server answers.
    fn note_accepted(&self) {
        if std::mem::take(&mut self.shared().is_refused)
            && let Some(lasted) = outage::record_success(LOG_IN)
        {
            info!(address = %self.address, ?lasted, "Redis accepts the connection of this process again");
        }
    }

    /// Turns an error of Redis into an error of a port.
    fn failure(&self, error: RedisError, doing: &str) -> Error {
        let doing = format!("{doing} in Redis at {}", self.address);
        let cause = crate::cause::cause(&error);
        let failure = if is_login_refused(&error) {
            Error::transient(doing, format!("Redis refuses user or password of this process ({error})"))
        } else if is_transient(&error) {
            Error::transient(doing, error)
        } else {
            Error::permanent(doing, error)
        };
        match cause {
            Some(cause) => failure.with_cause(cause),
            None => failure,
        }
    }
}

fn manager_config() -> ConnectionManagerConfig {
    ConnectionManagerConfig::new()
        .set_response_timeout(Some(ANSWER_LIMIT))
        .set_connection_timeout(Some(CONNECT_LIMIT))
        .set_number_of_retries(RECONNECT_RETRIES)
}

/// Returns true if an error may mean that the server refuses the connection. The client library connects again after an
/// I/O error alone.
fn may_be_refusal(error: &RedisError) -> bool {
    !error.is_io_error()
}

/// Returns true if the server refuses user or password. An operator can correct them while the process runs.
pub(super) fn is_login_refused(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}

/// Returns a script that also runs on a full server. It must free memory, or write little that does not accumulate.
pub(super) fn allow_oom_script(code: &str) -> Script {
    Script::new(&["#!lua flags=allow-oom\n", code].concat())
}

/// Longest time that is sent to a server, in milliseconds: ten years, which is practically for ever, and which its
/// numbers hold exactly.
const LONGEST_MILLIS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// Returns a time in milliseconds, at most [`LONGEST_MILLIS`].
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(LONGEST_MILLIS).min(LONGEST_MILLIS)
}

/// Returns true if the same request may succeed later.
pub(super) fn is_transient(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::Io => true,
        // The server is starting, or the primary is changing.
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain) => true,
        _ => error.code().is_some_and(|code| TRANSIENT.contains(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_errors_are_distinguished_from_permanent_ones() {
        let cases = [
            ("-OOM command not allowed when used memory > 'maxmemory'.", true),
            ("-MISCONF Errors writing to the AOF file: No space left on device", true),
            ("-LOADING Redis is loading the dataset in memory", true),
            ("-READONLY You can't write against a read only replica.", true),
            ("-WRONGTYPE Operation against a key holding the wrong kind of value", false),
            ("-NOPERM this user has no permissions to run the 'evalsha' command", false),
            ("-NOAUTH Authentication required.", false),
            ("-ERR unknown command", false),
        ];
        for (answer, expected) in cases {
            let value = redis::parse_redis_value(format!("{answer}\r\n").as_bytes()).expect("an answer");
            let error = value.extract_error().expect_err("an error");
            assert_eq!(is_transient(&error), expected, "{answer}");
        }
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(is_transient(&lost));
    }
}
