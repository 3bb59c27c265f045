//! Dead letters: published submits that are refused for good, stored with the reason.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_ports::{DeadLetter, Incoming, clock, on_blocking_thread};
use longshore_proto::subject;
use longshore_workflow::Plan;
use serde_json::Value;
use tracing::info;

use super::deferred::log_deferred;
use super::masked::{self, StoredBody};
use super::{Ingest, acknowledge, decode};
use crate::audit::audit_refused;
use crate::blocking::SMALL_BYTES;
use crate::refusal::Refusal;
use crate::run_metrics;

/// Maximum number of bytes of a body, of headers, and of a reason in a dead letter: enough to recognise the submit, and
/// few enough that the dead letter always fits into a message.
const STORED_BYTES: usize = 8 * 1024;

impl Ingest {
    /// Stores a message that is refused for good, with the reason. Returns the message if it cannot be stored now.
    pub(super) async fn store_dead_letter(&self, refusal: &Refusal, message: Incoming) -> Option<Incoming> {
        let StoredBody { text, is_whole } = match self.stored_body(refusal, &message).await {
            Ok(body) => body,
            Err(refusal) => {
                log_deferred(&refusal, 1);
                return Some(message);
            }
        };
        let headers = first_headers(&message);
        let is_whole = is_whole && headers.len() == message.headers.len() && text.len() <= STORED_BYTES;
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
                audit_refused(&message.namespace, &message.workflow, refusal);
                info!(subject = letter.subject, reason = letter.reason, "submit refused");
                run_metrics::count_dead_letter(refusal);
                acknowledge(message.receipt).await;
                None
            }
            Err(error) => {
                log_deferred(&error.into(), 1);
                Some(message)
            }
        }
    }

    /// Returns the body of a message without values that may be secrets. Fails if the workflow cannot be looked up now.
    async fn stored_body(&self, refusal: &Refusal, message: &Incoming) -> Result<StoredBody, Refusal> {
        if matches!(refusal, Refusal::Poison { .. }) {
            // Neither the body nor the workflow is decoded: one of them may have ended schedulers.
            return Ok(StoredBody { text: decode::raw_text(message), is_whole: true });
        }
        let text = decode::text(message);
        let (text, body) = if text.len() <= SMALL_BYTES {
            let body = masked::decode_json(&text);
            (text, body)
        } else {
            on_blocking_thread(move || {
                let body = masked::decode_json(&text);
                (text, body)
            })
            .await
        };
        let version = body.as_ref().and_then(|body| body.get("version")).and_then(Value::as_str);
        let plan = self.plan_of(message, version).await?;
        let masked = plan.and_then(|plan| masked::without_secrets(body, &plan, &message.namespace));
        Ok(masked.unwrap_or(StoredBody { text, is_whole: true }))
    }

    /// Returns the plan of a message's workflow: of the version that the message names, or of the current one if that version
    /// is unknown. `None` if the workflow is unknown or its text is gone.
    async fn plan_of(&self, message: &Incoming, version: Option<&str>) -> Result<Option<Arc<Plan>>, Refusal> {
        let (Ok(namespace), Ok(workflow)) = (message.namespace.parse(), message.workflow.parse()) else {
            return Ok(None);
        };
        let registry = &self.submits.registry;
        let named = match registry.plan(&namespace, &workflow, version).await {
            Err(Refusal::UnknownVersion { .. } | Refusal::AmbiguousVersion { .. }) => {
                registry.plan(&namespace, &workflow, None).await
            }
            found => found,
        };
        match named {
            Ok(plan) => Ok(Some(plan)),
            Err(refusal) if refusal.is_temporary() => Err(refusal),
            Err(_) => Ok(None),
        }
    }
}

/// Returns the beginning of a body or a reason.
fn beginning(mut text: String) -> String {
    if text.len() > STORED_BYTES {
        text.truncate(text.floor_char_boundary(STORED_BYTES));
        text.push('…');
    }
    text
}

/// Returns the subject of a message. A subject that ended early has no token of a workflow.
fn subject_of(message: &Incoming) -> String {
    let tokens = [subject::ROOT, "submit", &message.namespace, &message.workflow];
    let tokens: Vec<_> = tokens.into_iter().filter(|token| !token.is_empty()).collect();
    tokens.join(".")
}

/// Returns the first headers of a message, up to [`STORED_BYTES`].
fn first_headers(message: &Incoming) -> BTreeMap<String, String> {
    let mut bytes = 0;
    let first = message.headers.iter().take_while(|(name, value)| {
        bytes += name.len() + value.len();
        bytes <= STORED_BYTES
    });
    first.cloned().collect()
}
