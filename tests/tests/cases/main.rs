//! Field cases: what people meet in the wild with servers, servers files, workflow files and values (`tests/cases/README.md`).
//!
//! Each folder of `tests/cases` has a workflow and a servers file, and mostly a server. Each test runs the built `longshore` on one
//! folder, as a person would, and checks what a person expects there.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod answers;
mod expressions;
mod folder;
mod handshakes;
mod http;
mod lists;
mod processes;
mod servers_files;
mod table;
mod values;
mod workflow_files;
