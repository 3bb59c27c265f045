//! A request under way, which does not outlive the interest in it.
//!
//! Whoever stops waiting (a deadline, a cancelled run, a dropped future) drops the flight, and the server is told. The
//! library does so only for some of its own calls.

use std::time::Duration;

use rmcp::ServiceError;
use rmcp::model::{RequestId, ServerResult};
use rmcp::service::{RequestHandle, RoleClient};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::wire::Requests;

/// How long telling a server to stop may take: a pipe may be full.
pub(super) const CANCEL: Duration = Duration::from_secs(1);

/// A request under way. Dropped without an answer, it is cancelled at the server.
pub(super) struct Flight {
    handle: Option<RequestHandle<RoleClient>>,
    id: RequestId,
    requests: Requests,
    cancels: TaskTracker,
}

impl Flight {
    /// A request that has been handed over; telling the server runs among `cancels`.
    pub(super) fn new(handle: RequestHandle<RoleClient>, requests: Requests, cancels: TaskTracker) -> Self {
        Self { id: handle.id.clone(), handle: Some(handle), requests, cancels }
    }

    /// Its id.
    pub(super) const fn id(&self) -> &RequestId {
        &self.id
    }

    /// Its answer.
    pub(super) async fn answer(&mut self) -> Result<ServerResult, ServiceError> {
        let answer = match self.handle.as_mut() {
            Some(handle) => (&mut handle.rx).await.unwrap_or(Err(ServiceError::TransportClosed)),
            None => Err(ServiceError::TransportClosed),
        };
        self.handle = None;
        answer
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Without a runtime everything is going down, the server with it.
        if let Some(handle) = self.handle.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let cancel = async move {
                let _ = timeout(CANCEL, handle.cancel(Some("nobody waits for it any more".to_owned()))).await;
            };
            self.cancels.spawn_on(cancel, &runtime);
        }
        self.requests.give_up(&self.id);
    }
}
