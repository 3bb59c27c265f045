//! The `server/discover` request, by which a client learns the era of a server.
//!
//! The library falls back to the handshake when the server refuses this request, waits long for a server that does not answer,
//! and reports only the chosen version. This transport observes the answer, and answers with a refusal itself after a short
//! time. A server that does not answer may still be starting, or ignore requests that it does not know; it gets the handshake
//! in either case.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, RequestId, ServerResult};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::time::{Instant, sleep_until};

/// Time for the answer to `server/discover`. The slowest common server answers one second after its start.
pub(super) const DISCOVER_LIMIT: Duration = Duration::from_secs(3);

/// A transport that observes `server/discover` and its answer.
#[derive(Debug)]
pub(crate) struct DiscoverWatch<T> {
    inner: T,
    /// Time for the answer. `None` means the library's own limit.
    limit: Option<Duration>,
    state: DiscoverState,
    outcome: DiscoverOutcome,
}

/// State of the request.
#[derive(Debug, Default)]
enum DiscoverState {
    /// The request was not sent, or was answered in time.
    #[default]
    Idle,
    /// The request was sent. It counts as refused at this time.
    Sent(RequestId, Option<Instant>),
    /// The request counted as refused. Its answer may still arrive.
    GivenUp(RequestId),
}

/// The observed answer to `server/discover`, shared with the transport.
#[derive(Clone, Debug, Default)]
pub(crate) struct DiscoverOutcome {
    in_time: Arc<AtomicBool>,
    late: Arc<AtomicBool>,
}

impl DiscoverOutcome {
    /// Returns true if the server answered with a result in time.
    pub(crate) fn is_answered(&self) -> bool {
        self.in_time.load(Ordering::Relaxed)
    }

    /// Returns true if the server answered with a result after the request was given up.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }
}

impl<T> DiscoverWatch<T> {
    /// Wraps a transport.
    pub(crate) fn new(inner: T, limit: Option<Duration>) -> Self {
        Self { inner, limit, state: DiscoverState::Idle, outcome: DiscoverOutcome::default() }
    }

    /// Returns the outcome, to be read once the connection is made or has failed.
    pub(crate) fn outcome(&self) -> DiscoverOutcome {
        self.outcome.clone()
    }

    /// Observes a message. Returns it unless it answers a request that was given up.
    fn observe(&mut self, message: RxJsonRpcMessage<RoleClient>) -> Option<RxJsonRpcMessage<RoleClient>> {
        let (id, is_result) = match &message {
            JsonRpcMessage::Response(response) => {
                (Some(&response.id), matches!(response.result, ServerResult::DiscoverResult(_)))
            }
            JsonRpcMessage::Error(error) => (error.id.as_ref(), false),
            _ => (None, false),
        };
        match &self.state {
            DiscoverState::Sent(sent, _) if id == Some(sent) => {
                let is_response = matches!(message, JsonRpcMessage::Response(_));
                self.outcome.in_time.store(is_response, Ordering::Relaxed);
                self.state = DiscoverState::Idle;
                Some(message)
            }
            DiscoverState::GivenUp(sent) if id == Some(sent) => {
                self.outcome.late.store(is_result, Ordering::Relaxed);
                self.state = DiscoverState::Idle;
                None
            }
            _ => Some(message),
        }
    }

    /// Gives the request up. Returns the refusal that replaces the missing answer.
    fn give_up(&mut self, sent: RequestId) -> RxJsonRpcMessage<RoleClient> {
        self.state = DiscoverState::GivenUp(sent.clone());
        let refusal = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "no answer to server/discover", None);
        JsonRpcMessage::error(refusal, Some(sent))
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for DiscoverWatch<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        if let JsonRpcMessage::Request(request) = &message
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
        {
            let refused_at = self.limit.map(|limit| Instant::now() + limit);
            self.state = DiscoverState::Sent(request.id.clone(), refused_at);
        }
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message = match &self.state {
                DiscoverState::Sent(sent, Some(refused_at)) => {
                    let (sent, refused_at) = (sent.clone(), *refused_at);
                    tokio::select! {
                        biased;
                        message = self.inner.receive() => message?,
                        () = sleep_until(refused_at) => return Some(self.give_up(sent)),
                    }
                }
                _ => self.inner.receive().await?,
            };
            if let Some(message) = self.observe(message) {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
