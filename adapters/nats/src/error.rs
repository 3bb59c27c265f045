//! Errors of connecting to NATS.
//!
//! Every error says what was found and how to fix it. Only [`ConnectError::Unreachable`] may go away by itself, and it
//! is reported only after the deadline.

use std::path::PathBuf;
use std::time::Duration;

use longshore_ports::ErrorCause;
use longshore_tls::FileError;

/// Oldest supported nats-server. Older ones can orphan messages of a work queue (its pull request 8623, released in
/// 2.14.8 and 2.15.1).
pub const NEEDED_VERSION: &str = "2.14.8";

/// The reason why [`Nats::connect`](super::Nats::connect) failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No server answered within the deadline.
    #[error(
        "no NATS server answered at {urls} within {waited:?} ({cause}): start one there, or correct the URL{}",
        tls_hint(cause)
    )]
    Unreachable {
        /// Addresses of the servers.
        urls: String,
        /// Length of the wait.
        waited: Duration,
        /// Error of the last attempt.
        cause: String,
    },
    /// A server answered and refused the user.
    #[error(
        "NATS at {urls} refuses the connection ({cause}): give a user that is known there, by a credentials file or in the URL"
    )]
    Refused {
        /// Addresses of the servers.
        urls: String,
        /// The server's answer.
        cause: String,
    },
    /// The user lacks a permission.
    #[error(
        "NATS at {urls} does not allow this process what it needs ({cause}): give its user the permissions of its role, as \
         deploy/nats/accounts.conf has them, and the same `nats.inbox_prefix`"
    )]
    Denied {
        /// Addresses of the servers.
        urls: String,
        /// The server's words.
        cause: String,
    },
    /// No scheduler has created the streams yet.
    #[error(
        "NATS has no stream {name} after {waited:?}: start a scheduler, which creates the streams, or correct the URL"
    )]
    NoStreams {
        /// The first stream that is missing.
        name: String,
        /// Length of the wait.
        waited: Duration,
    },
    /// The credentials file cannot be used.
    #[error("the credentials file {} cannot be used ({cause}): it should hold a user's JWT and seed, as `nsc generate creds` writes them", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The reason.
        cause: String,
    },
    /// A file with a certificate, a key or a seed cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server and this client do not agree on TLS.
    #[error(
        "NATS at {urls} and this client do not agree on TLS ({cause}): check `nats.ca`, and that the server's certificate names its host"
    )]
    Tls {
        /// Addresses of the servers.
        urls: String,
        /// Error of the handshake.
        cause: String,
    },
    /// The address of a server cannot be parsed.
    #[error(
        "{url} is not the address of a NATS server ({cause}): it looks like nats://host:4222 or tls://host:4222"
    )]
    Url {
        /// The address without the part before the host, which may be a password.
        url: String,
        /// The reason.
        cause: String,
    },
    /// The server is too old for work queues that keep every message.
    #[error(
        "nats-server {found} is too old, and {needed} or newer is needed: upgrade it (2.15.1 is recommended)"
    )]
    TooOld {
        /// Version of the server.
        found: String,
        /// Oldest supported version.
        needed: &'static str,
    },
    /// The server, or the account, has no JetStream.
    #[error(
        "JetStream is not enabled at {urls} ({cause}): start nats-server with `-js`, or enable it in its configuration and for the account"
    )]
    NoJetStream {
        /// Addresses of the servers.
        urls: String,
        /// The server's answer.
        cause: String,
    },
    /// The cluster was set up with another number of partitions.
    #[error(
        "the cluster has {found} partitions, and `partitions` is {ours} in this process: give every process the number of the cluster, which cannot be changed once there are runs"
    )]
    Partitions {
        /// Number of partitions of the cluster.
        found: String,
        /// Number of partitions in the configuration of this process.
        ours: String,
    },
    /// A stream exists with other settings.
    #[error(
        "{what} is {found}, and {needed} is needed: change it (`nats stream edit`), or use another NATS account"
    )]
    Mismatch {
        /// The setting and its stream.
        what: String,
        /// Present value.
        found: String,
        /// Needed value.
        needed: String,
    },
    /// Another error.
    #[error(transparent)]
    Other(#[from] longshore_ports::Error),
}

/// Returns advice for a server that accepts connections and does not begin, as one that expects TLS first does.
fn tls_hint(cause: &str) -> &'static str {
    let cause = cause.to_lowercase();
    let is_silent = ["timed out", "end of file", "eof", "reset", "expected info"]
        .iter()
        .any(|words| cause.contains(words));
    if is_silent {
        "; if it expects TLS before anything else, write tls:// and set `handshake_first: auto` in its configuration"
    } else {
        ""
    }
}

/// The reason why an established connection cannot be used at this moment.
#[derive(Debug, thiserror::Error)]
pub enum UnusableConnection {
    /// The connection is lost, and the client library is reconnecting.
    #[error("the connection is lost")]
    Lost,
    /// The connection is lost, and an attempt to connect failed.
    #[error("the connection is lost ({cause})")]
    Unreachable {
        /// Error of the last attempt.
        cause: String,
    },
    /// The server refuses the user.
    #[error(
        "NATS refuses the user of this process, or its password ({cause}): correct either; it is tried again"
    )]
    Refused {
        /// The server's answer.
        cause: String,
    },
    /// After a reconnect it leads to a server that cannot be used.
    #[error(transparent)]
    Server(#[from] ConnectError),
}

impl UnusableConnection {
    /// Returns the class of the cause.
    pub const fn cause(&self) -> ErrorCause {
        match self {
            Self::Refused { .. } => ErrorCause::Denied,
            Self::Lost | Self::Unreachable { .. } => ErrorCause::Unavailable,
            Self::Server(_) => ErrorCause::Other,
        }
    }
}
