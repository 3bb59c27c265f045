//! `longshore servers list`: connects to every server at the same time, and shows each as soon as it has answered.
//!
//! A terminal shows servers in the order of their answers, and at the end the whole list sorted by name. Without a terminal,
//! a server is printed as soon as it and all servers with earlier names have answered, so that lists can be compared.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use longshore_proto::ServerName;

use super::page;
use super::pool::{trusted, with_pool};
use super::report::ServerState;
use super::waiting::WaitingServers;
use crate::args::ServersListArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Output, StyledLine};
use crate::servers_file::{ServersFile, ServersSource};

/// Connects to every server and prints its state.
pub(crate) async fn list(args: ServersListArgs, output: &Output) -> Result<Exit, Failure> {
    let found = ServersFile::find(&ServersSource::given(args.servers.mcp_config.as_deref()), output)?;
    let file = trusted(found, output)?;
    let disabled = file.disabled().map(|name| ServerState::Disabled { server: name.clone() });
    let unusable = file.unusable().map(|(name, reasons)| ServerState::unusable(name, reasons));
    let known: BTreeMap<_, _> = unusable.chain(disabled).map(|state| (state.name().clone(), state)).collect();
    let name_width = file.names().chain(known.keys()).map(|name| name.as_str().len()).max().unwrap_or(0);
    let waiting = WaitingServers::new(output, file.names().cloned());
    let mut list =
        ServerStateList { output, json: args.json, waiting, known, name_width, printed: BTreeSet::new() };
    with_pool(&file, async |pool, names| {
        let asked =
            names.iter().map(async |name| ServerState::of(name, pool.check(name).await, file.masked(name)));
        let mut answers: FuturesUnordered<_> = asked.collect();
        while let Some(state) = answers.next().await {
            list.add(state)?;
        }
        Ok(())
    })
    .await?;
    list.finish()
}

/// The states of the servers that have answered.
struct ServerStateList<'a> {
    output: &'a Output,
    json: bool,
    waiting: WaitingServers<'a>,
    known: BTreeMap<ServerName, ServerState>,
    name_width: usize,
    printed: BTreeSet<ServerName>,
}

impl ServerStateList<'_> {
    fn add(&mut self, state: ServerState) -> Result<(), Failure> {
        self.waiting.answered(state.name());
        self.known.insert(state.name().clone(), state);
        if self.output.is_live {
            self.waiting.show_below(self.page(self.known.values()));
            return Ok(());
        }
        self.print()
    }

    /// Prints the servers before the first one that has not answered.
    fn print(&mut self) -> Result<(), Failure> {
        let ready = self.known.values().take_while(|state| !self.waits_for_earlier(state.name()));
        let ready: Vec<&ServerState> = ready.filter(|state| !self.printed.contains(state.name())).collect();
        if self.json {
            ready.iter().try_for_each(|state| self.output.document("longshore.server", state))?;
        } else {
            self.output.lines(self.page(ready.iter().copied()))?;
        }
        let printed: Vec<ServerName> = ready.into_iter().map(|state| state.name().clone()).collect();
        self.printed.extend(printed);
        Ok(())
    }

    fn page<'h>(&self, servers: impl Iterator<Item = &'h ServerState> + Clone) -> Vec<StyledLine> {
        page::servers(servers, self.output.symbols, self.output.table_room(), self.name_width)
    }

    /// Returns true if a server with an earlier name has not answered.
    fn waits_for_earlier(&self, name: &ServerName) -> bool {
        self.waiting.first().is_some_and(|first| first < name)
    }

    fn finish(mut self) -> Result<Exit, Failure> {
        self.waiting.hide();
        self.print()?;
        if self.known.is_empty() {
            self.output.message("the servers file names no server");
        }
        let is_as_configured = self.known.values().all(ServerState::is_as_configured);
        Ok(if is_as_configured { Exit::Success } else { Exit::Error })
    }
}
