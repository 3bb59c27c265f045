//! The ports: what the scheduler and the worker ask of storage and messaging.
//!
//! Ports are named by role ([`RunLog`], [`JobQueue`], [`Checkpoints`], [`Claims`], [`Blobs`]); their documentation
//! is the contract, and one contract suite runs against every set of adapters. Adapters are crates of their own, named by
//! technology, and only a process that is composed of them depends on them.
//!
//! ```text
//!            scheduler                       worker
//!   RunLog  Checkpoints  JobQueue   ──────  JobQueue  Claims  Blobs  RunLog
//!      └──────────┴─────────┴───────────────────┴────────┴──────┴──────┘
//!            embedded (SQLite, memory)   or   nats and redis
//! ```
//!
//! Beside the traits there are a few small things that both sides of them need: the [`clock`], the log of [`outage`]s, [`retry`], the
//! [`NamespaceShares`] of a bounded resource, and what is known of addresses ([`is_loopback`], [`shown_addresses`]).

mod address;
mod backend;
mod blobs;
mod call_updates;
mod catalog;
mod cause;
mod checkpoints;
mod claims;
pub mod clock;
mod error;
mod jobs;
mod lease;
mod log;
mod loopback;
pub mod outage;
pub mod retry;
mod run_query;
mod run_updates;
mod shares;
mod submissions;
mod submit_ids;
mod workflows;

pub use address::{blanked_addresses, shown_addresses};
pub use backend::Backend;
pub use blobs::Blobs;
pub use call_updates::CallUpdates;
pub use catalog::{Catalog, WorkerEntry};
pub use cause::Cause;
pub use checkpoints::{Checkpoints, Committed, Delta, Loaded, RunRow};
pub use claims::{CLAIM_RETENTION, Claims};
pub use error::Error;
pub use jobs::{Delivery, JobQueue, Receipt, Reminder};
pub use lease::Lease;
pub use log::{ENTRY_LIMIT_BYTES, Entry, LogReader, RunLog};
pub use loopback::is_loopback;
pub use run_query::{CursorError, PAGE_LIMIT, PageBuilder, RunCursor, RunPage, RunQuery, SCAN_LIMIT};
pub use run_updates::{ChangedRun, RunUpdate, RunUpdates};
pub use shares::{NamespaceShare, NamespaceShares};
pub use submissions::{DeadLetter, DeadLetters, Incoming, Submissions};
pub use submit_ids::SubmitIds;
pub use workflows::{Registered, Workflows};
