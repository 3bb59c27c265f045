//! Everything between "call this tool" and an MCP server.
//!
//! ```text
//! ServersConfig ──► Pool ──► connection ──► handshake (era) ──► stdio: a child process
//!   (config)                    │  tools (listing, checks)      http: one client per server
//!                               │  wire: every message, read before the MCP library
//!                               ▼
//!              Answer, or a CallFault: what was observed (distil), classified once (classify)
//! ```
//!
//! No type of the MCP library leaves this module. Whether a fault is worth another attempt is decided elsewhere: a
//! call here is made at most once.

mod answer;
mod call;
mod classify;
mod client_side;
mod compile_work;
mod config;
mod connection;
mod deadline;
mod distil;
mod elicitation;
mod envelope;
mod eras;
mod flight;
mod handshake;
mod http;
mod input;
mod list_tools;
mod listing;
mod masked_answer;
mod member;
mod noop;
mod observed_error;
mod oversized;
mod pool;
mod probe;
mod process;
mod progress;
mod read_fault;
mod reliance;
mod schema;
mod schema_work;
mod server;
mod server_log;
mod stdio;
mod suspects;
mod task;
mod wire;

pub use call::{CallingJob, EndedCall, Hints, ServerReport, Tool, ToolCall, ToolList};
pub use config::{ConfigErrors, SecretRecipient, Secrets, ServersConfig};
pub use longshore_attempt::{Answer, CallFault};
pub use masked_answer::mask_warning;
pub use pool::Pool;
pub use read_fault::ReadFault;
