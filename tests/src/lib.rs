//! The harness of the end-to-end tests: real servers, the programs of this workspace, and the contracts of the ports.
//!
//! The tests are in `tests/` of this crate, and measurements in `benches/`.

pub mod broken_server;
pub mod checkpoint_commits;
pub mod cluster;
pub mod cluster_log;
pub mod contract;
pub mod directory_log;
pub mod environment;
pub mod five_servers;
pub mod guarded_cluster;
pub mod journal;
pub mod longshore;
pub mod lost_entries;
pub mod monitored;
pub mod nats_cluster;
pub mod nats_server;
pub mod port;
pub mod redis_server;
pub mod redis_users;
pub mod repeated_calls;
pub mod scratch;
pub mod small_disk;
pub mod tables;
pub mod terminal;
pub mod tools;
pub mod wait;
