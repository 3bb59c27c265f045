//! Options of `longshore bench`: an existing cluster, or the programs to start one with.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::ToolTarget;
use super::shared::ClusterArgs;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore bench --start --takeover
  longshore bench --start --sync always --echo 'tables --root .' --json
  longshore bench --nats-url nats://nats:4222 --tool tables/echo

With --start it starts nats-server, redis-server, schedulers and workers in a temporary folder, and ends
them at the end. Otherwise it submits to an existing cluster; its streams for the bare loop are deleted afterwards, and the
runs stay. docs/bench.md says what is measured, and how to read it.")]
pub(crate) struct BenchArgs {
    /// Start NATS, Redis, schedulers and workers for the measurement, and end them after it
    #[arg(long, conflicts_with_all = ["nats_url", "nats_creds", "config"])]
    pub(crate) start: bool,
    /// The program to start as NATS
    #[arg(long, value_name = "PROGRAM", default_value = "nats-server", requires = "start", value_hint = ValueHint::CommandName)]
    pub(crate) nats_server: PathBuf,
    /// The program to start as Redis
    #[arg(long, value_name = "PROGRAM", default_value = "redis-server", requires = "start", value_hint = ValueHint::CommandName)]
    pub(crate) redis_server: PathBuf,
    /// Time at which NATS writes to the disk
    #[arg(long, value_enum, default_value = "default", requires = "start")]
    pub(crate) sync: SyncMode,
    /// Number of schedulers to start
    #[arg(long, value_name = "N", default_value = "2", requires = "start")]
    pub(crate) schedulers: NonZeroUsize,
    /// Number of workers to start; the bare loop has as many
    #[arg(long, value_name = "N", default_value = "2")]
    pub(crate) workers: NonZeroUsize,
    /// An MCP server over stdio with a tool `echo`: a program and its arguments, separated by spaces
    #[arg(long, value_name = "COMMAND", requires = "start")]
    pub(crate) echo: Option<String>,
    /// Kill a scheduler at the end, and measure how long its runs wait
    #[arg(long, requires = "start")]
    pub(crate) takeover: bool,
    /// The tool to call in an existing cluster; it gets the argument `text`, and has to answer with an object that holds it
    #[arg(long, value_name = "SERVER/TOOL", conflicts_with = "start", required_unless_present = "start")]
    pub(crate) tool: Option<ToolTarget>,
    /// Number of runs of one step, and of steps in chains of ten
    #[arg(long, value_name = "N", default_value = "20000")]
    pub(crate) runs: NonZeroU32,
    /// Number of runs and steps one at a time
    #[arg(long, value_name = "N", default_value = "300")]
    pub(crate) lone_runs: NonZeroU32,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Time at which a started NATS writes to the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum SyncMode {
    /// At the default interval of NATS: every two minutes
    Default,
    /// Before it acknowledges: `sync_interval: always`
    Always,
}
