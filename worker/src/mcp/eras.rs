//! The eras of the protocol: the handshake era (2025-11-25 and older), and the stateless era (2026-07-28 and newer).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_proto::ServerName;
use rmcp::model::ProtocolVersion;

/// Servers that are known to speak the handshake era, so that they get no further `server/discover`. At most as many as the
/// servers file has.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownEras(Arc<Mutex<BTreeSet<ServerName>>>);

impl KnownEras {
    /// Returns true if a server is known to speak the handshake era.
    pub(super) fn is_handshake(&self, server: &ServerName) -> bool {
        self.servers().contains(server)
    }

    /// Records the era of a server. After a failed connection the caller passes false: the server may have been replaced.
    pub(super) fn note_handshake(&self, server: &ServerName, is_handshake: bool) {
        if is_handshake {
            self.servers().insert(server.clone());
        } else {
            self.servers().remove(server);
        }
    }

    fn servers(&self) -> MutexGuard<'_, BTreeSet<ServerName>> {
        // No code that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns why a connection with this protocol version cannot be used: the version is unknown, or it has no handshake and was
/// the answer to a handshake. `discovered` means that the server answered `server/discover`.
pub(super) fn version_problem(version: &str, is_modern: bool, discovered: bool) -> Option<String> {
    let known: Vec<&str> = ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
    if !known.contains(&version) {
        let known = known.join(", ");
        return Some(format!("the server chose protocol version {version:?}, and Longshore speaks {known}"));
    }
    (is_modern && !discovered)
        .then(|| format!("the server answered the handshake with protocol version {version}, which has none"))
}
