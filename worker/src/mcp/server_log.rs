//! Log messages that a server sends (`notifications/message`): they go to our own log, with the server's name.

#![expect(deprecated, reason = "servers of today send them, whatever a later protocol has")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longshore_proto::ServerName;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam};
use serde_json::Value;
use tokio::time::Instant;

use super::config::{LineMask, Secrets};
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
    /// Messages, each with its level and its logger.
    messages: Mutex<LineMask<(LoggingLevel, String)>>,
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
        Self { server, messages: Mutex::new(LineMask::new(secrets)), tail, second }
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
        let (text, is_cut) = text_of(&message.data);
        let logger = message.logger.clone().unwrap_or_default();
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = messages.push((message.level, logger), text, is_cut);
        for ((level, logger), text) in shown {
            self.say(level, &one_line(&messages.secrets().hide(&logger)), &one_line(&text));
        }
    }

    fn say(&self, level: LoggingLevel, logger: &str, text: &str) {
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
            self.say(level, &one_line(&messages.secrets().hide(&logger)), &one_line(&text));
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

/// A message as text, and true if its end was cut off. Text is kept as it is, everything else becomes JSON.
fn text_of(data: &Value) -> (String, bool) {
    let mut text = match data {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_cut = text.len() > MOST_BYTES;
    text.truncate(text.floor_char_boundary(MOST_BYTES));
    (text, is_cut)
}

/// The beginning of a text as one line.
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
    fn a_flood_is_counted_and_not_logged() {
        let now = Instant::now();
        let mut second = Second { began: now, logged: 0, dropped: 0 };
        let logged = (0..1_000).filter(|_| second.take(now).0).count();
        assert_eq!(logged, 50);
        assert_eq!(second.take(now + Duration::from_secs(1)), (true, 950));
        assert_eq!(second.take(now + Duration::from_secs(1)), (true, 0));
    }

    /// The messages as they are shown in faults.
    fn shown(messages: &[Value]) -> Vec<String> {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        secrets.add(&"l0ng-s3cret-".repeat(10));
        let server: ServerName = "s".parse().expect("a name");
        let tail = Arc::new(StderrTail::new(server.clone(), secrets.clone()));
        let log = ServerLog::new(server, secrets, Some(Arc::clone(&tail)));
        for data in messages {
            log.write(&LoggingMessageNotificationParam::new(LoggingLevel::Info, data.clone()));
        }
        drop(log);
        tail.as_suffix().lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn a_message_is_one_short_line_without_secrets() {
        assert_eq!(shown(&[json!("a\ns3cret-token")]), ["log: a ***"]);
        assert_eq!(shown(&[json!({"a": "s3cret-token"})]), ["log: {\"a\":\"***\"}"]);
        assert!(shown(&[json!("x".repeat(100_000))]).concat().len() <= 1_005);
        let cut = format!("{}{}", "\t".repeat(16 * 1024 - 12), "s3cret-token".repeat(2));
        assert!(!shown(&[json!(cut)]).concat().contains("s3c"));
    }

    #[test]
    fn a_secret_in_base64_that_goes_through_several_messages_is_not_shown() {
        let encoded = STANDARD.encode(format!("key: {}", "l0ng-s3cret-".repeat(10)));
        let lines = encoded.as_bytes().chunks(76).map(|line| json!(String::from_utf8_lossy(line)));
        let shown = shown(&lines.chain([json!("ready")]).collect::<Vec<_>>());
        let ready = "log: ready".to_owned();
        assert!(shown.contains(&ready) && shown.len() <= 4, "{shown:?}");
        for part in encoded.as_bytes()[8..].windows(6) {
            assert!(!shown.concat().contains(&*String::from_utf8_lossy(part)), "{shown:?}");
        }
        // What breaks off is hidden at the end.
        let first = String::from_utf8_lossy(&encoded.as_bytes()[..76]).into_owned();
        assert_eq!(self::shown(&[json!(first)]), [format!("log: {}***", &encoded[..7])]);
    }
}
