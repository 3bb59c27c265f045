//! Events of a connection, as the client library reports them: made, lost, and refused by the server.

use async_nats::{ClientError, Event, ServerError};
use longshore_ports::outage;
use longshore_tls::is_about_certificates;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::denials;
use crate::denied_subscriptions::DeniedSubscriptions;

/// Keys of the outage log.
const RECONNECTING: &str = "connect to NATS again";
const LOG_IN: &str = "log in to NATS";

/// The last events of a connection, which its receivers watch.
#[derive(Clone, Default)]
pub(super) struct ConnectionEvents {
    /// Number of times that the connection was made.
    pub(super) connected: watch::Sender<u64>,
    /// The last permission that the server denied.
    pub(super) denied: watch::Sender<Option<String>>,
    pub(super) denied_subscriptions: DeniedSubscriptions,
    /// The reason why the last attempt to connect failed.
    pub(super) failure: watch::Sender<Option<String>>,
}

impl ConnectionEvents {
    /// Records an event and logs it.
    pub(super) fn record(&self, event: &Event) {
        match event {
            Event::Connected => {
                self.denied_subscriptions.clear();
                self.connected.send_modify(|count| *count += 1);
                self.failure.send_replace(None);
                [RECONNECTING, LOG_IN].iter().for_each(|key| _ = outage::record_success(key));
                info!("connected to NATS");
            }
            Event::ClientError(ClientError::Other(cause)) => {
                self.failure.send_replace(Some(cause.clone()));
                // The start of a process reports its failures itself.
                if *self.connected.borrow() > 0 {
                    log_failed_reconnect(cause);
                }
            }
            Event::Disconnected => warn!("lost the connection to NATS; reconnecting"),
            Event::SlowConsumer(subscription) => {
                warn!(subscription, "messages from NATS came faster than they were read; some were dropped");
            }
            Event::ServerError(ServerError::Other(cause)) if is_denial(cause) => {
                let permission = denials::record(cause).or_else(|| self.denied_subscriptions.record(cause));
                // The messages of a group are denied one by one.
                if permission.is_none_or(|permission| outage::record_failure(&format!("denied {permission}")))
                {
                    warn!(
                        cause,
                        "NATS denies this process a permission; give it to the user of this process"
                    );
                }
                self.denied.send_replace(Some(cause.clone()));
            }
            event => info!(%event, "NATS"),
        }
    }
}

/// Logs an attempt to reconnect that failed: when attempts begin to fail for this kind of cause, and once a minute.
fn log_failed_reconnect(cause: &str) {
    if is_refusal(cause) {
        if outage::record_failure(LOG_IN) {
            warn!(
                cause,
                "NATS refuses the user of this process, or its password; trying again until it accepts it"
            );
        }
    } else if outage::record_failure(RECONNECTING) {
        warn!(cause, "cannot connect to NATS; trying again until it works");
    }
}

/// Returns true if the reason of a failed attempt to connect is that the server refuses the user: `authorization violation`.
pub(super) fn is_refusal(cause: &str) -> bool {
    let cause = cause.to_ascii_lowercase();
    ["authorization violation", "authentication"].iter().any(|words| cause.contains(words))
        && !is_about_certificates(&cause)
}

/// Returns true if an error of the server says that a permission is missing: `Permissions Violation for Publish to
/// "..."`.
fn is_denial(cause: &str) -> bool {
    cause.to_ascii_lowercase().contains("permissions violation")
}
