//! The ports: what the scheduler and the worker ask of the outside, by role.

pub(crate) mod api;
pub(crate) mod blobs;
pub(crate) mod call_updates;
pub(crate) mod catalog;
pub(crate) mod checkpoints;
pub(crate) mod claims;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod lease;
pub(crate) mod log;
pub(crate) mod run_query;
pub(crate) mod submissions;
pub(crate) mod submit_ids;
pub(crate) mod workflows;
