//! Options of `longshore dlq`.

use clap::{Args, Subcommand};

use super::shared::{ClusterArgs, NamespaceArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    /// List refused submits, newest first
    List(DlqListArgs),
    /// Show a refused submit with its body
    Show(DlqShowArgs),
    /// Submit refused submits again, once their cause is fixed
    Retry(DlqRetryArgs),
    /// Remove refused submits
    Drop(DlqDropArgs),
}

impl DlqCommand {
    /// Returns the options about namespace and cluster.
    pub(super) const fn common_args(&self) -> (&NamespaceArgs, &ClusterArgs) {
        match self {
            Self::List(args) => (&args.namespace, &args.cluster),
            Self::Show(args) => (&args.namespace, &args.cluster),
            Self::Retry(args) => (&args.namespace, &args.cluster),
            Self::Drop(args) => (&args.namespace, &args.cluster),
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longshore dlq list --limit 5")]
pub(crate) struct DlqListArgs {
    /// At most this many, up to 1000
    #[arg(long, value_name = "N", default_value = "50", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Print JSON, one on each line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longshore dlq show 17")]
pub(crate) struct DlqShowArgs {
    /// Its number, as `dlq list` shows it
    #[arg(value_name = "NUMBER")]
    pub(crate) number: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Selection of refused submits.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct DeadLettersArgs {
    /// Their numbers, as `dlq list` shows them
    #[arg(value_name = "NUMBER", conflicts_with_all = ["all", "code"])]
    pub(crate) numbers: Vec<u64>,
    /// All of the namespace: the newest 1000
    #[arg(long)]
    pub(crate) all: bool,
    /// All that were refused for this reason, such as unknown_workflow
    #[arg(long, value_name = "REASON")]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore dlq retry 17
  longshore dlq retry --code unknown_workflow

The ids of the runs are printed to stdout. A submit that becomes a run is removed; one that is refused again stays. One that
is kept in part only, because it is long, cannot be submitted from here.")]
pub(crate) struct DlqRetryArgs {
    #[command(flatten)]
    pub(crate) which: DeadLettersArgs,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore dlq drop 17
  longshore dlq drop --code malformed --yes

With --all or --code it counts them, and asks.")]
pub(crate) struct DlqDropArgs {
    #[command(flatten)]
    pub(crate) which: DeadLettersArgs,
    /// Remove them without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}
