//! Calls of tools on MCP servers.
//!
//! ```text
//! ServersConfig ──► ServerPool ──► connection ──► handshake (era) ──► stdio: a child process
//!   (config)                    │  tools (listing, checks)      http: one client per server
//!                               │  wire: every message, read before the MCP library
//!                               ▼
//!              Answer, or a CallFault: the McpFailure that was observed, with its class (classify)
//! ```
//!
//! No type of the MCP library leaves this module. A call is made at most once; the attempt machine decides about another attempt.

mod call;
mod check_cost;
mod classify;
mod client_side;
mod compile_cost;
mod config;
mod connection;
mod connection_slot;
mod crash_suspects;
mod deadline;
mod discover_watch;
mod elicitation;
mod envelope;
mod eras;
mod handshake;
mod http;
mod in_flight;
mod input;
mod library_errors;
mod list_tools;
mod masked_answer;
mod noop;
mod oversized;
mod process;
mod progress;
mod read_fault;
mod run_connections;
mod schema;
mod server;
mod server_health;
mod server_log;
mod server_pool;
mod stdio;
mod task;
mod task_state;
mod tool_listing;
mod tool_result;
mod wire;

pub use call::{CallingJob, EndedCall, ServerReport, Tool, ToolCall, ToolHints, ToolList};
pub use config::{SecretRecipient, Secrets, ServersConfig, ServersFileErrors};
pub use longshore_attempt::{Answer, CallFault};
pub use masked_answer::mask_warning;
pub use read_fault::ReadFault;
pub use server_pool::ServerPool;
