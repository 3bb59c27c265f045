//! The connection to Redis that all parts of a process share, and the classification of its errors.
//!
//! Requests are pipelined: none waits for the answer to another. A missing answer after [`ANSWER_LIMIT`] is an error,
//! and after any error the request may or may not have been executed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::Error;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation, ServerErrorKind,
};

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

/// A connection. Clones share it.
#[derive(Clone)]
pub(super) struct RedisConnection {
    manager: ConnectionManager,
    prefix: Arc<str>,
    /// Address of the server, without user and password.
    address: Arc<str>,
}

impl fmt::Debug for RedisConnection {
    /// Leaves out the description of the connection, which may contain a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manager: _, prefix, address } = self;
        f.debug_struct("RedisConnection")
            .field("prefix", prefix)
            .field("address", address)
            .finish_non_exhaustive()
    }
}

impl RedisConnection {
    pub(super) async fn open(client: Client, address: &str, prefix: &str) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_number_of_retries(RECONNECT_RETRIES);
        let manager = ConnectionManager::new_with_config(client, config).await?;
        Ok(Self { manager, prefix: prefix.into(), address: address.into() })
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
        command.query_async(&mut self.manager.clone()).await
    }

    /// Sends several commands in one write.
    pub(super) async fn query_pipeline<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        doing: &str,
    ) -> Result<T, Error> {
        let answers = commands.query_async(&mut self.manager.clone()).await;
        answers.map_err(|error| self.failure(error, doing))
    }

    /// Runs a script. Loads it first if the server does not have it.
    pub(super) async fn run_script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        doing: &str,
    ) -> Result<T, Error> {
        script.invoke_async(&mut self.manager.clone()).await.map_err(|error| self.failure(error, doing))
    }

    /// Turns an error of Redis into an error of a port.
    fn failure(&self, error: RedisError, doing: &str) -> Error {
        let doing = format!("{doing} in Redis at {}", self.address);
        let cause = crate::cause::cause(&error);
        let failure = if is_transient(&error) {
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
