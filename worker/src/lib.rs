//! The worker: makes the calls of jobs and reports their outcomes.
//!
//! A [`Worker`] pulls jobs from the queue, makes their MCP calls through a [`mcp::ServerPool`], and appends the outcomes to the log.
//! It has no durable state: the jobs of a worker that crashed are processed by another worker, or reported as indeterminate
//! if a second call could do harm.
//!
//! ```text
//! driver (I/O) ⇄ longshore_attempt (pure)        mcp: servers, connections, calls, faults
//! ```

mod driver;
mod large_values;
pub mod launcher;
pub mod mcp;
mod presence;

pub use driver::{JobWaits, WaitReason, WaitSummary, Worker, WorkerConfig};
pub use presence::{CurrentEntry, WorkerPresence};
