//! The ports: what the scheduler and the worker ask of the outside, by role.

pub(crate) mod blobs;
pub(crate) mod checkpoints;
pub(crate) mod claims;
pub(crate) mod error;
pub(crate) mod jobs;
pub(crate) mod log;
