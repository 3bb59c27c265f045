//! The client side of the protocol: declares the capabilities that the servers file allows, and passes notifications on.

#![expect(deprecated, reason = "servers may still ask for roots and log, and the trait has these types")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use longshore_proto::{PROGRESS_MESSAGE_CHARS, Progress};
use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, ErrorCode, ErrorData, FormElicitationCapability, Implementation, ListRootsResult,
    LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use rmcp::{ClientHandler, ClientLifecycleMode};
use serde_json::Value;
use tokio::sync::broadcast;

use super::config::Secrets;
use super::connection::ServerNotifications;
use super::elicitation::Elicitation;
use super::server_log::ServerLog;

/// Progress notifications that wait for a slow reader. Older ones are dropped, since the next one replaces them.
const PROGRESS_BUFFER: usize = 256;

/// Bytes of a progress message that are searched for secrets: enough for [`PROGRESS_MESSAGE_CHARS`], and cheap enough for a server
/// that reports progress thousands of times a second.
const SEARCHED_BYTES: usize = 1024;

/// The client of one connection.
pub(super) struct ClientSide {
    pub(super) notices: ServerNotifications,
    /// The newest version that can be offered in the handshake, or without one.
    offered: ProtocolVersion,
    elicitation: Elicitation,
    log: ServerLog,
    secrets: Secrets,
}

impl ClientSide {
    /// Creates the client side of a connection with this lifecycle.
    pub(super) fn new(
        mode: &ClientLifecycleMode,
        elicitation: Elicitation,
        log: ServerLog,
        secrets: Secrets,
    ) -> Self {
        let (progress, _) = broadcast::channel(PROGRESS_BUFFER);
        let notices = ServerNotifications { progress, tools_changed: Arc::new(AtomicBool::new(false)) };
        let offered = match mode {
            ClientLifecycleMode::Initialize => ProtocolVersion::LATEST_WITH_INITIALIZE,
            _ => ProtocolVersion::LATEST,
        };
        Self { notices, offered, elicitation, log, secrets }
    }
}

impl ClientHandler for ClientSide {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("longshore", env!("CARGO_PKG_VERSION"));
        let mut capabilities = ClientCapabilities::default();
        if self.elicitation == Elicitation::Defaults {
            let mut forms = ElicitationCapability::default();
            forms.form = Some(FormElicitationCapability::default());
            capabilities.elicitation = Some(forms);
        }
        ClientConfig::new(capabilities, us).with_protocol_version(self.offered.clone())
    }

    async fn on_progress(&self, notice: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let ProgressNotificationParam { progress_token, progress: done, total, message, .. } = notice;
        let message = message.map(|text| line(&text, &self.secrets)).filter(|line| !line.is_empty());
        // The send fails if no call waits, and then no call needs the notification.
        let _ = self.notices.progress.send((progress_token, Progress { done, total, message }));
    }

    async fn on_logging_message(
        &self,
        message: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.log.write(&message);
    }

    // The library's default declines, as if a user had answered, and the tool continues with that.
    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let params = serde_json::to_value(request).unwrap_or_default();
        match self.elicitation.content(&params) {
            Ok(content) => {
                Ok(ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(content)))
            }
            Err(_) => Err(ErrorData::invalid_params("no person answers questions here", None)),
        }
    }

    // The library's default answers with an empty list, although the capability was not declared.
    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "roots/list", None))
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.notices.tools_changed.store(true, Ordering::Relaxed);
    }
}

/// Returns the beginning of a message as one line, with secrets hidden.
fn line(message: &str, secrets: &Secrets) -> String {
    let beginning = message.get(..message.floor_char_boundary(SEARCHED_BYTES.min(message.len())));
    let beginning = beginning.unwrap_or_default();
    let shown = secrets.hide_cut(beginning, beginning.len() < message.len());
    let words = shown.split(|char: char| char.is_control() || char.is_whitespace());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(PROGRESS_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_message_is_one_short_line_without_secrets() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        assert_eq!(line(" page\n\t12 \u{1b}[2J of s3cret-token", &secrets), "page 12 [2J of ***");
        assert_eq!(line(&"x".repeat(100_000), &secrets).len(), PROGRESS_MESSAGE_CHARS);
        let cut = format!("{}s3cret-token", "\n".repeat(SEARCHED_BYTES - 6));
        assert_eq!(line(&cut, &secrets), "***", "a secret that the cut goes through is hidden");
    }
}
