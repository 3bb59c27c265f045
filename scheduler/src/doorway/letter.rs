//! Submits that are refused for good: kept as dead letters, with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_ports::{DeadLetter, Incoming, clock};
use longshore_proto::subject;
use longshore_workflow::Plan;
use metrics::counter;
use serde_json::Value;
use tracing::info;

use super::deferred::log_deferred;
use super::masked::{self, KeptBody};
use super::{Doorway, acknowledge, order};
use crate::checks::{SMALL_BYTES, on_blocking_thread};
use crate::desk::{Refusal, audit};

/// How much of a refused message's body is kept, of its headers, and of the reason, in bytes: enough to recognise it by, and
/// little enough that all together can always be kept.
const KEPT_BYTES: usize = 8 * 1024;

impl Doorway {
    /// Keeps a message that is refused for good, with the reason. Returns the message if that is not possible now.
    pub(super) async fn bury(&self, refusal: &Refusal, message: Incoming) -> Option<Incoming> {
        let KeptBody { text, is_whole } = match self.body(refusal, &message).await {
            Ok(body) => body,
            Err(refusal) => {
                log_deferred(&refusal, 1);
                return Some(message);
            }
        };
        let headers = first_headers(&message);
        let is_whole = is_whole && headers.len() == message.headers.len() && text.len() <= KEPT_BYTES;
        let letter = DeadLetter {
            whole: is_whole,
            seq: 0,
            at: clock::now(),
            code: refusal.token().to_owned(),
            reason: beginning(refusal.to_string()),
            subject: subject_of(&message),
            headers,
            body: beginning(text),
        };
        match self.dead_letters.put(&letter).await {
            Ok(()) => {
                audit::refused(&message.namespace, &message.workflow, refusal);
                info!(subject = letter.subject, reason = letter.reason, "submit refused");
                counter!("longshore_dlq_messages_total", "reason" => refusal.token()).increment(1);
                acknowledge(message.receipt).await;
                None
            }
            Err(error) => {
                log_deferred(&error.into(), 1);
                Some(message)
            }
        }
    }

    /// The body of a message, without values that may be secrets of its workflow. An error says that the workflow cannot be
    /// looked up now.
    async fn body(&self, refusal: &Refusal, message: &Incoming) -> Result<KeptBody, Refusal> {
        if matches!(refusal, Refusal::Poison { .. }) {
            // Neither the body nor the workflow is read: one of them may be what schedulers ended by.
            return Ok(KeptBody { text: order::raw_text(message), is_whole: true });
        }
        let came = order::text(message);
        let (came, read) = if came.len() <= SMALL_BYTES {
            let read = masked::read(&came);
            (came, read)
        } else {
            on_blocking_thread(move || {
                let read = masked::read(&came);
                (came, read)
            })
            .await
        };
        let version = read.as_ref().and_then(|body| body.get("version")).and_then(Value::as_str);
        let plan = self.plan_of(message, version).await?;
        let kept = plan.and_then(|plan| masked::without_secrets(read, &plan));
        Ok(kept.unwrap_or(KeptBody { text: came, is_whole: true }))
    }

    /// The plan of the workflow that a message names: of the version that it names, or of the current one if there is no such
    /// version. `None` if the workflow is unknown or its text is gone.
    async fn plan_of(&self, message: &Incoming, version: Option<&str>) -> Result<Option<Arc<Plan>>, Refusal> {
        let (Ok(namespace), Ok(workflow)) = (message.namespace.parse(), message.workflow.parse()) else {
            return Ok(None);
        };
        let named = match self.desk.plan(&namespace, &workflow, version).await {
            Err(Refusal::UnknownVersion { .. } | Refusal::AmbiguousVersion { .. }) => {
                self.desk.plan(&namespace, &workflow, None).await
            }
            found => found,
        };
        match named {
            Ok(plan) => Ok(Some(plan)),
            Err(refusal) if refusal.may_pass() => Err(refusal),
            Err(_) => Ok(None),
        }
    }
}

/// The beginning of a body, or of a reason.
fn beginning(mut text: String) -> String {
    if text.len() > KEPT_BYTES {
        text.truncate(text.floor_char_boundary(KEPT_BYTES));
        text.push('…');
    }
    text
}

/// The subject that a message came on. A workflow's token is missing where the subject ended before it.
fn subject_of(message: &Incoming) -> String {
    let tokens = [subject::ROOT, "submit", &message.namespace, &message.workflow];
    let tokens: Vec<_> = tokens.into_iter().filter(|token| !token.is_empty()).collect();
    tokens.join(".")
}

/// As many headers of a message as are kept.
fn first_headers(message: &Incoming) -> BTreeMap<String, String> {
    let mut bytes = 0;
    let first = message.headers.iter().take_while(|(name, value)| {
        bytes += name.len() + value.len();
        bytes <= KEPT_BYTES
    });
    first.cloned().collect()
}
