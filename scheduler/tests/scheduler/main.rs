//! The scheduler on the embedded backend: leadership, recovery, updates and recalls. The tests act as the worker.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

mod intake;
mod leading;
mod memory;
mod node;
mod partition_reader;
mod recalls;
mod run_updates;
mod takeover;
mod worker;
