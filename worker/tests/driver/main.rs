//! Tests of a worker with the real queue, log, claims and blobs, and a real MCP server that records its calls.

#![expect(clippy::expect_used, clippy::panic, reason = "a failure ends its test")]

mod breakage;
mod calls;
mod claims;
mod grants;
mod harness;
mod leases;
mod secrets;
mod stopping;
mod waiting;
