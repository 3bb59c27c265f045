//! All settings, as they are on the command line, and as they are used and shown.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use longshore_proto::{Namespace, Retention};
use longshore_tls::TlsFiles;

use super::key::SettingKey;
use super::origin::SettingOrigin;
use super::value::{AtomicBatches, LogFormat, StoreAddress};

/// Settings on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandLineSettings {
    /// The configuration file, if one is named.
    pub(crate) file: Option<PathBuf>,
    /// Settings, each with the option that has it.
    pub(crate) values: Vec<(SettingKey, &'static str, String)>,
}

/// All settings, parsed.
#[derive(Debug)]
pub(crate) struct Config {
    /// Addresses of NATS servers.
    pub(crate) nats_urls: Vec<StoreAddress>,
    /// A file with a NATS user's JWT and seed.
    pub(crate) nats_credentials: Option<PathBuf>,
    /// Prefix of the subjects of answers.
    pub(crate) nats_inbox_prefix: Option<String>,
    /// A file with the seed of a NATS user's nkey.
    pub(crate) nats_nkey: Option<PathBuf>,
    /// Use of atomic batches for large groups of jobs.
    pub(crate) nats_batch: AtomicBatches,
    /// Certificates for NATS.
    pub(crate) nats_tls: TlsFiles,
    /// Address of Redis.
    pub(crate) redis_url: StoreAddress,
    /// Certificates for Redis.
    pub(crate) redis_tls: TlsFiles,
    /// Prefix of keys in Redis.
    pub(crate) redis_prefix: String,
    /// Namespace of a client's requests.
    pub(crate) namespace: Namespace,
    /// Number of logs.
    pub(crate) partitions: u16,
    /// Number of servers that keep each stream.
    pub(crate) replicas: usize,
    /// Retention of finished runs.
    pub(crate) retention: Retention,
    /// Limit of the runs of a namespace that have not ended; `None` for no limit.
    pub(crate) live_runs: Option<u64>,
    /// Time to wait for NATS and Redis.
    pub(crate) connect_deadline: Duration,
    /// Number of jobs that a worker executes at once.
    pub(crate) slots: NonZeroUsize,
    /// Time that calls under way get to end when a worker drains.
    pub(crate) drain: Duration,
    /// The servers file.
    pub(crate) mcp_config: Option<PathBuf>,
    /// Address on which metrics and health are served.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Format of log lines.
    pub(crate) log_format: LogFormat,
    /// Filter of log lines, with its origin.
    pub(crate) log_filter: Option<(String, SettingOrigin)>,
    /// The configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The configuration file was found in the current directory, and not named.
    pub(super) file_was_found: bool,
    /// Every setting as it is shown, with its origin.
    pub(crate) settings: Vec<Setting>,
}

/// A setting as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Setting {
    /// The setting.
    pub(crate) key: SettingKey,
    /// The value with masked credentials; `None` if the setting is off.
    pub(crate) shown: Option<String>,
    /// The origin of the value.
    pub(crate) origin: SettingOrigin,
}
