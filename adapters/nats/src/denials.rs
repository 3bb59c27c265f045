//! Publishes that the server denied for lack of a permission.
//!
//! The server reports a denial on the connection and not as an answer. The request would wait until its timeout, and would
//! look like one to a server that is away. So denials are recorded by subject, and a request that waits for an answer fails
//! when its own is denied. They are recorded for the process, which has one connection.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use longshore_proto::subject;
use tokio::sync::watch;
use tokio::time::Instant;

/// Number of subjects that are kept: more than messages are in flight. All are dropped at the limit, and their requests time
/// out.
const KEPT_SUBJECTS: usize = 10_000;

/// The denied subjects, with the time of the last denial.
static DENIALS: LazyLock<watch::Sender<BTreeMap<String, Instant>>> = LazyLock::new(watch::Sender::default);

/// A publish that the server denied.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the user of this process lacks the permission to publish to {permission} (deploy/nats/accounts.conf)"
)]
pub(super) struct PublishDenied {
    permission: String,
}

impl PublishDenied {
    fn of(subject: &str) -> Self {
        Self { permission: permission(subject) }
    }
}

/// Returns the permission that a publish needs: of subjects of Longshore with their ids replaced, so that the same
/// permission has one name. `longshore.v1.jobs.std.files.run_00_….it.1` becomes `longshore.v1.jobs.>`.
fn permission(denied: &str) -> String {
    let kind = denied.strip_prefix(subject::ROOT).and_then(|rest| rest.strip_prefix('.')?.split('.').next());
    kind.map_or_else(|| denied.to_owned(), |kind| format!("{}.{kind}.>", subject::ROOT))
}

/// Records a denial in the words of the server: `Permissions Violation for Publish to "longshore.v1.log.00"`. Returns the
/// missing permission.
pub(super) fn record(cause: &str) -> Option<String> {
    if !cause.to_ascii_lowercase().contains("for publish to") {
        return None;
    }
    let subject = cause.split('"').nth(1)?;
    DENIALS.send_modify(|denials| {
        if denials.len() >= KEPT_SUBJECTS {
            denials.clear();
        }
        denials.insert(subject.to_owned(), Instant::now());
    });
    Some(permission(subject))
}

/// Returns a receiver that changes with each denial.
pub(super) fn subscribe() -> watch::Receiver<BTreeMap<String, Instant>> {
    DENIALS.subscribe()
}

/// Returns true if a publish on a subject was denied.
pub(super) fn is_recorded(subject: &str) -> bool {
    DENIALS.borrow().contains_key(subject)
}

/// Returns the denial of a publish that was sent at `sent_at` or later.
pub(super) fn find(subject: &str, sent_at: Instant) -> Option<PublishDenied> {
    let denied_at = DENIALS.borrow().get(subject).copied();
    denied_at.filter(|at| *at >= sent_at).map(|_| PublishDenied::of(subject))
}

/// Waits until a publish that was sent at `sent_at` or later is denied; for ever if it is not. Safe to cancel.
pub(super) async fn denied(subject: &str, sent_at: Instant) -> PublishDenied {
    let mut denials = subscribe();
    let is_denied =
        |denials: &BTreeMap<String, Instant>| denials.get(subject).is_some_and(|at| *at >= sent_at);
    // The sender is static, so the wait ends with a denial only.
    let _ = denials.wait_for(is_denied).await.map(|_| ());
    PublishDenied::of(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn denial_of_the_same_subject_ends_a_wait() {
        let sent_at = Instant::now();
        let log = "longshore.v1.log.90";
        assert_eq!(record(r#"Permissions Violation for Subscription to "longshore.v1.log.90""#), None);
        assert!(find(log, sent_at).is_none());
        let named = record(r#"Permissions Violation for Publish to "longshore.v1.log.90""#);
        assert_eq!(named.as_deref(), Some("longshore.v1.log.>"));
        assert!(denied(log, sent_at).await.to_string().contains("publish to longshore.v1.log.> "));
        assert!(find(log, Instant::now()).is_none(), "an earlier denial says nothing about a later publish");
        assert_eq!(permission("$JS.API.CONSUMER.CREATE.LS_JOBS.a"), "$JS.API.CONSUMER.CREATE.LS_JOBS.a");
    }
}
