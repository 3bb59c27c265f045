//! From the log to jobs.
//!
//! ```text
//!  client ──submit──► Intake ──Submitted──► LOG ──Record──► Machine ──Dispatch──► JOBS ──► worker
//!                                            ▲               (pure)                          │
//!                                            └───────────── Fired, Settled ──────────────────┘
//! ```
//!
//! [`Intake`] checks what comes in and appends it. [`Machine`] decides, purely. [`Driver`] leads one partition: it
//! reads the log, asks the machine, and performs what follows, in order; [`Observed`] reads and asks only. Nothing here knows how a call is made.

mod driver;
mod fold;
mod intake;
mod machine;
mod observed;
mod recovery;
mod saver;
mod watchers;

pub use driver::{Driver, Ended};
pub use fold::DriverError;
pub use intake::{Intake, Submission, SubmitError};
pub use machine::{Drained, Effect, Effects, Machine, Needs, Refused, RestoreError, Run, STATE_VERSION};
pub use observed::Observed;
pub use watchers::{Watch, Watchers};
