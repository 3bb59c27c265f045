//! What people ask of a cluster: submits by plain publish, and requests to the micro service, on real servers; also when
//! these lose what they held.

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
