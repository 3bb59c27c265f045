//! Real servers for `longshore bench` and for the tests: nats-server and redis-server, each on a port of its own.
//!
//! ```text
//!   OwnedPort ──┐
//!   Launch ─────┴─► nats::start, redis::start ──► Process, once it answers as itself
//! ```
//!
//! A started server is used only after it has identified itself, so a measurement or a test never talks to a server of
//! another process. Its caller decides what a failure means: `longshore bench` reports it, a test panics.

mod error;
pub mod nats;
mod port;
mod process;
pub mod redis;

pub use error::StartError;
pub use port::OwnedPort;
pub use process::{Launch, Process, Usage};
