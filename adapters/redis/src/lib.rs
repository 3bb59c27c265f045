//! The ports on Redis: checkpoints, claims, leases and the lists of processes.
//!
//! [`Redis::connect`] waits for a server and checks its version and settings. All ports share one connection, on which
//! requests do not wait for each other's answers. Every write is harmless to repeat, because an error leaves open
//! whether it happened.
//!
//! Redis is never the only source: checkpoints are rebuilt from the log, and stale or incomplete data is recognised.

mod aof;
mod catalog;
mod cause;
mod checkpoints;
mod claims;
mod config;
mod connect;
mod connection;
mod data_id;
mod error;
mod leases;
mod permissions;
mod probe;
mod process_list;
mod server_info;
mod settings;
mod status;
mod submit_ids;

use std::sync::Arc;

use longshore_ports::{Catalog, Checkpoints, Claims, Error, Lease, SubmitIds};

use self::catalog::WorkerCatalog;
use self::checkpoints::CheckpointStore;
use self::claims::ClaimStore;
pub use self::config::RedisConfig;
use self::connection::RedisConnection;
pub use self::error::{ConnectError, NEEDED_VERSION};
use self::leases::PartitionLeases;
pub use self::permissions::Role;
pub use self::probe::Probe;
pub use self::settings::RedisSettings;
pub use self::status::{KeyCounts, Persistence, RedisStatus};
use self::submit_ids::RecentSubmitIds;

/// A connection to Redis and its ports. It reconnects by itself; requests on a lost connection fail.
#[derive(Clone, Debug)]
pub struct Redis {
    connection: RedisConnection,
}

impl Redis {
    /// Waits for a server and checks it.
    ///
    /// # Errors
    /// If there is no server before the deadline, or one that cannot be used; see [`ConnectError`].
    pub async fn connect(config: RedisConfig) -> Result<Self, ConnectError> {
        Ok(Self { connection: connect::connect(config).await? })
    }

    /// Tries every command that a process of this role uses, on keys of its own, which it deletes again.
    ///
    /// # Errors
    /// If the user of the connection lacks a permission. The error names the command and the key.
    pub async fn check_permissions(&self, role: Role) -> Result<(), ConnectError> {
        permissions::check(&self.connection, role).await
    }

    /// Returns the checkpoints.
    pub fn checkpoints(&self) -> Arc<dyn Checkpoints> {
        Arc::new(CheckpointStore::new(self.connection.clone()))
    }

    /// Returns the claims.
    pub fn claims(&self) -> Arc<dyn Claims> {
        Arc::new(ClaimStore::new(self.connection.clone()))
    }

    /// Returns the ids of submits of the last minute.
    pub fn submit_ids(&self) -> Arc<dyn SubmitIds> {
        Arc::new(RecentSubmitIds::new(self.connection.clone()))
    }

    /// Returns the leases on partitions, and the list of schedulers.
    pub fn lease(&self) -> Arc<dyn Lease> {
        Arc::new(PartitionLeases::new(self.connection.clone()))
    }

    /// Returns the list of workers.
    pub fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::new(WorkerCatalog::new(self.connection.clone()))
    }

    /// Reads the state of the server, for `longshore doctor`.
    pub async fn status(&self) -> Result<RedisStatus, Error> {
        status::read(&self.connection).await
    }

    /// Returns the settings on which claims depend.
    pub async fn settings(&self) -> Result<RedisSettings, Error> {
        settings::read(&self.connection).await
    }

    /// Returns the identity of the data on the server. Processes with the same claims have the same one; a server that
    /// lost its data gets a new one.
    pub async fn data_id(&self) -> Result<String, Error> {
        data_id::read(&self.connection).await
    }

    /// Returns the address of the server, without user and password.
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    /// Fails if the server does not answer.
    pub async fn ping(&self) -> Result<(), Error> {
        self.connection.query(redis::cmd("PING"), "ping").await
    }

    /// Writes one key that expires. Fails if the server accepts no writes.
    pub async fn probe_write(&self, probe: Probe) -> Result<(), Error> {
        probe::write(&self.connection, probe).await
    }

    /// Returns the holders of the leases, in the order of the partitions.
    pub async fn lease_holders(&self, partitions: u16) -> Result<Vec<Option<String>>, Error> {
        leases::holders(&self.connection, partitions).await
    }
}
