//! `longshore completions`: the completion script of a shell.

use clap::CommandFactory;

use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Prints the script for a shell.
pub(super) fn print(args: CompletionsArgs, output: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "longshore", &mut script);
    output.result(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Success)
}
