//! Log messages of a server (`notifications/message`), which are written to the worker's log with the server's name.

#![expect(deprecated, reason = "current servers send log messages, which a later protocol does not have")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_proto::ServerName;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use serde_json::Value;
use tokio::time::Instant;

use super::config::{LineMask, Secrets};
use super::process::OutputTail;

/// Messages of one connection that are logged within a second. Further ones are counted.
const MOST_A_SECOND: u32 = 50;
/// Characters of a message that are logged.
const MOST_CHARS: usize = 1_000;
/// Bytes of a message that are searched for secrets.
const MOST_BYTES: usize = 16 * 1024;

/// The log of one connection.
#[derive(Debug)]
pub(super) struct ServerLog {
    server: ServerName,
    /// Hides secrets in messages. The tag is the level and the logger of a message.
    messages: Mutex<LineMask<(LoggingLevel, String)>>,
    /// Receives the messages for faults, if the server runs over stdio.
    tail: Option<Arc<OutputTail>>,
    rate: Mutex<LogRate>,
}

/// Messages of the current second.
#[derive(Debug)]
struct LogRate {
    began: Instant,
    logged: u32,
    dropped: u32,
}

impl ServerLog {
    /// Creates an empty log.
    pub(super) fn new(server: ServerName, secrets: Secrets, tail: Option<Arc<OutputTail>>) -> Self {
        let rate = Mutex::new(LogRate { began: Instant::now(), logged: 0, dropped: 0 });
        Self { server, messages: Mutex::new(LineMask::new(secrets)), tail, rate }
    }

    /// Writes a message, unless the server logs too many.
    pub(super) fn write(&self, message: &LoggingMessageNotificationParam) {
        let (is_allowed, dropped) =
            self.rate.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let server = &self.server;
        if dropped > 0 {
            tracing::warn!(%server, dropped, "the server logs too much; dropped log messages");
        }
        if !is_allowed {
            return;
        }
        let (text, is_cut) = text_of(&message.data);
        let logger = message.logger.clone().unwrap_or_default();
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = messages.push((message.level, logger), text, is_cut);
        for ((level, logger), text) in shown {
            self.log(level, &one_line(&messages.secrets().hide(&logger)), &one_line(&text));
        }
    }

    fn log(&self, level: LoggingLevel, logger: &str, text: &str) {
        let server = &self.server;
        match level {
            LoggingLevel::Debug => tracing::debug!(%server, %logger, message = %text),
            LoggingLevel::Info | LoggingLevel::Notice => tracing::info!(%server, %logger, message = %text),
            LoggingLevel::Warning => tracing::warn!(%server, %logger, message = %text),
            _ => tracing::error!(%server, %logger, message = %text),
        }
        if let Some(tail) = &self.tail {
            tail.add_logged(text);
        }
    }
}

impl Drop for ServerLog {
    fn drop(&mut self) {
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        for ((level, logger), text) in messages.finish() {
            self.log(level, &one_line(&messages.secrets().hide(&logger)), &one_line(&text));
        }
    }
}

impl LogRate {
    /// Counts a message. Returns true if it may be logged, and the number of messages that were dropped in the last second, once.
    fn take(&mut self, now: Instant) -> (bool, u32) {
        let mut dropped = 0;
        if now.duration_since(self.began) >= Duration::from_secs(1) {
            dropped = self.dropped;
            *self = Self { began: now, logged: 0, dropped: 0 };
        }
        let is_allowed = self.logged < MOST_A_SECOND;
        if is_allowed {
            self.logged += 1;
        } else {
            self.dropped = self.dropped.saturating_add(1);
        }
        (is_allowed, dropped)
    }
}

/// Returns a message as text, and true if its end was cut off. A text is unchanged, any other value is written as JSON.
fn text_of(data: &Value) -> (String, bool) {
    let mut text = match data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_cut = text.len() > MOST_BYTES;
    text.truncate(text.floor_char_boundary(MOST_BYTES));
    (text, is_cut)
}

/// Returns the beginning of a text as one line.
fn one_line(text: &str) -> String {
    text.chars().take(MOST_CHARS).map(|char| if char.is_control() { ' ' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_beyond_the_rate_limit_are_counted() {
        let now = Instant::now();
        let mut rate = LogRate { began: now, logged: 0, dropped: 0 };
        let logged = (0..1_000).filter(|_| rate.take(now).0).count();
        assert_eq!(logged, 50);
        assert_eq!(rate.take(now + Duration::from_secs(1)), (true, 950));
        assert_eq!(rate.take(now + Duration::from_secs(1)), (true, 0));
    }

    /// Returns the messages as faults show them.
    fn shown(messages: &[Value]) -> Vec<String> {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        secrets.add(&"l0ng-s3cret-".repeat(10));
        let server: ServerName = "s".parse().expect("a name");
        let tail = Arc::new(OutputTail::new(server.clone(), secrets.clone()));
        let log = ServerLog::new(server, secrets, Some(Arc::clone(&tail)));
        for data in messages {
            log.write(&LoggingMessageNotificationParam::new(LoggingLevel::Info, data.clone()));
        }
        drop(log);
        tail.as_suffix().lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn message_is_logged_as_one_short_line_without_secrets() {
        assert_eq!(shown(&[json!("a\ns3cret-token")]), ["log: a ***"]);
        assert_eq!(shown(&[json!({"a": "s3cret-token"})]), ["log: {\"a\":\"***\"}"]);
        assert!(shown(&[json!("x".repeat(100_000))]).concat().len() <= 1_005);
        let cut = format!("{}{}", "\t".repeat(16 * 1024 - 12), "s3cret-token".repeat(2));
        assert!(!shown(&[json!(cut)]).concat().contains("s3c"));
    }

    #[test]
    fn secret_in_base64_across_several_messages_is_hidden() {
        let encoded = STANDARD.encode(format!("key: {}", "l0ng-s3cret-".repeat(10)));
        let lines = encoded.as_bytes().chunks(76).map(|line| json!(String::from_utf8_lossy(line)));
        let shown = shown(&lines.chain([json!("ready")]).collect::<Vec<_>>());
        let ready = "log: ready".to_owned();
        assert!(shown.contains(&ready) && shown.len() <= 4, "{shown:?}");
        for part in encoded.as_bytes()[8..].windows(6) {
            assert!(!shown.concat().contains(&*String::from_utf8_lossy(part)), "{shown:?}");
        }
        // A value that is incomplete at the end is hidden.
        let first = String::from_utf8_lossy(&encoded.as_bytes()[..76]).into_owned();
        assert_eq!(self::shown(&[json!(first)]), [format!("log: {}***", &encoded[..7])]);
    }
}
