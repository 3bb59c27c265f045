//! Publishes that the server denied for lack of a permission.
//!
//! The server reports a denial on the connection and not as an answer. The request would wait until its timeout, and would
//! look like one to a server that is away. So denials are recorded by subject, and a request that waits for an answer fails
//! when its own is denied. They are recorded for the process, which has one connection.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use longshore_ports::{Error, ErrorCause};
use longshore_proto::{WriterRole, subject};
use tokio::sync::watch;
use tokio::time::Instant;

/// Number of subjects that are kept: more than messages are in flight. All are dropped at the limit, and their requests time
/// out.
const KEPT_SUBJECTS: usize = 10_000;

/// Prefix of the subjects of acknowledgements, which continue with the stream, the consumer and numbers.
const ACKNOWLEDGEMENTS: &str = "$JS.ACK.";

/// Time for which a denial counts where no request reports it. The permission may be given at any time, so a publish is tried
/// again afterwards.
const RECENT: Duration = Duration::from_secs(30);

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
/// The first token names those of inboxes and of replies to other accounts: `_INBOX_worker.>`.
pub(super) fn permission(denied: &str) -> String {
    if let Some((first, _)) = denied.split_once('.')
        && first.starts_with('_')
    {
        return format!("{first}.>");
    }
    if denied.starts_with(ACKNOWLEDGEMENTS) {
        return format!("{ACKNOWLEDGEMENTS}>");
    }
    if let Some(writer) = subject::log_writer(denied) {
        return format!("{}.log.*.{writer}", subject::ROOT);
    }
    let kind = denied.strip_prefix(subject::ROOT).and_then(|rest| rest.strip_prefix('.')?.split('.').next());
    match kind {
        None => denied.to_owned(),
        Some("grant") => format!("{}.grant.*", subject::ROOT),
        Some(kind) => format!("{}.{kind}.>", subject::ROOT),
    }
}

/// Records a denial in the words of the server: `Permissions Violation for Publish to "longshore.v1.log.00.worker"`. Returns the
/// missing permission.
pub(super) fn record(cause: &str) -> Option<String> {
    if !cause.to_ascii_lowercase().contains("for publish to") {
        return None;
    }
    let subject = quoted_subject(cause)?;
    DENIALS.send_modify(|denials| {
        if denials.len() >= KEPT_SUBJECTS {
            denials.clear();
        }
        denials.insert(subject.to_owned(), Instant::now());
    });
    Some(permission(subject))
}

/// Returns the subject in the words of the server about a denial.
pub(super) fn quoted_subject(cause: &str) -> Option<&str> {
    cause.split('"').nth(1)
}

/// Returns the permissions for [unrecorded](is_unrecorded) publishes that were denied recently. The progress of calls is not among
/// them: workers do without that permission.
pub(super) fn recent_unrecorded() -> BTreeSet<String> {
    let now = Instant::now();
    let denials = DENIALS.borrow();
    let recent = denials.iter().filter(|(subject, at)| is_recent(**at, now) && is_unrecorded(subject));
    recent.map(|(subject, _)| permission(subject)).collect()
}

/// Returns true for the subject of a message whose denial shows in no record of requests: recalls, grants, updates of runs,
/// acknowledgements of deliveries, and answers to clients of other accounts have no answer. Appends of submits and of requests to
/// runs share the record of their log with those of its leader, which succeed.
fn is_unrecorded(denied: &str) -> bool {
    match denied.strip_prefix(subject::ROOT).and_then(|rest| rest.strip_prefix('.')) {
        Some(rest) => {
            subject::log_writer(denied) == Some(WriterRole::Submit)
                || ["recall.", "grant.", "evt."].iter().any(|kind| rest.starts_with(kind))
                    && !denied.ends_with(".call")
        }
        None => [ACKNOWLEDGEMENTS, "_R_."].iter().any(|prefix| denied.starts_with(prefix)),
    }
}

fn is_recent(denied_at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(denied_at) < RECENT
}

/// Fails with the missing permissions: those of `subscriptions`, and those for unrecorded publishes.
pub(super) fn require_none(subscriptions: &[String]) -> Result<(), Error> {
    let named = |action: &str, permissions: Vec<String>| match permissions.is_empty() {
        true => None,
        false => Some(format!("{action} to {}", permissions.join(", "))),
    };
    let publishes = recent_unrecorded().into_iter().collect();
    let missing = [named("subscribe", subscriptions.to_vec()), named("publish", publishes)];
    let missing: Vec<String> = missing.into_iter().flatten().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lack = format!(
        "the user of this process lacks the permission to {} (deploy/nats/accounts.conf)",
        missing.join(", and to ")
    );
    Err(Error::transient("use NATS", lack).with_cause(ErrorCause::Denied))
}

/// Returns a receiver that changes with each denial.
pub(super) fn subscribe() -> watch::Receiver<BTreeMap<String, Instant>> {
    DENIALS.subscribe()
}

/// Returns true if a publish on a subject that begins like this was denied recently.
pub(super) fn is_denied(prefix: &str) -> bool {
    let now = Instant::now();
    DENIALS.borrow().iter().any(|(subject, at)| subject.starts_with(prefix) && is_recent(*at, now))
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
        let log = "longshore.v1.log.90.worker";
        assert_eq!(record(r#"Permissions Violation for Subscription to "longshore.v1.log.90.worker""#), None);
        assert!(find(log, sent_at).is_none());
        let named = record(r#"Permissions Violation for Publish to "longshore.v1.log.90.worker""#);
        assert_eq!(named.as_deref(), Some("longshore.v1.log.*.worker"));
        assert!(denied(log, sent_at).await.to_string().contains("publish to longshore.v1.log.*.worker "));
        assert!(find(log, Instant::now()).is_none(), "an earlier denial says nothing about a later publish");
        assert_eq!(permission("$JS.API.CONSUMER.CREATE.LS_JOBS.a"), "$JS.API.CONSUMER.CREATE.LS_JOBS.a");
        assert_eq!(permission("_INBOX_worker.abc.7"), "_INBOX_worker.>");
    }

    #[tokio::test(start_paused = true)]
    async fn denial_of_a_publish_without_a_record_counts_for_a_while() {
        let subjects = [
            "longshore.v1.grant.w",
            "longshore.v1.log.00.submit",
            "longshore.v1.evt.a.w.r.call",
            "$JS.ACK.LS_JOBS.a.1",
            "_R_.abc.d",
        ];
        for subject in subjects {
            record(&format!("Permissions Violation for Publish to \"{subject}\""));
        }
        let missing = recent_unrecorded();
        for permission in ["longshore.v1.grant.*", "longshore.v1.log.*.submit", "$JS.ACK.>", "_R_.>"] {
            assert!(missing.contains(permission), "{permission}: {missing:?}");
        }
        assert!(!missing.contains("longshore.v1.evt.>"), "workers do without it");
        assert!(is_denied("longshore.v1.evt."));
        tokio::time::advance(RECENT).await;
        assert!(!is_denied("longshore.v1.evt."));
        assert!(!recent_unrecorded().contains("longshore.v1.grant.*"));
    }
}
