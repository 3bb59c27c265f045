//! The question `server/discover`, by which a server is asked for its era.
//!
//! The library falls back to the handshake when the server refuses the question, waits long for one that is silent, and says
//! only which version was chosen. Here the answer is observed, and silence is a refusal after a short time: the server may
//! still be starting, or be one that ignores what it does not know, and gets the handshake in either case.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, RequestId, ServerResult};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::time::{Instant, sleep_until};

/// Time in which a server may leave the question unanswered. The slowest of the common ones answers a second after it was started.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// A transport that observes the question and its answer.
#[derive(Debug)]
pub(crate) struct ProbeWatch<T> {
    inner: T,
    /// How long silence is waited for, if not as long as the library does.
    patience: Option<Duration>,
    question: Question,
    discovered: Discovered,
}

/// State of the question.
#[derive(Debug, Default)]
enum Question {
    /// It was not asked, or was answered in time.
    #[default]
    Closed,
    /// It was asked, and counts as refused at this moment.
    Asked(RequestId, Option<Instant>),
    /// It counted as refused; its answer may still come.
    Late(RequestId),
}

/// Knowledge about the answer to `server/discover`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovered {
    in_time: Arc<AtomicBool>,
    late: Arc<AtomicBool>,
}

impl Discovered {
    /// Returns true once the server has answered with a result, and in time.
    pub(crate) fn is_so(&self) -> bool {
        self.in_time.load(Ordering::Relaxed)
    }

    /// Returns true if the server has answered with a result after it was given up.
    pub(crate) fn is_late(&self) -> bool {
        self.late.load(Ordering::Relaxed)
    }
}

impl<T> ProbeWatch<T> {
    /// Observes a transport.
    pub(crate) fn new(inner: T, patience: Option<Duration>) -> Self {
        Self { inner, patience, question: Question::Closed, discovered: Discovered::default() }
    }

    /// Returns what is known, to be read once the connection is made or has failed.
    pub(crate) fn discovered(&self) -> Discovered {
        self.discovered.clone()
    }

    /// Looks at a message, and returns it unless it answers a question that was given up.
    fn observed(&mut self, message: RxJsonRpcMessage<RoleClient>) -> Option<RxJsonRpcMessage<RoleClient>> {
        let (id, is_result) = match &message {
            JsonRpcMessage::Response(response) => {
                (Some(&response.id), matches!(response.result, ServerResult::DiscoverResult(_)))
            }
            JsonRpcMessage::Error(error) => (error.id.as_ref(), false),
            _ => (None, false),
        };
        match &self.question {
            Question::Asked(asked, _) if id == Some(asked) => {
                self.discovered
                    .in_time
                    .store(matches!(message, JsonRpcMessage::Response(_)), Ordering::Relaxed);
                self.question = Question::Closed;
                Some(message)
            }
            Question::Late(asked) if id == Some(asked) => {
                self.discovered.late.store(is_result, Ordering::Relaxed);
                self.question = Question::Closed;
                None
            }
            _ => Some(message),
        }
    }

    /// The refusal in the place of an answer that did not come.
    fn give_up(&mut self, asked: RequestId) -> RxJsonRpcMessage<RoleClient> {
        self.question = Question::Late(asked.clone());
        let refusal = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "no answer to server/discover", None);
        JsonRpcMessage::error(refusal, Some(asked))
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
            let refused_at = self.patience.map(|patience| Instant::now() + patience);
            self.question = Question::Asked(request.id.clone(), refused_at);
        }
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message = match &self.question {
                Question::Asked(asked, Some(refused_at)) => {
                    let (asked, refused_at) = (asked.clone(), *refused_at);
                    tokio::select! {
                        biased;
                        message = self.inner.receive() => message?,
                        () = sleep_until(refused_at) => return Some(self.give_up(asked)),
                    }
                }
                _ => self.inner.receive().await?,
            };
            if let Some(message) = self.observed(message) {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
