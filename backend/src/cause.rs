//! The cause of a port's failure in one word, for metrics and for those who decide whether a store can be used.

use std::error::Error as StdError;

use async_nats::jetstream::{self, ErrorCode};
use redis::RedisError;

use crate::Error;

/// Why a port failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// The store, its disk or the account has no room.
    Full,
    /// The user may not do it.
    Denied,
    /// There is no such stream.
    Missing,
    /// There was no answer, or the store says that it cannot answer now.
    Unavailable,
    /// Something about this one request.
    Other,
}

/// Codes of NATS that say that there is no room: in the account, in the server, and when a message could not be stored.
const FULL: [ErrorCode; 4] = [
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STREAM_STORE_FAILED,
];

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] = [Self::Full, Self::Denied, Self::Missing, Self::Unavailable, Self::Other];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Denied => "denied",
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
            Self::Other => "other",
        }
    }

    /// Returns the cause of a failure.
    pub fn of(error: &Error) -> Self {
        let mut next: Option<&(dyn StdError + 'static)> = error.source();
        while let Some(source) = next {
            if let Some(cause) = source.downcast_ref().and_then(redis) {
                return cause;
            }
            if let Some(cause) = source.downcast_ref().and_then(nats) {
                return cause;
            }
            next = source.source();
        }
        if error.retryable { Self::Unavailable } else { Self::Other }
    }
}

fn redis(error: &RedisError) -> Option<Cause> {
    match error.code()? {
        // Memory, and the disk.
        "OOM" | "MISCONF" => Some(Cause::Full),
        "NOPERM" | "NOAUTH" | "WRONGPASS" => Some(Cause::Denied),
        "ERR" if error.detail().is_some_and(is_denied_in_script) => Some(Cause::Denied),
        _ => None,
    }
}

/// Returns whether a script was denied one of its commands. Redis has no code of its own for that: versions before 7.2 say
/// "The user executing the script can't run this command", later ones "ACL failure in script".
fn is_denied_in_script(detail: &str) -> bool {
    ["The user executing the script can't", "ACL failure in script"]
        .iter()
        .any(|words| detail.contains(words))
}

fn nats(error: &jetstream::Error) -> Option<Cause> {
    match error.error_code() {
        code if FULL.contains(&code) => Some(Cause::Full),
        ErrorCode::STREAM_NOT_FOUND => Some(Cause::Missing),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_redis(answer: &str) -> Cause {
        let value = redis::parse_redis_value(format!("{answer}\r\n").as_bytes()).expect("an answer");
        let error = value.extract_error().expect_err("a refusal");
        Cause::of(&Error::transient("write", error))
    }

    fn of_nats(code: u16, err_code: u16) -> Cause {
        let said = serde_json::json!({ "code": code, "err_code": err_code, "description": "no" });
        let said: jetstream::Error = serde_json::from_value(said).expect("an error");
        Cause::of(&Error::transient("publish", said))
    }

    #[test]
    fn the_answer_of_the_store_decides() {
        assert_eq!(of_redis("-OOM command not allowed when used memory > 'maxmemory'."), Cause::Full);
        assert_eq!(of_redis("-NOPERM this user has no permissions to run the 'set' command"), Cause::Denied);
        for denial in [
            "can't run this command or subcommand script: 1b04, on @user_script:1.",
            "can't access at least one of the keys mentioned in the command arguments script: 0c2b",
        ] {
            assert_eq!(of_redis(&format!("-ERR The user executing the script {denial}")), Cause::Denied);
        }
        let later = "-NOPERM ACL failure in script: User w has no permissions to run the 'type' command";
        assert_eq!(of_redis(later), Cause::Denied);
        assert_eq!(of_redis("-ERR unknown command"), Cause::Unavailable);
        assert_eq!(of_redis("-LOADING Redis is loading the dataset in memory"), Cause::Unavailable);
        assert_eq!(of_nats(400, 10002), Cause::Full);
        assert_eq!(of_nats(503, 10077), Cause::Full);
        assert_eq!(of_nats(404, 10059), Cause::Missing);
        assert_eq!(of_nats(503, 10008), Cause::Unavailable);
        assert_eq!(Cause::of(&Error::permanent("publish", "too large")), Cause::Other);
    }
}
