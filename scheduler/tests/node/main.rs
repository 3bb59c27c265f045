//! Schedulers among others, on the embedded backend: who leads what, and what becomes of runs meanwhile.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod breakage;
mod harness;
mod sharing;
