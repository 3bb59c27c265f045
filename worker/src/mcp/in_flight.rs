//! A request that is under way, and its cancellation when the caller stops waiting.
//!
//! A caller stops waiting at a deadline, when the run is cancelled, or when its future is dropped. Each of these drops the
//! request, which then cancels itself at the server. The MCP library does so for some of its own calls only.

use std::time::Duration;

use rmcp::ServiceError;
use rmcp::model::{RequestId, ServerResult};
use rmcp::service::{RequestHandle, RoleClient};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::wire::PendingRequests;

/// The longest time to send a cancellation: the pipe to the server may be full.
pub(super) const CANCEL_LIMIT: Duration = Duration::from_secs(1);

/// A request that is under way. Dropped without an answer, it is cancelled at the server.
pub(super) struct InFlightRequest {
    handle: Option<RequestHandle<RoleClient>>,
    id: RequestId,
    requests: PendingRequests,
    cancels: TaskTracker,
}

impl InFlightRequest {
    /// Creates the guard of a request that was handed to the library. The task that cancels it is tracked by `cancels`.
    pub(super) fn new(
        handle: RequestHandle<RoleClient>,
        requests: PendingRequests,
        cancels: TaskTracker,
    ) -> Self {
        Self { id: handle.id.clone(), handle: Some(handle), requests, cancels }
    }

    /// Returns the id of the request.
    pub(super) const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Waits for the answer.
    pub(super) async fn answer(&mut self) -> Result<ServerResult, ServiceError> {
        let answer = match self.handle.as_mut() {
            Some(handle) => (&mut handle.rx).await.unwrap_or(Err(ServiceError::TransportClosed)),
            None => Err(ServiceError::TransportClosed),
        };
        self.handle = None;
        answer
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and its servers with it.
        if let Some(handle) = self.handle.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let cancel = async move {
                let reason = "the caller stopped waiting".to_owned();
                let _ = timeout(CANCEL_LIMIT, handle.cancel(Some(reason))).await;
            };
            self.cancels.spawn_on(cancel, &runtime);
        }
        self.requests.give_up(&self.id);
    }
}
