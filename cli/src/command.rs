//! The commands. Each takes its arguments and returns an exit code or a failure.

mod bench;
mod completions;
mod dlq;
mod doctor;
mod explain;
mod result;
mod resume;
mod run;
mod runs;
mod servers;
mod submit;
mod validate;
mod watch;
mod workflows;

use crate::args::{ClusterCommand, Command, DlqCommand, RunsCommand, ServersCommand, WorkflowsCommand};
use crate::cluster;
use crate::config::Config;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::logging::{self, Logs};
use crate::output::Output;

/// Executes a command. `logs` must outlive the runtime, because its tasks write log lines until they end.
pub(crate) async fn perform(command: Command, output: &Output, logs: &mut Logs) -> Result<Exit, Failure> {
    if !matches!(command, Command::Cluster(_)) {
        *logs = logging::start(output)?;
    }
    match command {
        Command::Run(args) => run::run(args, output).await,
        Command::Resume(args) => resume::resume(args, output).await,
        Command::Servers(ServersCommand::List(args)) => servers::list(args, output).await,
        Command::Servers(ServersCommand::Tools(args)) => servers::tools(args, output).await,
        Command::Servers(ServersCommand::Trust(args)) => servers::trust(&args, output),
        Command::Servers(ServersCommand::Call(args)) => servers::call(args, output).await,
        Command::Servers(ServersCommand::Read(args)) => servers::read(args, output).await,
        Command::Validate(args) => validate::validate(args, output).await,
        Command::Explain(args) => explain::explain(&args, output),
        Command::Completions(args) => completions::print(args, output),
        Command::Cluster(command) => with_cluster(command, output, logs).await,
    }
}

/// Reads the whole configuration, then executes a command that may need a cluster.
async fn with_cluster(command: ClusterCommand, output: &Output, logs: &mut Logs) -> Result<Exit, Failure> {
    let config = Config::load(&command.flags(), &environment::all())?;
    output.hide(&config.credentials());
    let is_process = matches!(command, ClusterCommand::Scheduler(_) | ClusterCommand::Worker(_));
    *logs = logging::start_with(&config, is_process, output)?;
    if let (true, Some(file)) = (command.cluster().verbose, &config.file) {
        output.message(&format!("configuration: {}", file.display()));
    }
    match command {
        ClusterCommand::Runs(RunsCommand::List(args)) => runs::list(args, &config, output).await,
        ClusterCommand::Runs(RunsCommand::Show(args)) => runs::show(args, &config, output).await,
        ClusterCommand::Runs(RunsCommand::Output(args)) => runs::output(args, &config, output).await,
        ClusterCommand::Runs(RunsCommand::Cancel(args)) => runs::cancel(args, &config, output).await,
        ClusterCommand::Submit(args) => submit::submit(args, &config, output).await,
        ClusterCommand::Watch(args) => watch::watch(args, &config, output).await,
        ClusterCommand::Workflows(WorkflowsCommand::Push(args)) => {
            workflows::push(args, &config, output).await
        }
        ClusterCommand::Workflows(WorkflowsCommand::List(args)) => {
            workflows::list(args, &config, output).await
        }
        ClusterCommand::Workflows(WorkflowsCommand::Show(args)) => {
            workflows::show(args, &config, output).await
        }
        ClusterCommand::Dlq(DlqCommand::List(args)) => dlq::list(args, &config, output).await,
        ClusterCommand::Dlq(DlqCommand::Show(args)) => dlq::show(args, &config, output).await,
        ClusterCommand::Dlq(DlqCommand::Retry(args)) => dlq::retry(args, &config, output).await,
        ClusterCommand::Dlq(DlqCommand::Drop(args)) => dlq::drop(args, &config, output).await,
        ClusterCommand::Workflows(WorkflowsCommand::Delete(args)) => {
            workflows::delete(args, &config, output).await
        }
        ClusterCommand::Bench(args) => bench::bench(&args, &config, output).await,
        ClusterCommand::Doctor(args) => doctor::doctor(&config, args.json, args.strict, output).await,
        ClusterCommand::Scheduler(_) => cluster::scheduler(&config).await,
        ClusterCommand::Worker(_) => cluster::worker(&config, output).await,
    }
}
