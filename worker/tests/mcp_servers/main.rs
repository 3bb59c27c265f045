//! Tests of the pool with real servers that misbehave.
//!
//! The servers are small Python scripts in `../fixtures/`, started as real processes over real pipes and sockets.

#![expect(clippy::expect_used, clippy::panic, reason = "a failure ends its test")]

mod answers;
mod bounds;
mod fixture;
mod http;
mod isolation;
mod oversized;
mod processes;
mod stdio;
mod tasks;
