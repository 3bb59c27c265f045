//! Ports for servers and listeners that a test starts.

#![expect(clippy::panic, reason = "a machine without a free port has failed the test")]

pub use longshore_harness::OwnedPort;

/// Takes a port on 127.0.0.1. No other process of the tests gets it before the value is dropped.
///
/// # Panics
/// When no port is free.
pub fn take_port() -> OwnedPort {
    OwnedPort::take().unwrap_or_else(|error| panic!("{error}"))
}
