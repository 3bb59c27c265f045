//! The command line: every command and option, with its help.
//!
//! Only the form is checked here. The commands check whether files exist and inputs fit.

mod bench;
mod cluster;
mod dlq;
mod groups;
mod masked;
mod runs;
mod shared;
mod suggestions;
mod value;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};

pub(crate) use bench::{BenchArgs, SyncMode};
pub(crate) use cluster::{
    ClusterCommand, SubmitArgs, WatchArgs, WorkflowsCommand, WorkflowsDeleteArgs, WorkflowsListArgs,
    WorkflowsPushArgs, WorkflowsShowArgs,
};
pub(crate) use dlq::{DeadLettersArgs, DlqCommand, DlqDropArgs, DlqListArgs, DlqRetryArgs, DlqShowArgs};
pub(crate) use groups::parse;
pub(crate) use masked::without_credentials;
pub(crate) use runs::{
    RunFilterArgs, RunsCancelArgs, RunsCommand, RunsListArgs, RunsOutputArgs, RunsShowArgs,
};
pub(crate) use shared::RunSourceArgs;
pub(crate) use value::{NameValue, ToolSelection, ToolTarget, duration, given_twice};

/// Default path of the data directory.
pub(crate) const DEFAULT_DATA_DIR: &str = ".longshore";

/// Durable workflows of MCP tool calls.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print results, warnings and errors only
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

