//! Three real nats-servers that form one cluster. Each can be started and killed by itself.

#![expect(clippy::panic, reason = "a cluster that does not form has failed the test")]

use async_nats::jetstream;
use futures::future::join_all;
use tokio::time::Instant;

use crate::longshore::PATIENCE;
use crate::nats_server::{NatsServer, NatsSetup};
use crate::port::{OwnedPort, take_port};
use crate::wait::pause;

/// The number of servers.
pub const SERVERS: usize = 3;

/// The servers. They are killed when this is dropped.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
    /// The ports on which the servers reach each other.
    _routes: Vec<OwnedPort>,
}

impl NatsCluster {
    /// Takes ports and folders for servers that are not started yet.
    pub fn absent() -> Self {
        let routes: Vec<_> = (0..SERVERS).map(|_| take_port()).collect();
        let all = routes
            .iter()
            .map(|route| format!("\"nats://{}\"", route.address()))
            .collect::<Vec<_>>()
            .join(", ");
        let server = |(number, route): (usize, &OwnedPort)| {
            let listen = route.address();
            let more = format!("cluster {{ name: three, listen: \"{listen}\", routes: [{all}] }}\n");
            NatsServer::absent_with(NatsSetup {
                server_name: Some(server_name(number)),
                server_settings: more,
                ..NatsSetup::default()
            })
        };
        Self { servers: routes.iter().enumerate().map(server).collect(), _routes: routes }
    }

    /// Returns the addresses of all servers.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// Starts all servers that do not run, at once.
    pub async fn start(&mut self) {
        let absent = self.servers.iter_mut().filter(|server| server.pid().is_none());
        join_all(absent.map(NatsServer::start_again)).await;
    }

    /// Kills a server, as kill -9 does.
    ///
    /// # Panics
    /// When there is no server of this number. All functions here panic when the cluster does not do what they ask for.
    pub async fn kill(&mut self, number: usize) {
        match self.servers.get_mut(number) {
            Some(server) => server.kill().await,
            None => panic!("there is no server {number}"),
        }
    }

    /// Returns the server that leads a stream, as soon as one does.
    pub async fn leader_of(&self, stream: &str) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let client = async_nats::connect(self.urls()).await;
        let context = jetstream::new(client.unwrap_or_else(|error| panic!("no connection to NATS: {error}")));
        loop {
            let found = context.get_stream(stream).await;
            let leader = found.ok().and_then(|stream| stream.cached_info().cluster.clone()?.leader);
            if let Some(number) = leader.and_then(|name| (0..SERVERS).find(|n| server_name(*n) == name)) {
                return number;
            }
            assert!(Instant::now() < deadline, "no server leads {stream}");
            pause().await;
        }
    }
}

fn server_name(number: usize) -> String {
    format!("n{number}")
}
