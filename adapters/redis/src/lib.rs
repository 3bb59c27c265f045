//! The cluster's adapters on Redis: checkpoints, claims, leases and the list of workers.
//!
//! [`Redis::connect`] waits for a server and looks at its version and its settings; what it hands out stands under the
//! ports. Everything shares one connection, on which requests do not wait for each other's answers. Every write is
//! harmless to send twice, so an error only ever means: unknown.
//!
//! Nothing here is the truth: whatever Redis holds can be rebuilt from the log, and is recognised when it is stale or
//! in part.

mod aof;
mod catalog;
mod cause;
mod checkpoints;
mod claims;
mod connect;
mod error;
mod lease;
mod link;
mod permissions;
mod probe;
mod roll;
mod server_info;
mod status;
mod submit_ids;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use longshore_ports::{Catalog, Checkpoints, Claims, Error, Lease, SubmitIds};
use longshore_tls::TlsFiles;
use tracing::debug;

pub use self::error::{ConnectError, NEEDED_VERSION};
use self::link::Link;
pub use self::permissions::Role;
pub use self::probe::Probe;
pub use self::status::{Keys, Persistence, Status};

/// Where Redis is, and what Longshore's keys begin with.
#[derive(Clone)]
pub struct RedisConfig {
    /// The server: `redis://user:password@host:6379/0`, or `rediss://` for TLS.
    pub url: String,
    /// How long to wait for a server that is not there yet.
    pub connect_deadline: Duration,
    /// What every key begins with, before a colon, so that several clusters can share a server: `ls`.
    pub prefix: String,
    /// Certificates, for `rediss://`.
    pub tls: TlsFiles,
}

impl fmt::Debug for RedisConfig {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, connect_deadline, prefix, tls } = self;
        f.debug_struct("RedisConfig")
            .field("connect_deadline", connect_deadline)
            .field("prefix", prefix)
            .field("tls", tls)
            .finish_non_exhaustive()
    }
}

/// A connection to Redis. Lost connections are made again by themselves; what was under way on them fails.
#[derive(Clone, Debug)]
pub struct Redis {
    link: Link,
}

impl Redis {
    /// Connects, waiting for the server, and refuses one that cannot be relied on.
    pub async fn connect(config: RedisConfig) -> Result<Self, ConnectError> {
        let redis = Self { link: connect::connect(config).await? };
        // So that claims are known of from before the first job is queued. If not, the first claim sees to it.
        if let Err(error) = redis.claims().complete_since().await {
            debug!(%error, "not noted since when there are claims");
        }
        Ok(redis)
    }

    /// Tries everything that a process of this role asks of the server, on keys of its own that it takes away again.
    ///
    /// # Errors
    /// When the user of the connection lacks a permission; the error names the command and the key.
    pub async fn check_permissions(&self, role: Role) -> Result<(), ConnectError> {
        permissions::check(&self.link, role).await
    }

    /// State, so that the log need not be read from its start.
    pub fn checkpoints(&self) -> Arc<dyn Checkpoints> {
        Arc::new(checkpoints::Checkpoints::new(self.link.clone()))
    }

    /// Idempotency records.
    pub fn claims(&self) -> Arc<dyn Claims> {
        Arc::new(claims::Claims::new(self.link.clone()))
    }

    /// Ids of submits of the last minute.
    pub fn submit_ids(&self) -> Arc<dyn SubmitIds> {
        Arc::new(submit_ids::SubmitIds::new(self.link.clone()))
    }

    /// Leases on partitions, and who is there to hold them.
    pub fn lease(&self) -> Arc<dyn Lease> {
        Arc::new(lease::Lease::new(self.link.clone()))
    }

    /// The list of workers.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(catalog::Catalog::new(self.link.clone()))
    }

    /// Everything that a person who looks for trouble wants to know about the server.
    pub async fn status(&self) -> Result<Status, Error> {
        status::status(&self.link).await
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.link.query(redis::cmd("PING"), "ping").await
    }

    /// Writes one key that expires: whether the server takes writes.
    pub async fn probe_write(&self, probe: Probe) -> Result<(), Error> {
        probe::write(&self.link, probe).await
    }

    /// Who holds the lease on each partition, in the order of the partitions.
    pub async fn lease_holders(&self, partitions: u16) -> Result<Vec<Option<String>>, Error> {
        lease::holders(&self.link, partitions).await
    }
}
