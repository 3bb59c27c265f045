//! What a worker promises, with the real queue, log, claims and blobs, and a real MCP server that keeps a journal.

#![expect(clippy::expect_used, clippy::panic, reason = "what fails here ends its test")]

mod breakage;
mod calls;
mod claims;
mod harness;
mod patience;
mod secrets;
mod stopping;
