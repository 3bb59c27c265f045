//! Why there is no connection to NATS that can be worked with.
//!
//! Every refusal names what was found and how to mend it. Only [`ConnectError::Unreachable`] may go away by itself,
//! and it is said only after the deadline.

use std::path::PathBuf;
use std::time::Duration;

use longshore_tls::FileError;

/// The oldest nats-server that keeps what it promises: older ones can orphan messages of a work queue (its pull
/// request 8623, released in 2.14.8 and 2.15.1).
pub const NEEDED_VERSION: &str = "2.14.8";

/// Why [`Nats::connect`](super::Nats::connect) gave up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answered within the deadline.
    #[error(
        "no NATS server answered at {urls} within {waited:?} ({cause}): start one there, or correct the URL"
    )]
    Unreachable {
        /// Where it was tried.
        urls: String,
        /// For how long.
        waited: Duration,
        /// What the last try met.
        cause: String,
    },
    /// A server answered and does not let us in.
    #[error(
        "NATS at {urls} refuses the connection ({cause}): give a user that is known there, by a credentials file or in the URL"
    )]
    Refused {
        /// Where.
        urls: String,
        /// What it said.
        cause: String,
    },
    /// The user lacks a permission.
    #[error(
        "NATS at {urls} does not allow this process what it needs ({cause}): give its user the permissions of its role, as \
         deploy/nats/accounts.conf has them, and the same `nats.inbox_prefix`"
    )]
    Denied {
        /// Where.
        urls: String,
        /// What it said.
        cause: String,
    },
    /// A scheduler has not created the streams yet.
    #[error(
        "NATS has no stream {name} after {waited:?}: start a scheduler, which creates the streams, or correct the URL"
    )]
    NoStreams {
        /// The stream.
        name: String,
        /// How long was waited.
        waited: Duration,
    },
    /// The credentials cannot be used.
    #[error("the credentials file {} cannot be used ({cause}): it should hold a user's JWT and seed, as `nsc generate creds` writes them", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A certificate, a key or a seed cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The server and this client do not agree on TLS.
    #[error(
        "NATS at {urls} and this client do not agree on TLS ({cause}): check `nats.ca`, and that the server's certificate names its host"
    )]
    Tls {
        /// Where.
        urls: String,
        /// What went wrong.
        cause: String,
    },
    /// A URL is no URL.
    #[error(
        "{url} is not the address of a NATS server ({cause}): it looks like nats://host:4222 or tls://host:4222"
    )]
    Url {
        /// Without what precedes the host: it may be a password.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The server is too old to be trusted with a work queue.
    #[error(
        "nats-server {found} is too old, and {needed} or newer is needed: upgrade it (2.15.1 is recommended)"
    )]
    TooOld {
        /// Its version.
        found: String,
        /// The oldest that will do.
        needed: &'static str,
    },
    /// The server, or the account, has no JetStream.
    #[error(
        "JetStream is not enabled at {urls} ({cause}): start nats-server with `-js`, or enable it in its configuration and for the account"
    )]
    NoJetStream {
        /// Where.
        urls: String,
        /// What it said.
        cause: String,
    },
    /// The cluster was set up with another number of logs.
    #[error(
        "the cluster has {found} partitions, and `partitions` is {ours} in this process: give every process the number of the cluster, which cannot be changed once there are runs"
    )]
    Partitions {
        /// How many the cluster has.
        found: String,
        /// How many this process was told.
        ours: String,
    },
    /// Something of that name is there, with other settings.
    #[error(
        "{what} is {found}, and {needed} is needed: change it (`nats stream edit`), or use another NATS account"
    )]
    Mismatch {
        /// The stream and the setting.
        what: String,
        /// As it is.
        found: String,
        /// As it has to be.
        needed: String,
    },
    /// Anything else.
    #[error(transparent)]
    Other(#[from] longshore_ports::Error),
}

/// Why a connection that was made cannot be relied on now.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// There is none at the moment; it is tried to get it back.
    #[error("the connection is lost")]
    Lost,
    /// It leads to another server by now, and that one will not do.
    #[error(transparent)]
    Server(#[from] ConnectError),
}
