//! Log messages that a server sends (`notifications/message`): they go to our own log, with the server's name.

#![expect(deprecated, reason = "servers of today send them, whatever a later protocol has")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_proto::ServerName;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use serde_json::Value;
use tokio::time::Instant;

use super::config::Secrets;
use super::process::StderrTail;

/// Messages of one connection that are logged in a second; the rest is counted.
const MOST_A_SECOND: u32 = 50;
/// Characters of a message. A message is not a file.
const MOST_CHARS: usize = 1_000;
/// Bytes of a message that are looked at for secrets.
const MOST_BYTES: usize = 16 * 1024;

/// The log of one connection.
#[derive(Debug)]
pub(super) struct ServerLog {
    server: ServerName,
    secrets: Secrets,
    /// Shows the last lines in faults, for a server over stdio.
    tail: Option<Arc<StderrTail>>,
    second: Mutex<Second>,
}

#[derive(Debug)]
struct Second {
    began: Instant,
    logged: u32,
    dropped: u32,
}

impl ServerLog {
    /// A log in which nothing was written.
    pub(super) fn new(server: ServerName, secrets: Secrets, tail: Option<Arc<StderrTail>>) -> Self {
        let second = Mutex::new(Second { began: Instant::now(), logged: 0, dropped: 0 });
        Self { server, secrets, tail, second }
    }

    /// Writes a message.
    pub(super) fn write(&self, message: &LoggingMessageNotificationParam) {
        let (is_room, dropped) =
            self.second.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let server = &self.server;
        if dropped > 0 {
            tracing::warn!(%server, dropped, "the server logged more than is kept");
        }
        if !is_room {
            return;
        }
        let text = shown(&message.data, &self.secrets);
        let logger = message.logger.as_deref().map(|logger| shown(&Value::from(logger), &self.secrets));
        let logger = logger.unwrap_or_default();
        match message.level {
            LoggingLevel::Debug => tracing::debug!(%server, %logger, message = %text),
            LoggingLevel::Info | LoggingLevel::Notice => tracing::info!(%server, %logger, message = %text),
            LoggingLevel::Warning => tracing::warn!(%server, %logger, message = %text),
            _ => tracing::error!(%server, %logger, message = %text),
        }
        if let Some(tail) = &self.tail {
            tail.add_logged(&text);
        }
    }
}

impl Second {
    /// Takes room for one message. Returns whether there is any, and how many were dropped in the second that is over.
    fn take(&mut self, now: Instant) -> (bool, u32) {
        let mut dropped = 0;
        if now.duration_since(self.began) >= Duration::from_secs(1) {
            dropped = self.dropped;
            *self = Self { began: now, logged: 0, dropped: 0 };
        }
        let is_room = self.logged < MOST_A_SECOND;
        if is_room {
            self.logged += 1;
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        (is_room, dropped)
    }
}

/// A message as one line without secrets. Text stands as it is, everything else as JSON.
fn shown(data: &Value, secrets: &Secrets) -> String {
    let text = match data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = text.get(..text.floor_char_boundary(MOST_BYTES.min(text.len()))).unwrap_or_default();
    secrets
        .hide(text)
        .chars()
        .take(MOST_CHARS)
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_logged() {
        let now = Instant::now();
        let mut second = Second { began: now, logged: 0, dropped: 0 };
        let logged = (0..1_000).filter(|_| second.take(now).0).count();
        assert_eq!(logged, 50);
        assert_eq!(second.take(now + Duration::from_secs(1)), (true, 950));
        assert_eq!(second.take(now + Duration::from_secs(1)), (true, 0));
    }

    #[test]
    fn a_message_is_one_short_line_without_secrets() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        assert_eq!(shown(&json!("a\ns3cret-token"), &secrets), "a ***");
        assert_eq!(shown(&json!({"a": "s3cret-token"}), &secrets), "{\"a\":\"***\"}");
        assert_eq!(shown(&json!("x".repeat(100_000)), &secrets).len(), 1_000);
    }
}
