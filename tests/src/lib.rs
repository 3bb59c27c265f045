//! What the proofs of the promises stand on: servers that other people wrote, and programs that were just built.
//!
//! The proofs themselves are the integration tests of this crate.

pub mod asked;
pub mod broken_server;
pub mod cluster;
pub mod commits;
pub mod contract;
pub mod given;
pub mod history;
pub mod journal;
pub mod journey;
pub mod ledger;
pub mod longshore;
pub mod nats_cluster;
pub mod nats_server;
pub mod port;
pub mod redis_server;
pub mod redis_users;
pub mod repeats;
pub mod scratch;
pub mod small_disk;
pub mod tables;
pub mod terminal;
pub mod tools;
pub mod wait;
