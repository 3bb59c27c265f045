//! Claims in Redis: one small hash for each, which one script changes.
//!
//! The server's clock decides when a lease ends, so workers whose clocks differ agree on it. Ended claims expire: done
//! ones after [`CLAIM_RETENTION`], abandoned ones after [`ABANDONED_RETENTION`].

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{CLAIM_RETENTION, Claims, Error};
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Timestamp};
use redis::Script;

use super::connection::{RedisConnection, allow_oom_script, millis};

/// Time that the claim of a call that may have happened is kept: as long as a finished run. The next delivery of the job
/// reports the unreported attempt and its worker from it.
const ABANDONED_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claims.lua")));

/// The script for claims that a worker holds. It also runs on a full server: a claim that cannot be renewed ends the
/// running call, and one that is done or released takes less room.
static HELD_SCRIPT: LazyLock<Script> = LazyLock::new(|| allow_oom_script(include_str!("claims.lua")));

/// Returns the key of a claim.
pub(super) fn key(prefix: &str, claim: &str) -> String {
    format!("{prefix}:claim:{claim}")
}

/// The answer of the script.
struct ClaimAnswer {
    /// The claim's new state, or the reason why it did not change.
    result: String,
    /// End of the present lease, in milliseconds.
    lease_until: u64,
    /// The holder that did not report the outcome of its call.
    lost_holder: String,
}

/// The claims of a cluster.
pub(super) struct ClaimStore {
    connection: RedisConnection,
}

impl ClaimStore {
    pub(super) const fn new(connection: RedisConnection) -> Self {
        Self { connection }
    }

    /// Runs an operation of the script on a claim.
    async fn run(
        &self,
        operation: &str,
        key: &ClaimKey,
        holder: &NodeId,
        lease: Duration,
    ) -> Result<ClaimAnswer, Error> {
        let script = if operation == "claim" { &SCRIPT } else { &HELD_SCRIPT };
        let mut script = script.key(self::key(self.connection.prefix(), &key.to_string()));
        script.arg(operation).arg(holder.as_str()).arg(millis(lease));
        script.arg(millis(CLAIM_RETENTION)).arg(millis(ABANDONED_RETENTION));
        let doing = match operation {
            "claim" => format!("request the claim on {key}"),
            "done" => format!("complete the claim on {key}"),
            _ => format!("{operation} the claim on {key}"),
        };
        let (result, lease_until, lost_holder) = self.connection.run_script(&script, &doing).await?;
        Ok(ClaimAnswer { result, lease_until, lost_holder })
    }
}

#[async_trait]
impl Claims for ClaimStore {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        let ClaimAnswer { result, lease_until, lost_holder } = self.run("claim", key, holder, lease).await?;
        match result.as_str() {
            "won" => Ok(ClaimResult::Won),
            // The name is empty if an older version, which did not store it, took the claim over.
            "lapsed" => Ok(ClaimResult::Lapsed { holder: lost_holder.parse().ok() }),
            "busy" => Ok(ClaimResult::Busy { until: Timestamp::from_millis(lease_until) }),
            "done" => Ok(ClaimResult::Done),
            _ => Err(Error::permanent(format!("claim {key}"), format!("unknown answer `{result}`"))),
        }
    }

    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        let answer = self.run("renew", key, holder, lease).await?;
        Ok(answer.result == "held")
    }

    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.run("done", key, holder, Duration::ZERO).await.map(|_| ())
    }

    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.run("release", key, holder, Duration::ZERO).await.map(|_| ())
    }
}
