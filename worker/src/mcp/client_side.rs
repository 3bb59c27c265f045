//! The client side of the protocol: it declares no capability but what the servers file allows, and passes notifications on.

#![expect(deprecated, reason = "servers may still ask for roots and log, and the trait has these types")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ElicitationAction,
    ElicitationCapability, ErrorCode, ErrorData, FormElicitationCapability, Implementation, ListRootsResult,
    LoggingMessageNotificationParam, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use rmcp::{ClientHandler, ClientLifecycleMode};
use serde_json::Value;
use tokio::sync::broadcast;

use super::connection::Notices;
use super::elicitation::Elicitation;
use super::server_log::ServerLog;

/// Progress notices that wait for a slow reader; a lost one costs nothing, the next one says the same.
const PROGRESS_BUFFER: usize = 256;

/// The client of one connection.
pub(super) struct ClientSide {
    pub(super) notices: Notices,
    /// The newest version that can be offered: without a handshake before it, or with one.
    offered: ProtocolVersion,
    elicitation: Elicitation,
    log: ServerLog,
}

impl ClientSide {
    /// The client side of a connection that begins in this way.
    pub(super) fn new(mode: &ClientLifecycleMode, elicitation: Elicitation, log: ServerLog) -> Self {
        let (progress, _) = broadcast::channel(PROGRESS_BUFFER);
        let notices = Notices { progress, tools_changed: Arc::new(AtomicBool::new(false)) };
        let offered = match mode {
            ClientLifecycleMode::Initialize => ProtocolVersion::LATEST_WITH_INITIALIZE,
            _ => ProtocolVersion::LATEST,
        };
        Self { notices, offered, elicitation, log }
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
        // Nobody may be listening any more.
        let _ = self.notices.progress.send((notice.progress_token, notice.progress));
    }

    async fn on_logging_message(
        &self,
        message: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.log.write(&message);
    }

    // The library would decline in the name of the user, whom nobody asked, and the tool would go on.
    async fn create_elicitation(
        &self,
        asked: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let params = serde_json::to_value(asked).unwrap_or_default();
        match self.elicitation.content(&params) {
            Ok(content) => {
                Ok(ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(content)))
            }
            Err(_) => Err(ErrorData::invalid_params("no person answers questions here", None)),
        }
    }

    // The library would say that there are none; what was not declared is refused.
    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "roots/list", None))
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.notices.tools_changed.store(true, Ordering::Relaxed);
    }
}
