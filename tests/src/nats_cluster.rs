//! Three real nats-servers as one cluster, each to be started, killed and stopped by itself.

#![expect(clippy::panic, reason = "a cluster that does not form has failed the test")]

use async_nats::jetstream;
use futures::future::join_all;
use tokio::time::Instant;

use crate::longshore::PATIENCE;
use crate::nats_server::{NatsServer, Setup};
use crate::port::free_address;

/// How many servers.
pub const SERVERS: usize = 3;

/// The servers. They are killed when this is dropped.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Ports and folders of servers that are not started.
    pub fn absent() -> Self {
        let routes: Vec<_> = (0..SERVERS).map(|_| free_address()).collect();
        let all = routes.iter().map(|route| format!("\"nats://{route}\"")).collect::<Vec<_>>().join(", ");
        let server = |(number, route)| {
            let name = server_name(number);
            let more = format!(
                "server_name: {name}\ncluster {{ name: three, listen: \"{route}\", routes: [{all}] }}\n"
            );
            NatsServer::absent_with(Setup { more, ..Setup::default() })
        };
        Self { servers: routes.iter().enumerate().map(server).collect() }
    }

    /// The addresses of all servers, as a list in TOML.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// Starts all that are not running, at once.
    pub async fn start(&mut self) {
        let absent = self.servers.iter_mut().filter(|server| server.pid().is_none());
        join_all(absent.map(NatsServer::start_again)).await;
    }

    /// Kills a server, as kill -9 does.
    ///
    /// # Panics
    /// When there is none of this number; as does everything else here that the cluster does not do.
    pub async fn kill(&mut self, number: usize) {
        match self.servers.get_mut(number) {
            Some(server) => server.kill().await,
            None => panic!("there is no server {number}"),
        }
    }

    /// The server that leads a stream, once there is one.
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
            assert!(Instant::now() < deadline, "nobody leads {stream}");
        }
    }
}

fn server_name(number: usize) -> String {
    format!("n{number}")
}
