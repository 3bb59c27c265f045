//! The pool against real servers that misbehave: every trap has its test.
//!
//! The servers are small Python scripts in `../fixtures/`, started as real processes over real pipes and sockets.

#![expect(clippy::expect_used, clippy::panic, reason = "what fails here ends its test")]

mod answers;
mod bounds;
mod fixture;
mod http;
mod isolation;
mod life;
mod oversized;
mod stdio;
mod tasks;
