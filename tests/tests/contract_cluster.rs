//! Every contract of the ports, checked against the adapters of a cluster: NATS for log, queue and blobs, Redis for the rest.
//!
//! The contracts share one NATS and one Redis, where each has an account and a key prefix of its own. Contracts that restart
//! the servers get servers of their own.

#![expect(clippy::expect_used, reason = "a fixture that cannot be made ends its test")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_ports::Backend;
use longshore_redis::{Redis, RedisConfig};
use longshore_tests::contract::{self, ClusterPorts, Contract, Fixture, Port};
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::redis_server::RedisServer;
use longshore_tls::TlsFiles;

/// The limit for a connection on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The ports that a cluster has.
const PORTS: &[&[Port]] = &[contract::ALL, contract::CLUSTER];

/// The key prefix of a contract that has a Redis of its own.
const PREFIX: &str = "ls";

/// The servers that contracts share.
struct SharedServers {
    nats: NatsServer,
    redis: RedisServer,
    /// The number of accounts and prefixes that are in use.
    used: AtomicUsize,
}

impl SharedServers {
    async fn start() -> Self {
        let contracts = PORTS.iter().copied().flatten().map(|(_, contracts)| contracts.len()).sum();
        let account = |number| {
            let user = user(number);
            format!(
                "  {user} {{ jetstream {{ max_file: 2GB }}, users: [{{ user: {user}, password: {user} }}] }}\n"
            )
        };
        let accounts: String = (0..contracts).map(account).collect();
        let setup = NatsSetup {
            // What the accounts may store together. It is a limit, and not room that the disk must have.
            jetstream_settings: "max_file: 1TB".to_owned(),
            server_settings: format!("accounts {{\n{accounts}}}\n"),
            ..NatsSetup::default()
        };
        let (nats, redis) = (NatsServer::start_with(setup).await, RedisServer::start().await);
        Self { nats, redis, used: AtomicUsize::new(0) }
    }

    /// Connects to an account and a prefix that no other contract uses.
    async fn connect(&self) -> (Nats, Redis) {
        let user = user(self.used.fetch_add(1, Ordering::Relaxed));
        let url = self.nats.url().replace("nats://", &format!("nats://{user}:{user}@"));
        connect(url, self.redis.url(), &user).await
    }
}

/// Returns the name of an account, which is also that of its user and the user's password.
fn user(number: usize) -> String {
    format!("contract{number}")
}

/// The adapters of one contract.
struct Adapters {
    /// The servers of a contract that restarts them.
    own_servers: Option<(NatsServer, RedisServer)>,
    nats: Nats,
    redis: Redis,
}

impl Adapters {
    async fn new(contract: Contract, shared: Arc<SharedServers>) -> Self {
        if !contract.restarts {
            let (nats, redis) = shared.connect().await;
            return Self { own_servers: None, nats, redis };
        }
        let nats_server = NatsServer::start().await;
        // Every acknowledged write must be there after a kill.
        let redis_server = RedisServer::start_with(&["--appendfsync", "always"]).await;
        let (nats, redis) = connect(nats_server.url(), redis_server.url(), PREFIX).await;
        Self { own_servers: Some((nats_server, redis_server)), nats, redis }
    }
}

async fn connect(nats_url: String, redis_url: String, prefix: &str) -> (Nats, Redis) {
    let nats = NatsConfig {
        urls: vec![nats_url],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls: TlsFiles::default(),
        name: "contract".to_owned(),
        replicas: 1,
        partitions: 2,
        connect_deadline: DEADLINE,
    };
    let redis = RedisConfig {
        url: redis_url,
        connect_deadline: DEADLINE,
        prefix: prefix.to_owned(),
        tls: TlsFiles::default(),
    };
    let nats = Nats::connect(nats).await.expect("connects to NATS");
    (nats, Redis::connect(redis).await.expect("connects to Redis"))
}

#[async_trait]
impl Fixture for Adapters {
    fn backend(&self) -> Backend {
        Backend {
            log: self.nats.log(),
            jobs: self.nats.jobs(),
            blobs: self.nats.blobs(),
            checkpoints: self.redis.checkpoints(),
            claims: self.redis.claims(),
        }
    }

    /// Kills the servers and starts them again, with new clients.
    async fn restart(&mut self) {
        let servers = self.own_servers.as_mut();
        let (nats, redis) = servers.expect("the contract is listed under `with_restarts`");
        self.nats.close().await;
        nats.restart().await;
        redis.restart().await;
        (self.nats, self.redis) = connect(nats.url(), redis.url(), PREFIX).await;
    }

    fn cluster(&self) -> Option<ClusterPorts> {
        Some(ClusterPorts { lease: self.redis.lease(), catalog: self.redis.catalog() })
    }
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let shared = Arc::new(runtime.block_on(SharedServers::start()));
    contract::run(PORTS, async move |contract| Adapters::new(contract, Arc::clone(&shared)).await)
}
