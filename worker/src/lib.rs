//! The worker: from a job to an outcome.

pub mod mcp;
