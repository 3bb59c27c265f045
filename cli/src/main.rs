//! The `longshore` binary: its commands, and the composition of the crates into processes.
//!
//! ```text
//!   args ──► config ──► command ──► embedded (scheduler + worker + store in one process)
//!                          │   └──► cluster  (one of them, on NATS and Redis; or a client of theirs)
//!                          ├──► live view
//!                          └──► output: results on stdout, messages on stderr, one exit code
//! ```
//!
//! This file parses the command line, executes the command, and ends with its exit code.

mod args;
mod cluster;
mod command;
mod config;
mod confirm;
mod embedded;
mod environment;
mod exit;
mod failure;
mod finding;
mod follow;
mod health;
mod input_text;
mod inputs;
mod live;
mod logging;
mod metering;
mod node;
mod output;
mod schema;
mod servers_file;
mod signals;
mod suggest;
mod trace;
mod trust;
mod which_run;
mod workflow_file;

use std::process::ExitCode;
use std::time::Duration;

use crate::args::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Longshore allocates many small messages and frees them, often on another thread, which is what this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time that busy threads get after everything has ended in order. At most a read from the disk is still under way.
const LAST_THREADS_LIMIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if let Some(code) = longshore_worker::launcher::run_if_launched() {
        return code;
    }
    let output = Output::new();
    let exit = match args::parse() {
        Ok(cli) => {
            let output = if cli.quiet { output.quiet() } else { output };
            perform(cli, &output).unwrap_or_else(|failure| {
                output.failure(&failure);
                failure.exit
            })
        }
        Err(usage) => {
            // Help and version are results, everything else is a message; clap knows which is which.
            let line: Vec<String> =
                std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
            match args::without_credentials(&usage, &line).filter(|_| usage.use_stderr()) {
                Some(message) => output.print_formatted(message.trim_end()),
                None => drop(usage.print()),
            }
            if usage.use_stderr() { Exit::Usage } else { Exit::Success }
        }
    };
    ExitCode::from(exit.code())
}

fn perform(cli: Cli, output: &Output) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime
        .map_err(|error| Failure::new(Exit::Error, format!("the runtime cannot be started: {error}")))?;
    let mut logs = None;
    let ended = runtime.block_on(command::perform(cli.command, output, &mut logs));
    runtime.shutdown_timeout(LAST_THREADS_LIMIT);
    drop(logs);
    ended
}
