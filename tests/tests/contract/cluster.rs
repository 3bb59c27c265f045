//! Every contract of the ports, checked against the adapters of a cluster: NATS for log, queue and blobs, Redis for the rest.

#![expect(clippy::expect_used, reason = "a fixture that cannot be made ends its test")]

use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Trial;
use longshore_nats::{BatchSetting, Nats, NatsConfig};
use longshore_ports::Backend;
use longshore_redis::{Redis, RedisConfig};
use longshore_tests::contract::{self, ClusterPorts, Fixture, Port};
use longshore_tests::nats_server::NatsServer;
use longshore_tests::redis_server::RedisServer;
use longshore_tls::TlsFiles;

/// The limit for a connection on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// The ports that a cluster has.
const PORTS: &[&[Port]] = &[contract::ALL, contract::CLUSTER];

/// The adapters of one contract, with servers of their own.
struct Adapters {
    nats_server: NatsServer,
    redis_server: RedisServer,
    nats: Nats,
    redis: Redis,
}

impl Adapters {
    async fn new() -> Self {
        let nats_server = NatsServer::start().await;
        // Every acknowledged write must be there after a kill.
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
        self.nats.close().await;
        self.nats_server.restart().await;
        self.redis_server.restart().await;
        (self.nats, self.redis) = connect(&self.nats_server, &self.redis_server).await;
    }

    fn cluster(&self) -> Option<ClusterPorts> {
        Some(ClusterPorts { lease: self.redis.lease(), catalog: self.redis.catalog() })
    }
}

pub(crate) fn tests() -> Vec<Trial> {
    contract::tests("cluster", PORTS, Adapters::new)
}
