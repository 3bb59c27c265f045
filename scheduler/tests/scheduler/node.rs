//! Several schedulers on one backend: assignment of partitions, takeover, and their runs meanwhile.

mod failures;
mod harness;
mod sharing;
