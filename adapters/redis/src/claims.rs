//! Claims in Redis: one small hash for each, moved on by one script.
//!
//! A server that has lost everything does not know it, so the moment of its first claim is kept beside the claims: jobs
//! that were delivered before that moment may have been called.
//!
//! The server's clock decides when a lease ends, so workers whose clocks differ agree on it. Claims that ended vanish by
//! themselves: done ones after [`CLAIM_RETENTION`], abandoned ones after [`ABANDONED_RETENTION`].

use std::sync::LazyLock;
use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{CLAIM_RETENTION, Error};
use longshore_proto::{ClaimKey, ClaimResult, NodeId, Timestamp};
use redis::Script;

use super::link::{Link, millis, when_full};

/// How long the trace of a call that may have happened is kept: as long as a finished run. A job that comes back later
/// than that would be made again.
const ABANDONED_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("claims.lua")));

/// The same for claims that are held already. A full server runs it: a claim that cannot be renewed ends the call under way,
/// and one that is done or released takes less room.
static HELD: LazyLock<Script> = LazyLock::new(|| when_full(include_str!("claims.lua")));

/// The key of a claim.
pub(super) fn key(prefix: &str, claim: &str) -> String {
    format!("{prefix}:claim:{claim}")
}

/// All claims of a cluster.
pub(super) struct Claims {
    link: Link,
}

impl Claims {
    pub(super) const fn new(link: Link) -> Self {
        Self { link }
    }

    /// The key of the moment since which there have been claims. A server that lost its claims has lost it as well.
    fn birth(&self) -> String {
        format!("{}:claims:born", self.link.prefix())
    }

    async fn say(
        &self,
        word: &str,
        key: &ClaimKey,
        holder: &NodeId,
        lease: Duration,
    ) -> Result<(String, u64, String), Error> {
        let script = if word == "claim" { &SCRIPT } else { &HELD };
        let mut script = script.key(self::key(self.link.prefix(), &key.to_string()));
        script.key(self.birth());
        script.arg(word).arg(holder.as_str()).arg(millis(lease));
        script.arg(millis(CLAIM_RETENTION)).arg(millis(ABANDONED_RETENTION));
        self.link.run(&script, &format!("{word} the claim on {key}")).await
    }
}

#[async_trait]
impl longshore_ports::Claims for Claims {
    async fn claim(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<ClaimResult, Error> {
        let (answer, until, lost) = self.say("claim", key, holder, lease).await?;
        match answer.as_str() {
            "won" => Ok(ClaimResult::Won),
            // An empty name: a version that kept none took the claim over.
            "lapsed" => Ok(ClaimResult::Lapsed { holder: lost.parse().ok() }),
            "busy" => Ok(ClaimResult::Busy { until: Timestamp::from_millis(until) }),
            "done" => Ok(ClaimResult::Done),
            _ => Err(Error::permanent(format!("claim {key}"), format!("unknown answer `{answer}`"))),
        }
    }

    async fn complete_since(&self) -> Result<Timestamp, Error> {
        let mut script = SCRIPT.key(self.birth());
        script.key(self.birth()).arg("born");
        let (_, born, _): (String, u64, String) =
            self.link.run(&script, "ask since when there are claims").await?;
        Ok(Timestamp::from_millis(born))
    }

    async fn renew(&self, key: &ClaimKey, holder: &NodeId, lease: Duration) -> Result<bool, Error> {
        let (answer, ..) = self.say("renew", key, holder, lease).await?;
        Ok(answer == "held")
    }

    async fn done(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.say("done", key, holder, Duration::ZERO).await.map(|_| ())
    }

    async fn release(&self, key: &ClaimKey, holder: &NodeId) -> Result<(), Error> {
        self.say("release", key, holder, Duration::ZERO).await.map(|_| ())
    }
}
