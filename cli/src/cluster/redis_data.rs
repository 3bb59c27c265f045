//! Identity of the data in the Redis of a process.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use longshore_redis::Redis;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout};

/// Age at which an identity no longer counts. It is read every three seconds.
const FRESH: Duration = Duration::from_secs(10);

/// Time that Redis gets to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// The Redis of a process.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct RedisIdentity {
    /// Identity of the data: processes with the same claims have the same one.
    pub(crate) data: String,
    /// Address of the server, without user and password. Processes may reach one server by different addresses.
    pub(crate) address: String,
}

impl fmt::Display for RedisIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (data {})", self.address, self.data)
    }
}

/// The identity that this process read last.
#[derive(Default)]
pub(super) struct LastIdentity(Mutex<Option<(RedisIdentity, Instant)>>);

impl LastIdentity {
    /// Reads the identity and keeps it. A failure changes nothing: the probe of Redis reports it.
    pub(super) async fn read(&self, redis: &Redis) {
        if let Ok(Ok(data)) = timeout(ANSWER_LIMIT, redis.data_id()).await {
            let identity = RedisIdentity { data, address: redis.address().to_owned() };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((identity, Instant::now()));
        }
    }

    /// Returns the identity, if it was read recently.
    pub(super) fn current(&self) -> Option<RedisIdentity> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(_, read_at)| read_at.elapsed() < FRESH).map(|(identity, _)| identity.clone())
    }
}
