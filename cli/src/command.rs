//! The commands: each takes its arguments to an exit code, or to a failure.

mod completions;
mod explain;
mod result;
mod resume;
mod run;
mod runs;
mod servers;
mod validate;

use crate::args::{Command, RunsCommand, ServersCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Does what the command line asks for.
pub(crate) async fn perform(command: Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(args, output).await,
        Command::Resume(args) => resume::resume(args, output).await,
        Command::Runs(RunsCommand::List(args)) => runs::list(args, output).await,
        Command::Runs(RunsCommand::Show(args)) => runs::show(args, output).await,
        Command::Servers(ServersCommand::List(args)) => servers::list(args, output).await,
        Command::Servers(ServersCommand::Tools(args)) => servers::tools(args, output).await,
        Command::Servers(ServersCommand::Call(args)) => servers::call(args, output).await,
        Command::Validate(args) => validate::validate(args, output).await,
        Command::Explain(args) => explain::explain(&args, output),
        Command::Completions(args) => completions::print(args, output),
    }
}
