//! The one connection that everything shares, and what its errors mean.
//!
//! Requests are pipelined as they come: nobody waits for the answer to another's. An answer that does not come within
//! [`ANSWER_LIMIT`] is an error, and like every error it leaves open whether the request was carried out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::Error;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, Script, ScriptInvocation, ServerErrorKind,
};

/// How long an answer may take. A script of ours holds the server up for milliseconds; the worst it does by itself is a
/// flush to a slow disk, which takes a second or so.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// How long one attempt to connect may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Attempts beyond the first to make a lost connection again before a request is told so. More would only hide from
/// the drivers, which ask again by their own rules, that Redis is away.
const RECONNECT_RETRIES: usize = 1;

/// Codes of refusals that pass: memory that is full, a disk that is, a script that runs too long, too few replicas.
const PASSING: [&str; 5] = ["OOM", "MISCONF", "BUSY", "NOREPLICAS", "UNKILLABLE"];

/// The connection. A copy is the same connection.
#[derive(Clone)]
pub(super) struct Link {
    manager: ConnectionManager,
    prefix: Arc<str>,
    /// Where the server is, without user and password.
    address: Arc<str>,
}

impl fmt::Debug for Link {
    /// Without the connection's own description: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manager: _, prefix, address } = self;
        f.debug_struct("Link").field("prefix", prefix).field("address", address).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) async fn open(client: Client, address: &str, prefix: &str) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_LIMIT))
            .set_connection_timeout(Some(CONNECT_LIMIT))
            .set_number_of_retries(RECONNECT_RETRIES);
        let manager = ConnectionManager::new_with_config(client, config).await?;
        Ok(Self { manager, prefix: prefix.into(), address: address.into() })
    }

    /// What every key begins with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where the server is, without user and password.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Asks, and says what was asked if it fails.
    pub(super) async fn query<T: FromRedisValue>(&self, command: Cmd, doing: &str) -> Result<T, Error> {
        self.ask(command).await.map_err(|error| self.failure(error, doing))
    }

    /// Asks, for callers that look at the error.
    pub(super) async fn ask<T: FromRedisValue>(&self, command: Cmd) -> Result<T, RedisError> {
        command.query_async(&mut self.manager.clone()).await
    }

    /// Asks several things in one write.
    pub(super) async fn query_all<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        doing: &str,
    ) -> Result<T, Error> {
        let answers = commands.query_async(&mut self.manager.clone()).await;
        answers.map_err(|error| self.failure(error, doing))
    }

    /// Runs a script; the server is taught it when it does not know it.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        doing: &str,
    ) -> Result<T, Error> {
        script.invoke_async(&mut self.manager.clone()).await.map_err(|error| self.failure(error, doing))
    }

    /// What an error of Redis means to whoever asked.
    fn failure(&self, error: RedisError, doing: &str) -> Error {
        let doing = format!("{doing} in Redis at {}", self.address);
        let named = crate::cause::named(&error);
        let failure =
            if is_passing(&error) { Error::transient(doing, error) } else { Error::permanent(doing, error) };
        match named {
            Some(cause) => failure.with_cause(cause),
            None => failure,
        }
    }
}

/// Returns a script that a full server runs too. It must free memory, or write little that does not add up.
pub(super) fn when_full(code: &str) -> Script {
    Script::new(&["#!lua flags=allow-oom\n", code].concat())
}

/// The longest time that is told to a server, in milliseconds: ten years, which is for ever here and which its numbers
/// hold exactly.
const LONGEST_MILLIS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// A time as the server is told it.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(LONGEST_MILLIS).min(LONGEST_MILLIS)
}

/// Whether asking again, later, can help.
pub(super) fn is_passing(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly, TryAgain};
    match error.kind() {
        ErrorKind::Io => true,
        // A server that is starting, or a change of the primary that is under way.
        ErrorKind::Server(BusyLoading | ClusterDown | MasterDown | ReadOnly | TryAgain) => true,
        _ => error.code().is_some_and(|code| PASSING.contains(&code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_apart_from_what_needs_somebody() {
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
        for (answer, passes) in cases {
            let value = redis::parse_redis_value(format!("{answer}\r\n").as_bytes()).expect("an answer");
            let error = value.extract_error().expect_err("a refusal");
            assert_eq!(is_passing(&error), passes, "{answer}");
        }
        let lost = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(is_passing(&lost));
    }
}
