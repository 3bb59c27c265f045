//! TCP ports that belong to one process of this harness until it lets them go.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::error::StartError;

/// The number of ports to choose from: some hundred tests at once, each with some servers.
const PORTS: u16 = 8_000;

/// The first port that Linux gives to clients and to listeners that ask for any port, if the system does not say.
const FIRST_EPHEMERAL: u16 = 32_768;

/// The number of ports that this process has tried so far. A port that was let go is tried again only after all others, so
/// no client of the last server meets the next one.
static TRIED: AtomicU16 = AtomicU16::new(0);

/// A TCP port on which a server of this process can listen, be ended, and listen again.
///
/// The port is below those that the kernel hands out, so only a program that names it can take it. Every process of this
/// harness holds the UDP port of the same number as long as it uses the TCP port: a lock that the kernel keeps, for all
/// users of the machine, and that ends with its process. Keep this value until the server has ended.
#[derive(Debug)]
pub struct OwnedPort {
    number: u16,
    _lock: UdpSocket,
}

impl OwnedPort {
    /// Takes a port that no process uses.
    ///
    /// # Errors
    /// [`StartError::NoPort`] if all are in use.
    pub fn take() -> Result<Self, StartError> {
        let first = first_port();
        // Processes that start at the same time begin at different ports.
        let offset = u64::from(std::process::id()) * 61;
        for _ in 0..PORTS {
            let tried = u64::from(TRIED.fetch_add(1, Ordering::Relaxed));
            let index = u16::try_from((offset + tried) % u64::from(PORTS)).unwrap_or_default();
            if let Some(port) = Self::try_take(first + index) {
                return Ok(port);
            }
        }
        Err(StartError::NoPort { first, last: first + PORTS - 1 })
    }

    /// Takes this port, unless a process holds its lock or listens on it.
    fn try_take(number: u16) -> Option<Self> {
        let lock = UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
        // Another program may use the port without the lock: one that the user started.
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, number)).ok()?;
        Some(Self { number, _lock: lock })
    }

    /// Returns the number of the port.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Returns the address of the port on 127.0.0.1.
    pub const fn address(&self) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.number)
    }
}

/// Returns the first of [`PORTS`] ports that the kernel does not hand out by itself.
fn first_port() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first_ephemeral = range.split_whitespace().next().and_then(|number| number.parse().ok());
    first_below(first_ephemeral.unwrap_or(FIRST_EPHEMERAL))
}

/// Returns the first of the [`PORTS`] ports below the ephemeral ones. A system that hands out nearly all ports leaves no
/// room, and there the usual range is taken.
fn first_below(first_ephemeral: u16) -> u16 {
    let first_unprivileged = 1_024;
    let first = first_ephemeral.saturating_sub(PORTS);
    if first >= first_unprivileged { first } else { FIRST_EPHEMERAL - PORTS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_port_is_taken_once_and_can_be_listened_on() {
        let port = OwnedPort::take().expect("a port");
        assert!(OwnedPort::try_take(port.number()).is_none(), "it has an owner");
        for _ in 0..2 {
            assert!(TcpListener::bind(port.address()).is_ok(), "its owner can listen, and listen again");
        }
        let number = port.number();
        drop(port);
        assert!(OwnedPort::try_take(number).is_some(), "it was let go");
    }

    #[test]
    fn port_of_another_program_is_not_taken() {
        let number = OwnedPort::take().expect("a port").number();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).expect("it was free");
        assert!(OwnedPort::try_take(number).is_none());
    }

    #[test]
    fn ports_are_below_those_of_the_kernel() {
        assert_eq!((first_below(32_768), first_below(49_152)), (24_768, 41_152));
        assert_eq!(first_below(1_024), 24_768, "nothing is below");
        assert!(first_port() >= 1_024);
    }
}
