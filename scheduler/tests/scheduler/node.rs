//! Several schedulers on one backend: assignment of partitions, takeover, and their runs meanwhile.
#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot continue has failed")]

mod failures;
mod harness;
mod sharing;
