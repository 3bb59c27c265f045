//! Options that commands share: where the cluster, the data directory and other processes are.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Where the cluster is. Every command of a cluster has these.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The configuration file [default: ./longshore.toml, else /etc/longshore/longshore.toml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Where NATS is; several servers with commas
    #[arg(long, value_name = "URL")]
    pub(crate) nats_url: Option<String>,
    /// A file with a NATS user's JWT and seed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) nats_creds: Option<String>,
    /// How long to wait for NATS and Redis, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME")]
    pub(crate) connect_deadline: Option<String>,
    /// Say what is asked of whom
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Whose runs and workflows.
#[derive(Debug, Default, Args)]
pub(crate) struct NamespaceArgs {
    /// Whose they are
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Where a process of the cluster is found, and where it finds Redis.
#[derive(Debug, Default, Args)]
pub(crate) struct ProcessArgs {
    /// Where Redis is
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    pub(crate) redis_url: Option<String>,
    /// Serve /metrics, /livez and /readyz here, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Where runs are looked for: in the cluster if one is named anywhere, else in a data directory.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Look into this data directory, even if a cluster is configured [default: .longshore]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "nats_url")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
