//! A server over streamable HTTP.
//!
//! The MCP library's transport on a client of ours: connections are reused, redirects are not followed (a credential
//! must not travel to another host), proxies are not looked for, broken streams are not reconnected for ever. Two
//! gaps are closed: an error response without a JSON-RPC id, which the library drops and waits on, is given to the
//! request that it answers; and an event that is too large is told as such, not as a stream that broke.

#![expect(
    clippy::disallowed_types,
    reason = "the library's HTTP client is a trait whose headers are a HashMap"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, RequestId, ServerJsonRpcMessage};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::NeverRetry;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use sse_stream::Sse;

use super::config::{HttpServer, Settings};
use super::oversized::Oversized;

/// Requests of one connection in flight at once; the driver's own limit is reached first (at most 512), and listings
/// and cancellations come on top.
const REQUESTS_AT_ONCE: usize = 1024;

/// A TCP connection is used again within this time only. Common servers close idle ones after 5 s, and a request that
/// meets such a close is lost in doubt; within a burst of calls nothing is in doubt.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// The transport of one connection.
pub(crate) type HttpTransport = StreamableHttpClientTransport<HttpClient>;

/// A transport to a server.
///
/// # Errors
/// In words, if no client can be made: no root certificates on this machine, most likely.
pub(crate) fn transport(server: &HttpServer, settings: &Settings) -> Result<HttpTransport, String> {
    let client = client(server, settings).map_err(|error| super::distil::innermost(&error))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(server.url.value())
        .custom_headers(server.headers.iter().cloned().collect())
        .max_concurrent_requests(REQUESTS_AT_ONCE)
        .max_sse_event_size(settings.max_message_bytes)
        // A stateful server that forgot its session has forgotten more than that.
        .reinit_on_expired_session(!settings.stateful);
    // A stream that broke lost its request; asking for it again without end would hide that.
    config.retry_config = Arc::new(NeverRetry::default());
    Ok(StreamableHttpClientTransport::with_client(HttpClient(client), config))
}

fn client(server: &HttpServer, settings: &Settings) -> Result<reqwest::Client, reqwest::Error> {
    // Whoever came first has chosen; one choice is as good as the other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(KEEP_ALIVE);
    // Without TLS no root certificates are needed, and a machine may have none.
    let plain = server.url.value().starts_with("http:");
    if plain { builder.tls_certs_only([]).build() } else { builder.build() }
}

/// The library's own HTTP client, with the gap closed.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(reqwest::Client);

type PostResult = Result<StreamableHttpPostResponse, StreamableHttpError<reqwest::Error>>;
type StreamResult = Result<Events, StreamableHttpError<reqwest::Error>>;
type Events = BoxStream<'static, Result<Sse, SseError>>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl StreamableHttpClient for HttpClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> PostResult {
        let limit = Settings::default().max_message_bytes;
        self.post_message_with_max_sse_event_size(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            limit,
        )
        .await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> PostResult {
        let waiting = waiting_request(&message);
        let had_session = session_id.is_some();
        let response = self
            .0
            .post_message_with_max_sse_event_size(
                uri,
                message,
                session_id,
                auth_header,
                custom_headers,
                max_sse_event_size,
            )
            .await?;
        match response {
            StreamableHttpPostResponse::Json(JsonRpcMessage::Error(error), _)
                if waiting.is_some() && error.id.is_none() =>
            {
                // A server that was restarted says so about a session that it does not know; it did not look at
                // the request, so the library's way for HTTP 404 (a new session, and once more) is right here too.
                let message = format!("HTTP 400 without a request id: {}", error.error.message);
                Err(if had_session {
                    StreamableHttpError::SessionExpired
                } else {
                    StreamableHttpError::UnexpectedServerResponse(message.into())
                })
            }
            StreamableHttpPostResponse::Sse(events, session) if let Some(id) = waiting => {
                Ok(StreamableHttpPostResponse::Sse(say_if_too_large(events, id, max_sse_event_size), session))
            }
            response => Ok(response),
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), StreamableHttpError<reqwest::Error>> {
        self.0.delete_session(uri, session_id, auth_header, custom_headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> StreamResult {
        self.0.get_stream(uri, session_id, last_event_id, auth_header, custom_headers).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
        max_sse_event_size: usize,
    ) -> StreamResult {
        self.0
            .get_stream_with_max_sse_event_size(
                uri,
                session_id,
                last_event_id,
                auth_header,
                custom_headers,
                max_sse_event_size,
            )
            .await
    }
}

/// The id of a request whose sender can take an answer only with that id: every request but those of the handshake,
/// which the library handles.
fn waiting_request(message: &ClientJsonRpcMessage) -> Option<RequestId> {
    match message {
        JsonRpcMessage::Request(request) => {
            let handshake = matches!(
                request.request,
                ClientRequest::InitializeRequest(_) | ClientRequest::DiscoverRequest(_)
            );
            (!handshake).then(|| request.id.clone())
        }
        _ => None,
    }
}

/// Answers the request itself where the library would only end the stream.
fn say_if_too_large(events: Events, id: RequestId, limit: usize) -> Events {
    let answer = move |event| match event {
        // The error's type is private to the library; its text is all there is.
        Err(SseError::Body(error)) if error.to_string().contains("exceeded the maximum size") => {
            // The event may have been a notification that came before the answer.
            let oversized = Oversized { bytes: None, limit, is_answer: false };
            let message = ServerJsonRpcMessage::error(oversized.error(), Some(id.clone()));
            Ok(Sse::default().data(serde_json::to_string(&message).unwrap_or_default()))
        }
        event => event,
    };
    events.map(answer).boxed()
}
