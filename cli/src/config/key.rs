//! Every setting there is: its name, the variables it may stand in, and what counts when nobody says anything.
//!
//! Names are those of the file (`worker.slots` is `slots` in the table `[worker]`); the variable is derived from the
//! name. `docs/configuration.md` explains each one; a test keeps the two together.

/// A setting.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Key {
    /// Where NATS is.
    NatsUrl,
    /// A file with a NATS user's JWT and seed.
    NatsCredentials,
    /// What the subjects of answers begin with.
    NatsInboxPrefix,
    /// A file with the seed of a NATS user's nkey.
    NatsNkey,
    /// Use of atomic batches for large groups of jobs.
    NatsBatch,
    /// Certificates of the authorities that vouch for NATS.
    NatsCa,
    /// The certificate with which this process shows NATS who it is.
    NatsCert,
    /// The private key of `nats.cert`.
    NatsKeyFile,
    /// Where Redis is.
    RedisUrl,
    /// Certificates of the authorities that vouch for Redis.
    RedisCa,
    /// The certificate with which this process shows Redis who it is.
    RedisCert,
    /// The private key of `redis.cert`.
    RedisKeyFile,
    /// What keys in Redis begin with.
    RedisPrefix,
    /// Whose runs they are, unless a command says so.
    Namespace,
    /// How many logs runs are spread over.
    Partitions,
    /// How many NATS servers keep each stream.
    Replicas,
    /// How many finished runs are kept.
    KeepRuns,
    /// How long finished runs are kept.
    KeepFor,
    /// How many runs of a namespace may be under way.
    LimitsLiveRuns,
    /// How long to wait for NATS and Redis.
    ConnectDeadline,
    /// How many jobs a worker takes at once.
    WorkerSlots,
    /// How long calls that have begun may go on when a worker ends.
    WorkerDrain,
    /// The servers file.
    WorkerMcpConfig,
    /// Where metrics and health are served.
    MetricsListen,
    /// How log lines look.
    LogFormat,
    /// Which log lines are written.
    LogFilter,
}

/// What every variable of ours begins with.
pub(crate) const PREFIX: &str = "LONGSHORE_";

/// What a variable ends with that names a file instead of a value.
const FILE_SUFFIX: &str = "_FILE";

impl Key {
    /// Every setting, in the order of the reference.
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

    /// The name in files and messages.
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

    /// What counts when nobody says anything; nothing if the setting is then off.
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

    /// The variables it may stand in; the first one that is set counts.
    pub(crate) fn variables(self) -> impl Iterator<Item = String> {
        let own = format!("{PREFIX}{}", self.name().replace('.', "__").to_ascii_uppercase());
        std::iter::once(own).chain(self.shared().iter().map(|name| (*name).to_owned()))
    }

    /// The variable that names a file with the value in it, for what may hold a secret.
    pub(crate) fn file_variable(self, variable: &str) -> Option<String> {
        self.is_secret().then(|| format!("{variable}{FILE_SUFFIX}"))
    }

    /// Whether a password may stand in it.
    pub(crate) const fn is_secret(self) -> bool {
        matches!(self, Self::NatsUrl | Self::RedisUrl)
    }

    /// Variables that other programs use for the same, or that were there before.
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
