//! The response to a posted message.

use futures::StreamExt as _;
use longshore_ports::clock;
use reqwest::Response;
use rmcp::model::{JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{StreamableHttpError, StreamableHttpPostResponse};

use super::super::classify::{METHOD_NOT_FOUND, Observation};
use super::body::{body, content_type};
use super::refusal::{self, Refusal};
use super::{Asked, EVENTS, HttpClient, HttpError, SESSION, events, seen};

impl HttpClient {
    /// Reads the response to a message.
    pub(super) async fn read_response(
        &self,
        response: Response,
        asked: Asked,
        had_session: bool,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let status = response.status();
        if !status.is_success() {
            let refusal = refusal::of(response, clock::now()).await;
            return self.read_refusal(&refusal, &asked, had_session);
        }
        let session = response.headers().get(SESSION).and_then(|id| id.to_str().ok()).map(str::to_owned);
        let kind = content_type(&response);
        let Some(id) = asked.id else { return Ok(StreamableHttpPostResponse::Accepted) };
        if kind.as_deref().is_some_and(|kind| kind.starts_with(EVENTS)) {
            let events = events::of(response, Some(id), self.requests.clone(), self.limit);
            return Ok(StreamableHttpPostResponse::Sse(events.boxed(), session));
        }
        let body = match body(response, self.limit).await {
            Ok(body) => body,
            Err(seen_instead) => return Err(seen(seen_instead)),
        };
        if body.trim_ascii().is_empty() {
            let why = format!("HTTP {} without an answer", status.as_u16());
            return Err(seen(Observation::Unreadable(why)));
        }
        let is_page = kind.as_deref().is_some_and(|kind| kind.starts_with("text/html"));
        if is_page || !body.trim_ascii_start().starts_with(b"{") && !body.trim_ascii_start().starts_with(b"[")
        {
            let what = refusal::shown(&body, kind.as_deref(), &self.secrets);
            let kind = kind.as_deref().unwrap_or("no content type");
            let why = format!("HTTP {} with {kind} in the place of an answer: {what}", status.as_u16());
            return Err(seen(Observation::Unreadable(why)));
        }
        let answer = self.requests.read(&body, Some(&id)).messages.into_iter().find(is_answer);
        match answer {
            Some(message) => Ok(StreamableHttpPostResponse::Json(message, session)),
            None => Err(seen(Observation::Unreadable(format!("HTTP {} without an answer", status.as_u16())))),
        }
    }

    /// Reads a response of another status than success.
    fn read_refusal(
        &self,
        refusal: &Refusal,
        asked: &Asked,
        had_session: bool,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        if had_session && refusal.forgot_session() {
            return Err(StreamableHttpError::SessionExpired);
        }
        let Some(id) = &asked.id else { return Err(seen(refusal.seen(&self.secrets))) };
        if refusal.may_hold_error() && refusal.is_json() {
            let answer = self.requests.read(&refusal.body, Some(id)).messages.into_iter().find(is_answer);
            if let Some(message) = answer {
                return Ok(StreamableHttpPostResponse::Json(message, None));
            }
        }
        let seen_instead = refusal.seen(&self.secrets);
        // A server of the handshake era does not know the question, and refuses it in many ways.
        if asked.is_discover && refusal.is_of_client() {
            return self.refuse(asked, &seen_instead);
        }
        Err(seen(seen_instead))
    }

    /// Answers the question about the era as a server does that does not know it.
    pub(super) fn refuse(
        &self,
        asked: &Asked,
        why: &Observation,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let refused = Observation::JsonRpc {
            code: METHOD_NOT_FOUND,
            message: why.to_string(),
            data: String::new(),
            supported: Vec::new(),
        };
        match asked.id.as_ref().and_then(|id| self.requests.fault(id, refused)) {
            Some(message) => Ok(StreamableHttpPostResponse::Json(message, None)),
            None => Err(seen(why.clone())),
        }
    }
}

const fn is_answer(message: &ServerJsonRpcMessage) -> bool {
    matches!(message, JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_))
}
