//! Subscriptions that the server refused or dropped for lack of a permission.
//!
//! The server drops subscriptions when a permission is taken away, and reports that on the connection only. The client
//! library subscribes again when it connects and at no other time. So denied subscriptions are kept by permission, one of
//! each is tried again from time to time, and the connection is made again once one is accepted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::connection::Connection;
use super::denials::{permission, quoted_subject};

/// Number of permissions that are kept. A process subscribes to fewer than ten; the rest would be answers to inboxes.
const KEPT_PERMISSIONS: usize = 64;

/// Pause before denied subscriptions are tried again. Each attempt that is denied is one message in the log of the server.
const RETRY_PAUSE: Duration = Duration::from_secs(3);

/// Time in which the server reports that a subscription is denied.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

/// Time limit for a new connection after subscriptions are allowed again. Later ones are waited for by the client library.
const RECONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A subject whose subscription was denied.
#[derive(Clone, Debug)]
struct DeniedSubject {
    subject: String,
    last: Instant,
}

/// The denied subscriptions of a connection, by the missing permission, with the last denied subject of each.
#[derive(Clone, Debug)]
pub(super) struct DeniedSubscriptions(Arc<watch::Sender<BTreeMap<String, DeniedSubject>>>);

impl Default for DeniedSubscriptions {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::default()))
    }
}

impl DeniedSubscriptions {
    /// Records a denial in the words of the server: `Permissions Violation for Subscription to "longshore.v1.grant.w" (sid
    /// "7")`. Returns the missing permission.
    pub(super) fn record(&self, cause: &str) -> Option<String> {
        if !cause.to_ascii_lowercase().contains("for subscription to") {
            return None;
        }
        let subject = quoted_subject(cause)?.to_owned();
        let missing = missing_permission(&subject);
        self.0.send_modify(|denied| {
            if denied.len() < KEPT_PERMISSIONS || denied.contains_key(&missing) {
                denied.insert(missing.clone(), DeniedSubject { subject, last: Instant::now() });
            }
        });
        Some(missing)
    }

    /// Removes all denials. The server reports those that last after the client library has subscribed again.
    pub(super) fn clear(&self) {
        self.0.send_if_modified(|denied| !std::mem::take(denied).is_empty());
    }

    /// Returns the missing permissions.
    pub(super) fn permissions(&self) -> Vec<String> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Waits for a denied subscription.
    async fn any(&self) {
        // The sender is a field of this value.
        let _ = self.0.subscribe().wait_for(|denied| !denied.is_empty()).await.map(|_| ());
    }

    /// Returns true if one of these permissions was not denied since a moment.
    fn is_any_given(&self, tried: &[String], since: Instant) -> bool {
        let denied = self.0.borrow();
        tried.iter().any(|permission| denied.get(permission).is_none_or(|denied| denied.last < since))
    }
}

/// Returns the permission that a subscription needs. The micro service subscribes to several subjects of `$SRV`.
fn missing_permission(subject: &str) -> String {
    match subject.split_once('.') {
        Some(("$SRV", _)) => "$SRV.>".to_owned(),
        _ => permission(subject),
    }
}

/// Tries denied subscriptions again, and reconnects once the server accepts one. Runs for as long as the connection.
pub(super) async fn recover(connection: Connection) {
    loop {
        connection.denied_subscriptions.any().await;
        sleep(RETRY_PAUSE).await;
        if connection.client.connection_state() != State::Connected {
            continue;
        }
        let Some(given) = is_any_accepted(&connection).await else { continue };
        if !given {
            continue;
        }
        info!(
            "NATS allows a subscription again that it denied; reconnecting, which subscribes to all subjects"
        );
        let mut connected = connection.connected();
        if connection.client.force_reconnect().await.is_ok() {
            let _ = timeout(RECONNECT_LIMIT, connected.changed()).await;
        }
    }
}

/// Subscribes to the denied subjects. Returns true if the server accepts one, and `None` without a connection.
async fn is_any_accepted(connection: &Connection) -> Option<bool> {
    let denied = &connection.denied_subscriptions;
    let (tried, began) = (denied.0.borrow().clone(), Instant::now());
    let mut subscriptions = Vec::with_capacity(tried.len());
    for subject in tried.values() {
        subscriptions.push(connection.client.subscribe(subject.subject.clone()).await.ok()?);
    }
    // Messages to these subscriptions are dropped: those to the denied ones were lost as well.
    sleep(REPORT_LIMIT).await;
    drop(subscriptions);
    let permissions: Vec<String> = tried.into_keys().collect();
    Some(connection.client.connection_state() == State::Connected && denied.is_any_given(&permissions, began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn permission_counts_as_given_unless_it_was_denied_since() {
        let denied = DeniedSubscriptions::default();
        assert_eq!(denied.record(r#"Permissions Violation for Publish to "longshore.v1.grant.w""#), None);
        let dropped = r#"Permissions Violation for Subscription to "longshore.v1.grant.w" (sid "7")"#;
        assert_eq!(denied.record(dropped).as_deref(), Some("longshore.v1.grant.*"));
        let service = r#"Permissions Violation for Subscription to "$SRV.PING" using queue "q""#;
        assert_eq!(denied.record(service).as_deref(), Some("$SRV.>"));
        assert_eq!(denied.permissions(), ["$SRV.>", "longshore.v1.grant.*"]);
        sleep(RETRY_PAUSE).await;
        let began = Instant::now();
        denied.record(dropped);
        assert!(!denied.is_any_given(&["longshore.v1.grant.*".to_owned()], began));
        assert!(denied.is_any_given(&denied.permissions(), began), "`$SRV.>` was not denied again");
        denied.clear();
        assert_eq!(denied.permissions(), Vec::<String>::new());
    }
}
