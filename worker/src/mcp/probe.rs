//! How long a server may leave the question about its era unanswered.
//!
//! Servers of the handshake era answer `server/discover` with an error, but some ignore what they do not know. Without this
//! limit each of them would keep the first call of a worker waiting for the library's own ten seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::time::{Instant, sleep_until};

/// A server that runs answers a question without arguments in milliseconds. One that still starts reads the handshake after
/// the question, so nothing is lost by the error in between.
const PROBE_LIMIT: Duration = Duration::from_secs(3);

/// A transport that answers `server/discover` with an error in the place of a server that is silent for [`PROBE_LIMIT`].
#[derive(Debug)]
pub(crate) struct ProbeLimit<T> {
    inner: T,
    state: Probe,
    discovered: Discovered,
}

/// Whether the server has answered the question about its era, other than by an error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovered(Arc<AtomicBool>);

impl Discovered {
    /// Whether it has.
    pub(crate) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What has become of the question.
#[derive(Debug)]
enum Probe {
    /// It was not asked, or was answered by the server.
    Idle,
    /// It waits for an answer until then.
    Asked(RequestId, Instant),
    /// It was answered here: the server's own answer, if it comes, means nothing any more.
    Given(RequestId),
}

impl<T> ProbeLimit<T> {
    /// Limits the probe over a transport.
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, state: Probe::Idle, discovered: Discovered::default() }
    }

    /// What the server says to the question, once the connection is made.
    pub(crate) fn discovered(&self) -> Discovered {
        self.discovered.clone()
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for ProbeLimit<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Request(request) = &message
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
        {
            self.state = Probe::Asked(request.id.clone(), Instant::now() + PROBE_LIMIT);
        }
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message = match &self.state {
                Probe::Asked(id, limit) => tokio::select! {
                    message = self.inner.receive() => message,
                    () = sleep_until(*limit) => {
                        let id = id.clone();
                        self.state = Probe::Given(id.clone());
                        let text = format!("no answer to server/discover within {PROBE_LIMIT:?}");
                        let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, text, None);
                        return Some(JsonRpcMessage::error(error, Some(id)));
                    }
                },
                Probe::Idle | Probe::Given(_) => self.inner.receive().await,
            };
            let answered = match &message {
                Some(JsonRpcMessage::Response(response)) => Some(&response.id),
                Some(JsonRpcMessage::Error(error)) => error.id.as_ref(),
                _ => None,
            };
            match &self.state {
                Probe::Asked(id, _) if answered == Some(id) => {
                    let is_result = matches!(message, Some(JsonRpcMessage::Response(_)));
                    self.discovered.0.store(is_result, Ordering::Relaxed);
                    self.state = Probe::Idle;
                }
                Probe::Given(id) if answered == Some(id) => {
                    self.state = Probe::Idle;
                    continue;
                }
                _ => {}
            }
            return message;
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
