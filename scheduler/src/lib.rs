//! The scheduler: from submits to the log, and from the log to jobs.
//!
//! ```text
//!  client ──submit──► Intake ──Submitted──► LOG ──Record──► Machine ──Dispatch──► JOBS ──► worker
//!                                            ▲               (pure)                          │
//!                                            └───────────── Fired, Settled ──────────────────┘
//! ```
//!
//! [`Intake`] checks submits and appends them. [`SubmitHandler`] does the same for workflows that a client names, with
//! limits; submits reach it as requests ([`RequestHandlers`]) and as published messages ([`Ingest`]).
//! [`Machine`](longshore_machine::Machine) decides, without I/O. [`Driver`] leads one partition: it reads the log, applies it
//! to the machine, and performs the effects in order; [`PartitionReader`] reads only. Calls are made by workers alone.

mod api;
mod audit;
mod backpressure;
mod blocking;
mod checkpointer;
mod driver;
mod ingest;
mod intake;
mod log_follower;
mod node;
mod outputs;
mod partition_reader;
mod payload;
mod recovery;
mod refusal;
mod registry;
mod retry;
mod run_metrics;
mod seen_versions;
mod submit;
mod submit_request;
mod trace;
mod value_count;

pub use api::{Api, ApiRequest, ErrorResponse, RequestHandlers, Verb};
pub use backpressure::Backpressure;
pub use driver::{Driver, LeadershipEnd};
pub use ingest::Ingest;
pub use intake::{Intake, SubmitError};
pub use log_follower::DriverError;
pub use node::{Node, NodeConfig, PendingTakeover, PendingTakeovers};
pub use outputs::fill_outputs;
pub use partition_reader::PartitionReader;
pub use refusal::Refusal;
pub use run_metrics::{export_log_counters, export_zero_counters};
pub use submit::{SubmitHandler, SubmitReceipt};
pub use submit_request::SubmitRequest;
pub use value_count::TooManyValues;
