//! Submits by plain publish and requests to a scheduler, on real servers, also while these are full or lose their data.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what does not answer has failed the test"
)]

mod full;
mod harness;
mod ids;
mod ingest;
mod lost;
mod namespaces;
mod service;
