//! Cases from practice with servers, servers files, workflow files and values (`tests/cases/README.md`).
//!
//! Each folder of `tests/cases` has a workflow, a servers file, and mostly a server. Each test runs the built `longshore` on one
//! folder, as a user would, and checks the result that a user expects.

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
