//! What everything stands on.
//!
//! Ports are named by role ([`RunLog`], [`JobQueue`], [`Checkpoints`], [`Claims`], [`Blobs`]); their documentation
//! is the contract, and one contract suite runs against every set of adapters. Adapters are named by technology and
//! are mentioned only where a process is composed.
//!
//! ```text
//!            scheduler                       worker
//!   RunLog  Checkpoints  JobQueue   ──────  JobQueue  Claims  Blobs  RunLog
//!      └──────────┴─────────┴───────────────────┴────────┴──────┴──────┘
//!                        embedded (SQLite + memory)
//! ```

mod address;
mod cause;
pub mod clock;
pub mod embedded;
pub mod nats;
pub mod outage;
mod port;
pub mod redis;
mod shares;
mod tls;

pub use address::shown_addresses;
pub use cause::Cause;
pub use port::api::{Api, Denied, Request, Verb};
pub use port::blobs::{BLOB_LIMIT_BYTES, Blobs};
pub use port::call_updates::CallUpdates;
pub use port::catalog::{Catalog, WorkerEntry};
pub use port::checkpoints::{Checkpoints, Committed, Delta, Loaded, RunRow};
pub use port::claims::{CLAIM_RETENTION, Claimed, Claims};
pub use port::error::Error;
pub use port::events::{Events, News};
pub use port::jobs::{Delivery, JobQueue, Queued, Receipt, Reminder};
pub use port::lease::Lease;
pub use port::log::{ENTRY_LIMIT_BYTES, Entry, LogReader, RunLog};
pub use port::run_query::{CursorError, PAGE_LIMIT, RunCursor, RunPage, RunQuery, SCAN_LIMIT};
pub use port::submissions::{DeadLetter, DeadLetters, Incoming, Submissions};
pub use port::submit_ids::SubmitIds;
pub use port::workflows::{Registered, Workflows};
pub use shares::{NamespaceShare, NamespaceShares};
pub use tls::{FileError, FileRole, TlsFiles, is_loopback};

use std::sync::Arc;

/// One set of adapters, ready for use: what a process is composed of.
#[derive(Clone)]
pub struct Backend {
    /// The truth.
    pub log: Arc<dyn RunLog>,
    /// Work on its way to workers.
    pub jobs: Arc<dyn JobQueue>,
    /// State, so that the log need not be read from its start.
    pub checkpoints: Arc<dyn Checkpoints>,
    /// Idempotency records.
    pub claims: Arc<dyn Claims>,
    /// Large values.
    pub blobs: Arc<dyn Blobs>,
}
