//! The subscriptions that the server refused or dropped for lack of a permission, by permission.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::denials::{permission, quoted_subject};

/// Number of permissions that are kept. A process subscribes to fewer than ten; the rest would be answers to inboxes.
const KEPT_PERMISSIONS: usize = 64;

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
    pub(super) async fn any(&self) {
        // The sender is a field of this value.
        let _ = self.0.subscribe().wait_for(|denied| !denied.is_empty()).await.map(|_| ());
    }

    /// Returns the last denied subject of each missing permission.
    pub(super) fn subjects(&self) -> BTreeMap<String, String> {
        let denied = self.0.borrow();
        denied.iter().map(|(permission, denied)| (permission.clone(), denied.subject.clone())).collect()
    }

    /// Returns true if one of these permissions was not denied since a moment.
    pub(super) fn is_any_given<'a>(
        &self,
        mut tried: impl Iterator<Item = &'a String>,
        since: Instant,
    ) -> bool {
        let denied = self.0.borrow();
        tried.any(|permission| denied.get(permission).is_none_or(|denied| denied.last < since))
    }
}

/// Returns the permission that a subscription needs. The micro service subscribes to several subjects of `$SRV`.
fn missing_permission(subject: &str) -> String {
    match subject.split_once('.') {
        Some(("$SRV", _)) => "$SRV.>".to_owned(),
        _ => permission(subject),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

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
        advance(Duration::from_millis(1)).await;
        let began = Instant::now();
        denied.record(dropped);
        assert!(!denied.is_any_given(["longshore.v1.grant.*".to_owned()].iter(), began));
        assert!(denied.is_any_given(denied.permissions().iter(), began), "`$SRV.>` was not denied again");
        denied.clear();
        assert_eq!(denied.permissions(), Vec::<String>::new());
    }
}
