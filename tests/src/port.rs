//! Places for servers to listen at.

#![expect(clippy::panic, reason = "a machine without a free port has failed the test")]

use std::net::{SocketAddr, TcpListener};

/// An address on loopback whose port was free a moment ago.
///
/// # Panics
/// When there is none.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.unwrap_or_else(|error| panic!("no free port: {error}"))
}
