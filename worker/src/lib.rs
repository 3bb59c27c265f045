//! The worker: from a job to an outcome.
//!
//! A [`Worker`] takes jobs from the queue, makes their MCP calls through a [`mcp::Pool`] and appends what came of them
//! to the log. It keeps nothing: whatever a worker that vanished had in hand is done by another, or reported as
//! indeterminate where a second call could do harm.
//!
//! ```text
//! driver (I/O) ⇄ longshore_attempt (pure)        mcp: servers, connections, calls, faults
//! ```

mod driver;
pub mod launcher;
pub mod mcp;
mod presence;

pub use driver::{Worker, WorkerConfig};
pub use presence::{Presence, Problems};
