//! Configuration of a connection.

use std::path::PathBuf;
use std::time::Duration;

use longshore_tls::TlsFiles;

use super::batch::BatchSetting;

/// Configuration of a connection to NATS.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Addresses of the servers of one cluster: `nats://host:4222`, ...
    pub urls: Vec<String>,
    /// File with a user's JWT and seed.
    pub credentials: Option<PathBuf>,
    /// Prefix of the reply subjects, to which permissions can be limited. `_INBOX` by default.
    pub inbox_prefix: Option<String>,
    /// File with the seed of a user's nkey.
    pub nkey: Option<PathBuf>,
    /// Certificates. TLS is required if any is set.
    pub tls: TlsFiles,
    /// Name of this process in the server's list of connections.
    pub name: String,
    /// Number of copies of each stream: 1, 3 or 5.
    pub replicas: usize,
    /// Number of partitions. It cannot change while the cluster has runs.
    pub partitions: u16,
    /// Use of atomic batches for large groups of jobs.
    pub batch: BatchSetting,
    /// Time limit for connecting.
    pub connect_deadline: Duration,
}
