//! The ports: traits of storage and messaging that the scheduler and the worker depend on.
//!
//! Ports are named by role ([`RunLog`], [`JobQueue`], [`Checkpoints`], [`Claims`], [`Blobs`]). Their documentation is the
//! contract, and one test suite runs it against every set of adapters. Adapters are separate crates, named by technology.
//! Only the crate that composes processes depends on them.
//!
//! ```text
//!            scheduler                       worker
//!   RunLog  Checkpoints  JobQueue   ──────  JobQueue  Claims  Blobs  RunLog
//!      └──────────┴─────────┴───────────────────┴────────┴──────┴──────┘
//!            embedded (SQLite, memory)   or   nats and redis
//! ```
//!
//! The crate also contains what callers and adapters share: the [`clock`], the rate limit for log lines about [`outage`]s,
//! [`retry`], the [`NamespaceSemaphore`] of a bounded resource, long work [on a blocking thread](on_blocking_thread), and functions on addresses ([`is_loopback`], [`redact_addresses`]).

mod address;
mod backend;
mod blobs;
mod blocking;
mod call_updates;
mod catalog;
mod cause;
mod checkpoints;
mod claims;
pub mod clock;
mod error;
mod grants;
mod jobs;
mod lease;
mod log;
mod loopback;
pub mod outage;
pub mod retry;
mod run_query;
mod run_updates;
mod semaphore;
mod submissions;
mod submit_ids;
mod workflows;

pub use address::{blanked_addresses, redact_addresses};
pub use backend::Backend;
pub use blobs::Blobs;
pub use blocking::{LONG_WORK_BYTES, on_blocking_thread, run_by_size};
pub use call_updates::CallUpdates;
pub use catalog::{Catalog, WorkerEntry};
pub use cause::ErrorCause;
pub use checkpoints::{CheckpointDelta, Checkpoints, CommitResult, LoadedCheckpoint, RunRow};
pub use claims::{CLAIM_RETENTION, Claims};
pub use error::Error;
pub use grants::{GrantWaiter, GrantWaiters};
pub use jobs::{AckWaitExtender, Delivery, JobQueue, Receipt};
pub use lease::Lease;
pub use log::{ADMISSION_LIMIT_PERCENT, ENTRY_LIMIT_BYTES, LogEntry, LogReader, RunLog};
pub use loopback::is_loopback;
pub use run_query::{CursorError, PAGE_LIMIT, RunCursor, RunPage, RunPageBuilder, RunQuery, SCAN_LIMIT};
pub use run_updates::{ChangedRun, RunUpdate, RunUpdates};
pub use semaphore::{NamespacePermits, NamespaceSemaphore};
pub use submissions::{DeadLetter, DeadLetters, Incoming, Submissions};
pub use submit_ids::SubmitIds;
pub use workflows::{WorkflowVersion, Workflows};
