//! Every contract of the ports, kept by a cluster's adapters: NATS for log, queue and blobs, Redis for the rest.

#![expect(clippy::expect_used, reason = "a fixture that cannot be made ends its test")]

use std::process::ExitCode;
use std::time::Duration;

use async_trait::async_trait;
use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_ports::Backend;
use longshore_redis::{Redis, RedisConfig};
use longshore_tests::contract::{self, Cluster, Fixture};
use longshore_tests::nats_server::NatsServer;
use longshore_tests::redis_server::RedisServer;
use longshore_tls::TlsFiles;

/// How long a server may take to come back on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Two servers of its own.
struct Servers {
    nats_server: NatsServer,
    redis_server: RedisServer,
    nats: Nats,
    redis: Redis,
}

impl Servers {
    async fn new() -> Self {
        let nats_server = NatsServer::start().await;
        // What was acknowledged must be there after a kill.
        let redis_server = RedisServer::start_with(&["--appendfsync", "always"]).await;
        let (nats, redis) = connect(&nats_server, &redis_server).await;
        Self { nats_server, redis_server, nats, redis }
    }
}

async fn connect(nats: &NatsServer, redis: &RedisServer) -> (Nats, Redis) {
    let nats = NatsConfig {
        urls: vec![nats.url()],
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
        url: redis.url(),
        connect_deadline: DEADLINE,
        prefix: "ls".to_owned(),
        tls: TlsFiles::default(),
    };
    let nats = Nats::connect(nats).await.expect("connects to NATS");
    (nats, Redis::connect(redis).await.expect("connects to Redis"))
}

#[async_trait]
impl Fixture for Servers {
    fn backend(&self) -> Backend {
        Backend {
            log: self.nats.log(),
            jobs: self.nats.jobs(),
            blobs: self.nats.blobs(),
            checkpoints: self.redis.checkpoints(),
            claims: self.redis.claims(),
        }
    }

    /// The servers are killed, and their clients are new ones.
    async fn restart(&mut self) {
        self.nats.close().await;
        self.nats_server.restart().await;
        self.redis_server.restart().await;
        (self.nats, self.redis) = connect(&self.nats_server, &self.redis_server).await;
    }

    fn cluster(&self) -> Option<Cluster> {
        Some(Cluster { lease: self.redis.lease(), catalog: self.redis.catalog() })
    }
}

fn main() -> ExitCode {
    contract::run(&[contract::ALL, contract::CLUSTER], Servers::new)
}
