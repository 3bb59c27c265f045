//! Claims in Redis: one small hash for each, which one script changes.
//!
//! A server that lost its data does not know it, so the time of its first claim is stored beside the claims: the calls
//! of jobs that were queued before that time may have been made.
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

/// Time that the claim of a call that may have happened is kept: as long as a finished run. A job that is delivered
/// later than that would be called again.
const ABANDONED_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claims.lua")));

/// The script for claims that a worker holds, and for those of recalled jobs. It also runs on a full server: a claim that
/// cannot be renewed ends the running call, and one that is done or released takes less room. Recalled jobs that wait for
/// a claim are as few as workers have slots, and without a claim it is not known that their calls were not made.
static ALLOW_OOM_SCRIPT: LazyLock<Script> = LazyLock::new(|| allow_oom_script(include_str!("claims.lua")));

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

    /// Returns the key of the time of the first claim. A server that lost its claims has lost it as well.
    fn first_claim_key(&self) -> String {
        format!("{}:claims:born", self.connection.prefix())
    }

    /// Returns the time of the first claim: in whole milliseconds, and as it is stored, with microseconds.
    async fn first_claim(&self) -> Result<(u64, String), Error> {
        let mut script = SCRIPT.key(self.first_claim_key());
        script.key(self.first_claim_key()).arg("born");
        let (_, millis, stored): (String, u64, String) =
            self.connection.run_script(&script, "read the time of the first claim").await?;
        Ok((millis, stored))
    }

    /// Returns the identity of the server's data: the time of the first claim as it is stored. Each server, database and
    /// prefix has another one, and a server that lost its data gets a new one.
    pub(super) async fn data_id(&self) -> Result<String, Error> {
        Ok(self.first_claim().await?.1)
    }

    /// Runs an operation of a script on a claim.
    async fn run(
        &self,
        script: &'static Script,
        operation: &str,
        key: &ClaimKey,
        holder: &NodeId,
        lease: Duration,
    ) -> Result<ClaimAnswer, Error> {
        let mut script = script.key(self::key(self.connection.prefix(), &key.to_string()));
        script.key(self.first_claim_key());
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

    /// Requests a claim by a script.
    async fn request(
        &self,
        script: &'static Script,
        key: &ClaimKey,
        holder: &NodeId,
        lease: Duration,
    ) -> Result<ClaimResult, Error> {
        let ClaimAnswer { result, lease_until, lost_holder } =
            self.run(script, "claim", key, holder, lease).await?;
        match result.as_str() {
            "won" => Ok(ClaimResult::Won),
            // The name is empty if an older version, which did not store it, took the claim over.
            "lapsed" => Ok(ClaimResult::Lapsed { holder: lost_holder.parse().ok() }),
            "busy" => Ok(ClaimResult::Busy { until: Timestamp::from_millis(lease_until) }),
            "done" => Ok(ClaimResult::Done),
            _ => Err(Error::permanent(format!("claim {key}"), format!("unknown answer `{result}`"))),
        }
    }
}

#[async_trait]
impl Claims for ClaimStore {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        self.request(&SCRIPT, key, holder, lease).await
    }

    async fn claim_uncalled(
        &self,
        key: &ClaimKey,
        holder: &NodeId,
        lease: Duration,
    ) -> Result<ClaimResult, Error> {
        self.request(&ALLOW_OOM_SCRIPT, key, holder, lease).await
    }

    async fn complete_since(&self) -> Result<Timestamp, Error> {
        Ok(Timestamp::from_millis(self.first_claim().await?.0))
    }

    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        let answer = self.run(&ALLOW_OOM_SCRIPT, "renew", key, holder, lease).await?;
        Ok(answer.result == "held")
    }

    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.run(&ALLOW_OOM_SCRIPT, "done", key, holder, Duration::ZERO).await.map(|_| ())
    }

    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.run(&ALLOW_OOM_SCRIPT, "release", key, holder, Duration::ZERO).await.map(|_| ())
    }
}
