//! The eras of the protocol: with a handshake (2025-11-25 and older), and without state (2026-07-28).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use longshore_proto::ServerName;
use rmcp::model::ProtocolVersion;

/// Servers that turned out to be of the handshake era, so that they are not asked again. As many as the servers file names.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownEras(Arc<Mutex<BTreeSet<ServerName>>>);

impl KnownEras {
    /// Returns whether a server is known to be of the handshake era.
    pub(super) fn is_handshake(&self, server: &ServerName) -> bool {
        self.servers().contains(server)
    }

    /// Remembers whether a server is of the handshake era. After a failure nothing is known: it may have been replaced.
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

/// Returns why a connection of this version cannot be used: no version that is known, or one without a handshake as the answer
/// to a handshake. `discovered` says that the server was asked for its era and answered.
pub(super) fn mistake(version: &str, is_modern: bool, discovered: bool) -> Option<String> {
    let known: Vec<&str> = ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
    if !known.contains(&version) {
        let known = known.join(", ");
        return Some(format!("the server chose protocol version {version:?}, and Longshore speaks {known}"));
    }
    (is_modern && !discovered)
        .then(|| format!("the server answered the handshake with protocol version {version}, which has none"))
}
