//! The servers of a file, and their pool for the time of one command.

use longshore_proto::ServerName;
use longshore_worker::launcher::Launcher;
use longshore_worker::mcp::{CallFault, ServerPool};

use crate::args::ServersFileArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::servers_file::{ServersFile, ServersSource, TrustedServers};
use crate::signals::Signals;

/// Executes `work` with a pool of the file's servers, and closes the pool afterwards. A signal ends this early.
pub(in crate::command) async fn with_pool<T>(
    file: &TrustedServers,
    work: impl AsyncFnOnce(&ServerPool, Vec<ServerName>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let names = file.names().cloned().collect();
    let mut signals = Signals::listen()?;
    let pool = ServerPool::new(file.config()).with_launcher(Launcher::this_program());
    let done = tokio::select! {
        done = work(&pool, names) => done,
        _ = signals.next() => Err(Failure::new(Exit::Interrupted, "interrupted")),
    };
    pool.close().await;
    done
}

/// Returns the servers of the file that is named or found, if they may be started and called.
pub(super) fn find(args: &ServersFileArgs, output: &Output) -> Result<TrustedServers, Failure> {
    let file = ServersFile::find_for_use(&ServersSource::given(args.mcp_config.as_deref()), output)?;
    trusted(file, output)
}

/// Returns the servers of a file, which must exist, if they may be started and called.
pub(super) fn trusted(file: ServersFile, output: &Output) -> Result<TrustedServers, Failure> {
    file.required()?.trusted(output, |line| output.message(line))
}

/// Fails if a server cannot be used.
pub(super) fn require_usable(file: &ServersFile, server: &ServerName) -> Result<(), Failure> {
    match file.lack(server) {
        None => Ok(()),
        Some((message, help)) => Err(Failure::new(Exit::NotFound, message).maybe_help(help)),
    }
}

/// Returns the failure of a command for a server that did not answer.
pub(super) fn unusable_server(server: &ServerName, CallFault { fault, .. }: &CallFault) -> Failure {
    Failure::new(Exit::Error, format!("the server `{server}` cannot be used: {fault}"))
}
