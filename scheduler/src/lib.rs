//! From the log to jobs.
//!
//! ```text
//!  client ──submit──► Intake ──Submitted──► LOG ──Record──► Machine ──Dispatch──► JOBS ──► worker
//!                                            ▲               (pure)                          │
//!                                            └───────────── Fired, Settled ──────────────────┘
//! ```
//!
//! [`Intake`] checks submits and appends them. [`Machine`](longshore_machine::Machine) decides, purely. [`Driver`] leads
//! one partition: it reads the log, asks the machine, and performs its effects in order; [`Observed`] reads and asks only.
//! Workers alone make calls.

mod api;
mod checks;
mod desk;
mod doorway;
mod driver;
mod fold;
mod intake;
mod meter;
mod node;
mod nodes;
mod observed;
mod observer;
mod pace;
mod recovery;
mod saver;
mod trace;
mod watchers;

pub use api::{Api, Denied, Request, Verb};
pub use desk::{Desk, Order, Refusal, Submitted};
pub use doorway::Doorway;
pub use driver::{Driver, Ended};
pub use fold::DriverError;
pub use intake::{Intake, Submission, SubmitError};
pub use meter::export_refusals;
pub use node::{Node, NodeConfig};
pub use observed::Observed;
pub use observer::{Announcer, Observer};
pub use pace::Pace;
pub use watchers::{Watch, Watchers};
