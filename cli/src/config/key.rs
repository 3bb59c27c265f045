//! The names of all settings, their variables, and their defaults.
//!
//! Names are those in the file (`worker.slots` is `slots` in the table `[worker]`), and the variable is derived from the
//! name. `docs/configuration.md` explains each setting; a test compares the two.

/// A setting.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum SettingKey {
    /// Addresses of NATS servers.
    NatsUrl,
    /// A file with a NATS user's JWT and seed.
    NatsCredentials,
    /// Prefix of the subjects of answers.
    NatsInboxPrefix,
    /// A file with the seed of a NATS user's nkey.
    NatsNkey,
    /// Use of atomic batches for large groups of jobs.
    NatsBatch,
    /// Certificates of the authorities that signed the certificates of NATS servers.
    NatsCa,
    /// The certificate of this process for NATS.
    NatsCert,
    /// The private key of `nats.cert`.
    NatsKeyFile,
    /// Address of Redis.
    RedisUrl,
    /// Certificates of the authorities that signed the certificate of Redis.
    RedisCa,
    /// The certificate of this process for Redis.
    RedisCert,
    /// The private key of `redis.cert`.
    RedisKeyFile,
    /// Prefix of keys in Redis.
    RedisPrefix,
    /// Namespace of runs and workflows.
    Namespace,
    /// Number of logs that runs are spread over.
    Partitions,
    /// Number of NATS servers that keep each stream.
    Replicas,
    /// Number of finished runs that are kept.
    KeepRuns,
    /// Time for which finished runs are kept.
    KeepFor,
    /// Limit of the runs of a namespace that have not ended.
    LimitsLiveRuns,
    /// Time to wait for NATS and Redis.
    ConnectDeadline,
    /// Number of jobs that a worker executes at once.
    WorkerSlots,
    /// Time that calls under way get to end when a worker drains.
    WorkerDrain,
    /// The servers file.
    WorkerMcpConfig,
    /// Address on which metrics and health are served.
    MetricsListen,
    /// Format of log lines.
    LogFormat,
    /// Filter of log lines.
    LogFilter,
}

/// Prefix of all variables of Longshore.
pub(crate) const PREFIX: &str = "LONGSHORE_";

/// Suffix of a variable that names a file with the value.
const FILE_SUFFIX: &str = "_FILE";

impl SettingKey {
    /// All settings, in the order of the reference.
    pub(crate) const ALL: [Self; 26] = [
        Self::NatsUrl,
        Self::NatsCredentials,
        Self::NatsInboxPrefix,
        Self::NatsNkey,
        Self::NatsBatch,
        Self::NatsCa,
        Self::NatsCert,
        Self::NatsKeyFile,
        Self::RedisUrl,
        Self::RedisCa,
        Self::RedisCert,
        Self::RedisKeyFile,
        Self::RedisPrefix,
        Self::Namespace,
        Self::Partitions,
        Self::Replicas,
        Self::KeepRuns,
        Self::KeepFor,
        Self::LimitsLiveRuns,
        Self::ConnectDeadline,
        Self::WorkerSlots,
        Self::WorkerDrain,
        Self::WorkerMcpConfig,
        Self::MetricsListen,
        Self::LogFormat,
        Self::LogFilter,
    ];

    /// Returns the name in files and messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NatsUrl => "nats.url",
            Self::NatsCredentials => "nats.credentials",
            Self::NatsInboxPrefix => "nats.inbox_prefix",
            Self::NatsNkey => "nats.nkey",
            Self::NatsBatch => "nats.batch",
            Self::NatsCa => "nats.ca",
            Self::NatsCert => "nats.cert",
            Self::NatsKeyFile => "nats.key",
            Self::RedisUrl => "redis.url",
            Self::RedisCa => "redis.ca",
            Self::RedisCert => "redis.cert",
            Self::RedisKeyFile => "redis.key",
            Self::RedisPrefix => "redis.prefix",
            Self::Namespace => "namespace",
            Self::Partitions => "partitions",
            Self::Replicas => "replicas",
            Self::KeepRuns => "keep.runs",
            Self::KeepFor => "keep.for",
            Self::LimitsLiveRuns => "limits.live_runs",
            Self::ConnectDeadline => "connect_deadline",
            Self::WorkerSlots => "worker.slots",
            Self::WorkerDrain => "worker.drain",
            Self::WorkerMcpConfig => "worker.mcp_config",
            Self::MetricsListen => "metrics.listen",
            Self::LogFormat => "log.format",
            Self::LogFilter => "log.filter",
        }
    }

    /// Returns the default; `None` if the setting is off by default.
    pub(crate) const fn default(self) -> Option<&'static str> {
        match self {
            Self::NatsUrl => Some("nats://127.0.0.1:4222"),
            Self::RedisUrl => Some("redis://127.0.0.1:6379"),
            Self::RedisPrefix => Some("ls"),
            Self::Namespace => Some("default"),
            Self::Partitions => Some("8"),
            Self::Replicas => Some("1"),
            Self::KeepRuns => Some("100000"),
            Self::KeepFor => Some("7d"),
            Self::ConnectDeadline | Self::WorkerDrain => Some("30s"),
            Self::WorkerSlots => Some("64"),
            Self::NatsBatch | Self::LogFormat => Some("auto"),
            Self::NatsInboxPrefix => Some("_INBOX"),
            Self::NatsNkey
            | Self::NatsCa
            | Self::NatsCert
            | Self::NatsKeyFile
            | Self::RedisCa
            | Self::RedisCert
            | Self::RedisKeyFile
            | Self::NatsCredentials
            | Self::LimitsLiveRuns
            | Self::WorkerMcpConfig
            | Self::MetricsListen
            | Self::LogFilter => None,
        }
    }

    /// Returns the variables of the setting. The first one that is set counts.
    pub(crate) fn variables(self) -> impl Iterator<Item = String> {
        let own = format!("{PREFIX}{}", self.name().replace('.', "__").to_ascii_uppercase());
        std::iter::once(own).chain(self.shared().iter().map(|name| (*name).to_owned()))
    }

    /// Returns the variable that names a file with the value, if the value may contain a secret.
    pub(crate) fn file_variable(self, variable: &str) -> Option<String> {
        self.is_secret().then(|| format!("{variable}{FILE_SUFFIX}"))
    }

    /// Returns true if the value may contain a password.
    pub(crate) const fn is_secret(self) -> bool {
        matches!(self, Self::NatsUrl | Self::RedisUrl)
    }

    /// Returns variables that other programs use for the same setting, or that earlier versions had.
    const fn shared(self) -> &'static [&'static str] {
        match self {
            Self::NatsUrl => &["NATS_URL"],
            Self::NatsCredentials => &["NATS_CREDS"],
            Self::RedisUrl => &["REDIS_URL"],
            Self::WorkerMcpConfig => &["LONGSHORE_MCP_CONFIG"],
            Self::LogFilter => &["LONGSHORE_LOG", "RUST_LOG"],
            _ => &[],
        }
    }
}
