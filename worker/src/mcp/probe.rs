//! Observation of `server/discover`, by which a server is asked for its era.
//!
//! The library falls back to the handshake by itself, and then says only which version was chosen.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;

/// A transport that notes whether `server/discover` was answered by a result.
#[derive(Debug)]
pub(crate) struct ProbeWatch<T> {
    inner: T,
    /// The question, until it is answered.
    asked: Option<RequestId>,
    discovered: Discovered,
}

/// Flag that is set once the server has answered `server/discover` with a result.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovered(Arc<AtomicBool>);

impl Discovered {
    /// Returns true once the server has answered.
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<T> ProbeWatch<T> {
    /// Watches a transport.
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, asked: None, discovered: Discovered::default() }
    }

    /// Returns the flag, to be read once the connection is made.
    pub(crate) fn discovered(&self) -> Discovered {
        self.discovered.clone()
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for ProbeWatch<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Request(request) = &message
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
        {
            self.asked = Some(request.id.clone());
        }
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        let message = self.inner.receive().await;
        if let (Some(JsonRpcMessage::Response(response)), Some(asked)) = (&message, &self.asked)
            && response.id == *asked
        {
            self.discovered.0.store(true, Ordering::Relaxed);
            self.asked = None;
        }
        message
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
