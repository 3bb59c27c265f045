//! The client side of the protocol: it declares no capability, so a server has nothing to ask, and passes notifications on.

#![expect(deprecated, reason = "servers may still ask for roots, and the trait has the types of the answer")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::model::{
    ClientCapabilities, ClientConfig, ElicitRequestParams, ElicitResult, ErrorCode, ErrorData,
    Implementation, ListRootsResult, ProgressNotificationParam, ProtocolVersion,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use rmcp::{ClientHandler, ClientLifecycleMode};
use tokio::sync::broadcast;

use super::connection::Notices;

/// Progress notices that wait for a slow reader; a lost one costs nothing, the next one says the same.
const PROGRESS_BUFFER: usize = 256;

/// The client of one connection.
pub(super) struct ClientSide {
    pub(super) notices: Notices,
    /// The newest version that can be offered: without a handshake before it, or with one.
    offered: ProtocolVersion,
}

impl ClientSide {
    /// The client side of a connection that begins in this way.
    pub(super) fn new(mode: &ClientLifecycleMode) -> Self {
        let (progress, _) = broadcast::channel(PROGRESS_BUFFER);
        let notices = Notices { progress, tools_changed: Arc::new(AtomicBool::new(false)) };
        let offered = match mode {
            ClientLifecycleMode::Initialize => ProtocolVersion::LATEST_WITH_INITIALIZE,
            _ => ProtocolVersion::LATEST,
        };
        Self { notices, offered }
    }
}

impl ClientHandler for ClientSide {
    fn get_info(&self) -> ClientConfig {
        let us = Implementation::new("longshore", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), us).with_protocol_version(self.offered.clone())
    }

    async fn on_progress(&self, notice: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        // Nobody may be listening any more.
        let _ = self.notices.progress.send((notice.progress_token, notice.progress));
    }

    // The library would decline in the name of the user, whom nobody asked, and the tool would go on.
    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Err(ErrorData::invalid_params("no person answers questions here", None))
    }

    // The library would say that there are none; what was not declared is refused.
    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "roots/list", None))
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.notices.tools_changed.store(true, Ordering::Relaxed);
    }
}
