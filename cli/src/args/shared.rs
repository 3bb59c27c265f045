//! Options that commands share: the cluster, the data directory, the namespace, and the addresses of processes.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Options of every command of a cluster.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterArgs {
    /// The configuration file [default: ./longshore.toml, else /etc/longshore/longshore.toml]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Address of NATS; several servers with commas
    #[arg(long, value_name = "URL")]
    pub(crate) nats_url: Option<String>,
    /// A file with a NATS user's JWT and seed
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) nats_creds: Option<String>,
    /// Time to wait for NATS and Redis, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME")]
    pub(crate) connect_deadline: Option<String>,
    /// Print the source of the data and the address of the cluster
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// Namespace of runs and workflows.
#[derive(Debug, Default, Args)]
pub(crate) struct NamespaceArgs {
    /// The namespace
    #[arg(short, long, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Addresses of a process of the cluster.
#[derive(Debug, Default, Args)]
pub(crate) struct ProcessArgs {
    /// Address of Redis
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    pub(crate) redis_url: Option<String>,
    /// Serve /metrics, /livez and /readyz on this address, such as 127.0.0.1:9464
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_listen: Option<String>,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Source of runs: the cluster if one is configured, else a data directory.
#[derive(Debug, Args)]
pub(crate) struct RunSourceArgs {
    /// Read this data directory, even if a cluster is configured [default: .longshore]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "nats_url")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
