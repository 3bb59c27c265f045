//! `longshore servers list`: connects to every server at the same time, and shows each as soon as it has answered.
//!
//! A person at a terminal sees servers in the order of their answers, then the whole list by name. Elsewhere each is printed as
//! soon as it and those before it by name have answered, so that two lists can be compared.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use longshore_proto::ServerName;

use super::page;
use super::report::Health;
use super::waiting::WaitingServers;
use super::{trusted, with_pool};
use crate::args::ServersListArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Line, Output};
use crate::servers_file::{ServersFile, ServersSource};

/// Connects to every server and says how it does.
pub(crate) async fn list(args: ServersListArgs, output: &Output) -> Result<Exit, Failure> {
    let found = ServersFile::find(&ServersSource::given(args.servers.mcp_config.as_deref()), output)?;
    let file = trusted(found, output)?;
    let disabled = file.disabled().map(|name| Health::Disabled { server: name.clone() });
    let unusable = file.unusable().map(|(name, reasons)| Health::unusable(name, reasons));
    let known: BTreeMap<_, _> =
        unusable.chain(disabled).map(|health| (health.name().clone(), health)).collect();
    let name_width = file.names().chain(known.keys()).map(|name| name.as_str().len()).max().unwrap_or(0);
    let waiting = WaitingServers::new(output, file.names().cloned());
    let mut list =
        HealthList { output, json: args.json, waiting, known, name_width, printed: BTreeSet::new() };
    with_pool(&file, async |pool, names| {
        let asked = names.iter().map(async |name| Health::of(name, pool.check(name).await));
        let mut answers: FuturesUnordered<_> = asked.collect();
        while let Some(health) = answers.next().await {
            list.add(health)?;
        }
        Ok(())
    })
    .await?;
    list.finish()
}

/// The servers of a file, as far as they have answered.
struct HealthList<'a> {
    output: &'a Output,
    json: bool,
    waiting: WaitingServers<'a>,
    known: BTreeMap<ServerName, Health>,
    name_width: usize,
    printed: BTreeSet<ServerName>,
}

impl HealthList<'_> {
    fn add(&mut self, health: Health) -> Result<(), Failure> {
        self.waiting.answered(health.name());
        self.known.insert(health.name().clone(), health);
        if self.output.is_live {
            self.waiting.show_below(self.page(self.known.values()));
            return Ok(());
        }
        self.print()
    }

    /// Prints the servers before the first one that has not answered.
    fn print(&mut self) -> Result<(), Failure> {
        let ready = self.known.values().take_while(|health| !self.is_behind_one(health.name()));
        let ready: Vec<&Health> = ready.filter(|health| !self.printed.contains(health.name())).collect();
        if self.json {
            ready.iter().try_for_each(|health| self.output.document("longshore.server", health))?;
        } else {
            self.output.lines(self.page(ready.iter().copied()))?;
        }
        let printed: Vec<ServerName> = ready.into_iter().map(|health| health.name().clone()).collect();
        self.printed.extend(printed);
        Ok(())
    }

    fn page<'h>(&self, servers: impl Iterator<Item = &'h Health> + Clone) -> Vec<Line> {
        page::servers(servers, self.output.symbols, self.output.table_room(), self.name_width)
    }

    /// Returns true if a server with an earlier name has not answered.
    fn is_behind_one(&self, name: &ServerName) -> bool {
        self.waiting.first().is_some_and(|first| first < name)
    }

    fn finish(mut self) -> Result<Exit, Failure> {
        self.waiting.hide();
        self.print()?;
        if self.known.is_empty() {
            self.output.message("the servers file names no server");
        }
        let is_fine = self.known.values().all(Health::is_fine);
        Ok(if is_fine { Exit::Success } else { Exit::Error })
    }
}
