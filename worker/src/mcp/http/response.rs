//! The response to a posted message.

use futures::StreamExt as _;
use longshore_ports::clock;
use reqwest::Response;
use rmcp::model::{JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{StreamableHttpError, StreamableHttpPostResponse};

use super::super::classify::{METHOD_NOT_FOUND, McpFailure};
use super::body::{body, content_type};
use super::error_response::{self, ErrorResponse};
use super::{EVENTS, HttpClient, HttpClientError, PostedMessage, SESSION, events};

impl HttpClient {
    /// Reads the response to a message.
    pub(super) async fn read_response(
        &self,
        response: Response,
        posted: PostedMessage,
        had_session: bool,
    ) -> Result<StreamableHttpPostResponse, HttpClientError> {
        let status = response.status();
        if !status.is_success() {
            let error = error_response::read(response, clock::now()).await;
            return self.read_error_response(&error, &posted, had_session);
        }
        let session = response.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let content_type = content_type(&response);
        let content_type = content_type.as_deref();
        let Some(id) = posted.id else { return Ok(StreamableHttpPostResponse::Accepted) };
        if content_type.is_some_and(|content_type| content_type.starts_with(EVENTS)) {
            let events = events::of(response, Some(id), self.requests.clone(), self.limit);
            return Ok(StreamableHttpPostResponse::Sse(events.boxed(), session));
        }
        let unreadable = |why: String| Err(StreamableHttpError::Client(McpFailure::Unreadable(why)));
        let body = body(response, self.limit).await.map_err(StreamableHttpError::Client)?;
        let text = body.trim_ascii();
        if text.is_empty() {
            return unreadable(format!("HTTP {} without an answer", status.as_u16()));
        }
        let is_page = content_type.is_some_and(|content_type| content_type.starts_with("text/html"));
        if is_page || !(text.starts_with(b"{") || text.starts_with(b"[")) {
            let summary = error_response::summary(&body, content_type, &self.secrets);
            let content_type = content_type.unwrap_or("no content type");
            return unreadable(format!(
                "HTTP {} with {content_type} in the place of an answer: {summary}",
                status.as_u16()
            ));
        }
        match self.requests.read(&body, Some(&id)).messages.into_iter().find(is_answer) {
            Some(message) => Ok(StreamableHttpPostResponse::Json(message, session)),
            None => unreadable(format!("HTTP {} without an answer", status.as_u16())),
        }
    }

    fn read_error_response(
        &self,
        error: &ErrorResponse,
        posted: &PostedMessage,
        had_session: bool,
    ) -> Result<StreamableHttpPostResponse, HttpClientError> {
        if had_session && error.means_unknown_session() {
            return Err(StreamableHttpError::SessionExpired);
        }
        let failure = error.failure(&self.secrets);
        let Some(id) = &posted.id else { return Err(StreamableHttpError::Client(failure)) };
        if error.may_have_json_rpc_error() && error.is_json_rpc_error() {
            let answer = self.requests.read(&error.body, Some(id)).messages.into_iter().find(is_answer);
            if let Some(message) = answer {
                return Ok(StreamableHttpPostResponse::Json(message, None));
            }
        }
        // A server of the handshake era does not know `server/discover`, and refuses it in many ways.
        if posted.is_discover && error.is_refused_request() {
            return self.refuse(posted, &failure);
        }
        Err(StreamableHttpError::Client(failure))
    }

    /// Answers `server/discover` in the way of a server that does not know the request.
    pub(super) fn refuse(
        &self,
        posted: &PostedMessage,
        failure: &McpFailure,
    ) -> Result<StreamableHttpPostResponse, HttpClientError> {
        let refused = McpFailure::JsonRpc {
            code: METHOD_NOT_FOUND,
            message: failure.to_string(),
            data: String::new(),
            supported: Vec::new(),
        };
        match posted.id.as_ref().and_then(|id| self.requests.fault(id, refused)) {
            Some(message) => Ok(StreamableHttpPostResponse::Json(message, None)),
            None => Err(StreamableHttpError::Client(failure.clone())),
        }
    }
}

const fn is_answer(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_))
}
