//! Options of the commands of a cluster: its address, and the options of each command.
//!
//! Options that are settings stay text here. The configuration parses them together with the environment and the file.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use longshore_proto::WorkflowName;

use super::dlq::DlqCommand;
use super::runs::RunsCommand;
use super::shared::{ClusterArgs, NamespaceArgs, ProcessArgs, RunSourceArgs};
use super::{BenchArgs, NameValue};
use crate::config::{CommandLineSettings, SettingKey};

/// Commands that work with a cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// List and show runs, and cancel them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Have the cluster run a workflow
    Submit(SubmitArgs),
    /// Watch a run until it has ended
    Watch(WatchArgs),
    /// Register workflows in the cluster, and show them
    #[command(subcommand)]
    Workflows(WorkflowsCommand),
    /// List, retry and drop submits that were refused without an answer
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Check configuration, NATS, Redis and the processes of the cluster
    Doctor(DoctorArgs),
    /// Measure a cluster, and compare it with its broker alone
    Bench(BenchArgs),
    /// Run a scheduler of a cluster
    Scheduler(SchedulerArgs),
    /// Run a worker of a cluster
    Worker(WorkerArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore scheduler --nats-url nats://nats:4222 --redis-url redis://redis:6379
  longshore scheduler --config /etc/longshore/longshore.toml --metrics-listen 0.0.0.0:9464

SIGTERM and Ctrl-C end it in order; a second one ends it at once. Any number of schedulers share the partitions.")]
pub(crate) struct SchedulerArgs {
    /// Number of logs that runs are spread over: the same for every process, and never changed
    #[arg(long, value_name = "N")]
    pub(crate) partitions: Option<String>,
    /// Number of NATS servers that keep each stream: 1, 3 or 5
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<String>,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore worker --mcp-config servers.json --slots 16
  longshore worker --drain 2m --nats-url nats://nats:4222 --redis-url redis://redis:6379

It serves the MCP servers of its servers file. On SIGTERM and Ctrl-C it takes no more jobs, lets calls under way
end, and returns the rest to the queue; a second one ends it at once.")]
pub(crate) struct WorkerArgs {
    /// The servers file, in the format of `mcpServers` [default: ./.mcp.json]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) mcp_config: Option<String>,
    /// Number of calls that may be under way at once, and one more for each server
    #[arg(long, value_name = "N")]
    pub(crate) slots: Option<String>,
    /// Time that calls under way get to end when the worker drains, such as 30s or 5m
    #[arg(long, value_name = "TIME")]
    pub(crate) drain: Option<String>,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore submit workflow.yaml -i region=north
  longshore submit sales-report --id report-2026-11-20 --watch
  generate-inputs | longshore submit workflow.yaml --input-file - --json

A file is registered first, and then the version in it is run. The id of the run is printed to
stdout; with --watch, its outputs are.")]
pub(crate) struct SubmitArgs {
    /// A workflow: a file as YAML or JSON, or the name of one that is registered
    #[arg(value_name = "WORKFLOW", value_hint = ValueHint::FilePath)]
    pub(crate) workflow: String,
    /// An input of the workflow; goes before the same input of --input-file
    #[arg(short, long = "input", value_name = "NAME=VALUE", value_parser = super::value::input)]
    pub(crate) inputs: Vec<NameValue>,
    /// A JSON object of inputs, or a map in YAML if the name ends in .yaml; `-` reads JSON from stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input_file: Option<PathBuf>,
    /// An id of your own: the same id twice, for one workflow, is one run; with other inputs it is refused
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// Wait until the run has ended, and end with its exit code
    #[arg(short, long)]
    pub(crate) watch: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore watch last
  longshore watch 9v0w --data /var/lib/longshore
  longshore watch run_00_01kbgq5v8m3n4p5q6r7s8t9v0w --exit-status

Ctrl-C stops watching; the run continues.")]
pub(crate) struct WatchArgs {
    /// The run: its id, the beginning or end of it, or `last` for the newest
    #[arg(value_name = "RUN")]
    pub(crate) run: String,
    /// End with 20 if the run failed, and with 21 if it was cancelled
    #[arg(long)]
    pub(crate) exit_status: bool,
    /// Print the run as JSON once it has ended
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: RunSourceArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// Register a workflow: its version becomes the current one
    Push(WorkflowsPushArgs),
    /// List the current version of every workflow
    List(WorkflowsListArgs),
    /// Show the text of a workflow
    Show(WorkflowsShowArgs),
    /// Remove workflows: new submits are refused, runs that have begun continue
    Delete(WorkflowsDeleteArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  longshore workflows delete sales-report

All versions are removed. Registering the workflow again restores it.")]
pub(crate) struct WorkflowsDeleteArgs {
    /// The names of the workflows
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<WorkflowName>,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longshore workflows push workflows/*.yaml")]
pub(crate) struct WorkflowsPushArgs {
    /// The workflows, as YAML or JSON
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) workflows: Vec<PathBuf>,
    /// Print JSON, one workflow on each line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longshore workflows list --json | jq -r .name")]
pub(crate) struct WorkflowsListArgs {
    /// Print JSON, one workflow on each line
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore workflows show sales-report
  longshore workflows show sales-report --version 5ab15c")]
pub(crate) struct WorkflowsShowArgs {
    /// The name of the workflow
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// A version, as the beginning of its digest [default: the current one]
    #[arg(long, value_name = "DIGEST")]
    pub(crate) version: Option<String>,
    /// Print JSON: all versions, and the text
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) namespace: NamespaceArgs,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore doctor
  longshore doctor --strict
  longshore doctor --json | jq '.checks[] | select(.level != \"good\")'

The exit code is 1 if anything is wrong, 7 with --strict if anything is doubtful, 4 if this user
or a process lacks a permission, and 6 if NATS or Redis cannot be reached.")]
pub(crate) struct DoctorArgs {
    /// The servers file to check [default: ./.mcp.json]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) mcp_config: Option<String>,
    /// Address of Redis
    #[arg(long, value_name = "URL", help_heading = "Cluster")]
    pub(crate) redis_url: Option<String>,
    /// End with 7 if anything is doubtful
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterArgs,
}

/// Options that are settings, with the values that were given.
type SettingOptions<'a> = Vec<(SettingKey, &'static str, Option<&'a String>)>;

impl ClusterCommand {
    /// Returns the settings on the command line.
    pub(crate) fn flags(&self) -> CommandLineSettings {
        let mut given = self.command_settings();
        let cluster = self.cluster();
        given.extend([
            (SettingKey::NatsUrl, "--nats-url", cluster.nats_url.as_ref()),
            (SettingKey::NatsCredentials, "--nats-creds", cluster.nats_creds.as_ref()),
            (SettingKey::ConnectDeadline, "--connect-deadline", cluster.connect_deadline.as_ref()),
        ]);
        let values = given.into_iter().filter_map(|(key, name, value)| Some((key, name, value?.clone())));
        CommandLineSettings { file: cluster.config.clone(), values: values.collect() }
    }

    /// Returns the options about the cluster.
    pub(crate) const fn cluster(&self) -> &ClusterArgs {
        match self {
            Self::Runs(RunsCommand::List(args)) => &args.source.cluster,
            Self::Runs(RunsCommand::Show(args)) => &args.source.cluster,
            Self::Runs(RunsCommand::Output(args)) => &args.source.cluster,
            Self::Runs(RunsCommand::Cancel(args)) => &args.source.cluster,
            Self::Submit(args) => &args.cluster,
            Self::Watch(args) => &args.source.cluster,
            Self::Workflows(WorkflowsCommand::Push(args)) => &args.cluster,
            Self::Workflows(WorkflowsCommand::List(args)) => &args.cluster,
            Self::Workflows(WorkflowsCommand::Show(args)) => &args.cluster,
            Self::Dlq(command) => command.common_args().1,
            Self::Workflows(WorkflowsCommand::Delete(args)) => &args.cluster,
            Self::Doctor(args) => &args.cluster,
            Self::Bench(args) => &args.cluster,
            Self::Scheduler(args) => &args.process.cluster,
            Self::Worker(args) => &args.process.cluster,
        }
    }

    /// Returns the options of settings that only some commands have.
    fn command_settings(&self) -> SettingOptions<'_> {
        match self {
            Self::Scheduler(args) => {
                let mut given = process_settings(&args.process);
                given.push((SettingKey::Partitions, "--partitions", args.partitions.as_ref()));
                given.push((SettingKey::Replicas, "--replicas", args.replicas.as_ref()));
                given
            }
            Self::Worker(args) => {
                let mut given = process_settings(&args.process);
                given.push((SettingKey::WorkerMcpConfig, "--mcp-config", args.mcp_config.as_ref()));
                given.push((SettingKey::WorkerSlots, "--slots", args.slots.as_ref()));
                given.push((SettingKey::WorkerDrain, "--drain", args.drain.as_ref()));
                given
            }
            Self::Doctor(args) => vec![
                (SettingKey::WorkerMcpConfig, "--mcp-config", args.mcp_config.as_ref()),
                (SettingKey::RedisUrl, "--redis-url", args.redis_url.as_ref()),
            ],
            _ => vec![(
                SettingKey::Namespace,
                "--namespace",
                self.namespace().and_then(|args| args.namespace.as_ref()),
            )],
        }
    }

    const fn namespace(&self) -> Option<&NamespaceArgs> {
        match self {
            Self::Runs(RunsCommand::List(args)) => Some(&args.source.namespace),
            Self::Runs(RunsCommand::Show(args)) => Some(&args.source.namespace),
            Self::Runs(RunsCommand::Output(args)) => Some(&args.source.namespace),
            Self::Runs(RunsCommand::Cancel(args)) => Some(&args.source.namespace),
            Self::Submit(args) => Some(&args.namespace),
            Self::Watch(args) => Some(&args.source.namespace),
            Self::Workflows(WorkflowsCommand::Push(args)) => Some(&args.namespace),
            Self::Workflows(WorkflowsCommand::List(args)) => Some(&args.namespace),
            Self::Workflows(WorkflowsCommand::Show(args)) => Some(&args.namespace),
            Self::Workflows(WorkflowsCommand::Delete(args)) => Some(&args.namespace),
            Self::Dlq(command) => Some(command.common_args().0),
            Self::Doctor(_) | Self::Bench(_) | Self::Scheduler(_) | Self::Worker(_) => None,
        }
    }
}

fn process_settings(args: &ProcessArgs) -> SettingOptions<'_> {
    vec![
        (SettingKey::RedisUrl, "--redis-url", args.redis_url.as_ref()),
        (SettingKey::MetricsListen, "--metrics-listen", args.metrics_listen.as_ref()),
    ]
}