const EXIT_CODES: &str = "\
Exit codes:
  0 success          1 unexpected error        2 wrong usage
  3 workflow, inputs or servers file invalid   4 not allowed
  5 not found        6 cluster unreachable     7 doctor --strict: doubtful
  8 no room in the cluster
  20 the run failed  21 the run was cancelled  130 interrupted";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workflow and wait for its end
    Run(RunArgs),
    /// Continue interrupted runs
    Resume(ResumeArgs),
    /// Commands that work with a cluster
    #[command(flatten)]
    Cluster(ClusterCommand),
    /// Inspect MCP servers, and call their tools
    #[command(subcommand)]
    Servers(ServersCommand),
    /// Check workflows without running them
    Validate(ValidateArgs),
    /// Explain the code of a problem
    Explain(ExplainArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// The data directory: runs, their history and their results
    #[arg(long, value_name = "DIR", env = "LONGSHORE_DATA", hide_env_values = true, default_value = DEFAULT_DATA_DIR, value_hint = ValueHint::DirPath)]
    pub(crate) data: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ServersFileArgs {
    /// The servers file, in the format of `mcpServers` [default: ./.mcp.json]
    #[arg(long, value_name = "FILE", env = "LONGSHORE_MCP_CONFIG", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) mcp_config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    #[command(flatten)]
    pub(crate) servers: ServersFileArgs,
    #[command(flatten)]
    pub(crate) data: DataArgs,
    /// Number of calls that may be under way at once, and one more for each server
    #[arg(long, value_name = "N", default_value = "64", value_parser = value::slots)]
    pub(crate) slots: NonZeroUsize,
    /// Print runs as JSON, one on each line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore run workflow.yaml
  longshore run workflow.yaml -i region=north -i 'limits=[1, 2]'
  generate-inputs | longshore run workflow.yaml --input-file - --json

The outputs of the run are printed to stdout.
Ctrl-C cancels the run. A second Ctrl-C stops at once and leaves the rest to `longshore resume`.")]
pub(crate) struct RunArgs {
    /// The workflow, as YAML or JSON; `-` reads it from stdin
    #[arg(value_name = "WORKFLOW", value_hint = ValueHint::FilePath)]
    pub(crate) workflow: PathBuf,
    /// An input of the workflow; goes before the same input of --input-file
    #[arg(short, long = "input", value_name = "NAME=VALUE", value_parser = value::input)]
    pub(crate) inputs: Vec<NameValue>,
    /// A JSON object of inputs, or a map in YAML if the name ends in .yaml; `-` reads JSON from stdin
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) input_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore resume
  longshore resume qm3v --data /var/lib/longshore

Without an id it continues every interrupted run of the data directory.
Ctrl-C stops it, and the runs stay interrupted.")]
pub(crate) struct ResumeArgs {
    /// Runs to wait for: ids, or the beginning or end of one
    #[arg(value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    #[command(flatten)]
    pub(crate) work: WorkArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServersCommand {
    /// Connect to every server and show its state
    List(ServersListArgs),
    /// List the tools of servers
    Tools(ServersToolsArgs),
    /// Call a tool once
    Call(ServersCallArgs),
    /// Read a resource, such as one that a link in an answer names
    Read(ServersReadArgs),
    /// Trust a servers file, so that no question is asked about it
    Trust(ServersTrustArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore servers trust
  longshore servers trust project/.mcp.json

It shows what the file starts and calls, and stores this content and path as trusted.")]
pub(crate) struct ServersTrustArgs {
    /// The servers file [default: ./.mcp.json]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore servers list
  longshore servers list --mcp-config servers.json --json | jq -r 'select(.status != \"ready\")'

It connects to all servers at the same time. The exit code is 1 if any of them cannot be used.")]
pub(crate) struct ServersListArgs {
    #[command(flatten)]
    pub(crate) servers: ServersFileArgs,
    /// Print JSON, one server on each line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore servers tools
  longshore servers tools tables/validate_csv
  longshore servers tools tables --json | jq .input_schema

A single tool is shown with its arguments and their schema.")]
pub(crate) struct ServersToolsArgs {
    /// Only the tools of this server, or one of them
    #[arg(value_name = "SERVER[/TOOL]")]
    pub(crate) of: Option<ToolSelection>,
    #[command(flatten)]
    pub(crate) servers: ServersFileArgs,
    /// Print JSON, one tool on each line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore servers call tables/list_files
  longshore servers call tables/validate_csv '{\"file\": \"north.csv\"}'
  longshore servers call tables/summarise_csv -a file=north.csv -a 'columns=[\"units\"]'

The result of the tool is printed to stdout: its structured content, or else its text. Images, audio and other binary
parts are named on stderr, or saved as files with --save.")]
pub(crate) struct ServersCallArgs {
    /// The server and the tool
    #[arg(value_name = "SERVER/TOOL")]
    pub(crate) target: ToolTarget,
    /// The arguments, as a JSON object
    #[arg(value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// One argument, read by the type in the tool's schema. Goes before the same argument of the object
    #[arg(short, long = "argument", value_name = "NAME=VALUE")]
    pub(crate) argument: Vec<NameValue>,
    /// Timeout of the call, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) servers: ServersFileArgs,
    /// Save images, audio and other binary parts of the answer as files in this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) save: Option<PathBuf>,
    /// Print JSON: the value, the content as the server sent it, and the duration
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore servers read docs file:///handbook.md
  longshore servers read reports reports://q3 --save reports

Text is printed. A part that is not text is named, or saved with --save.")]
pub(crate) struct ServersReadArgs {
    /// The server
    #[arg(value_name = "SERVER")]
    pub(crate) server: longshore_proto::ServerName,
    /// The address of the resource, as the server names it
    #[arg(value_name = "URI")]
    pub(crate) uri: String,
    /// Timeout of the request, such as 500ms, 30s or 5m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = value::duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) servers: ServersFileArgs,
    /// Save parts that are not text as files in this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) save: Option<PathBuf>,
    /// Print JSON: the parts as the server sent them
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore validate workflow.yaml
  longshore validate workflows/*.yaml --json
  longshore validate workflow.yaml --online
  generate-workflow | longshore validate -

If there is a servers file, it must contain the servers that the workflow calls.")]
pub(crate) struct ValidateArgs {
    /// The workflows, as YAML or JSON; `-` reads one from stdin
    #[arg(value_name = "WORKFLOW", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) workflows: Vec<PathBuf>,
    /// Request the tools of the servers, and check that they have the tools that the workflow calls and accept its arguments
    #[arg(long)]
    pub(crate) online: bool,
    #[command(flatten)]
    pub(crate) servers: ServersFileArgs,
    /// Print JSON, one file on each line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  longshore explain LS0107")]
pub(crate) struct ExplainArgs {
    /// The code of a diagnostic
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  longshore completions bash > ~/.local/share/bash-completion/completions/longshore
  longshore completions fish > ~/.config/fish/completions/longshore.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
