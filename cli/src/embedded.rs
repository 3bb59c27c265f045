//! Scheduler and worker in one process, on one data directory that other processes may share. With its submodules this is
//! the only place that names the embedded adapters.
//!
//! ```text
//! open ──► OpenDataDir ──start──► LocalProcess ──stop──► worker drained, drivers stopped ──end──► servers and store closed
//!   take_over               (worker, drivers running)
//! ```
//!
//! Nothing is executed before `start`: until then the caller can read the interrupted runs, and refuse to continue before
//! any call is made. Each process leads its own partitions.

mod local_updates;
mod open_data_dir;
mod open_failure;
mod process;
mod read_only;
mod stored_run;
mod survey;

pub(crate) use longshore_embedded::{Holder, RunWatch};

pub(crate) use self::open_data_dir::OpenDataDir;
pub(crate) use self::process::{DRAIN, LocalProcess};
pub(crate) use self::read_only::ReadOnlyDataDir;
pub(crate) use self::stored_run::{namespace, stored, stored_state};
pub(crate) use self::survey::PartitionSurvey;
