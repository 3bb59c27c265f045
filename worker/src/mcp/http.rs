//! The transport to a server over streamable HTTP.
//!
//! The MCP library manages sessions and streams. This HTTP client of the library sends and reads: it reuses connections, follows
//! redirects within one origin only (a credential must not reach another host), and uses no proxy. Every response to a request
//! ends the request, with its answer or with a failure.

#![expect(
    clippy::disallowed_types,
    reason = "the library's HTTP client is a trait whose headers are a HashMap"
)]

mod body;
mod error_response;
mod events;
mod response;
mod stream_backoff;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use longshore_ports::clock;
use reqwest::header::{ACCEPT, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{RequestBuilder, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, RequestId};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use sse_stream::Sse;
use tokio::time::{Instant, timeout};

use super::classify::McpFailure;
use super::config::{HttpServer, Secrets, ServerSettings};
use super::library_errors;
use super::wire::PendingRequests;
use stream_backoff::StreamBackoff;

/// Concurrent requests of one connection. More than the driver's limit of calls (at most 512), since listings and cancellations
/// are added.
const CONCURRENT_REQUESTS: usize = 1024;

/// The longest time that an idle TCP connection is used again. Common servers close idle connections after 5 s, and it is not known
/// if a request was processed whose connection is closed at that moment. Within a burst of calls no connection is idle for long.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Maximum number of redirects that are followed. One is usual, for a missing or an extra slash.
const MOST_REDIRECTS: usize = 3;

/// Attempts to resume an interrupted stream of events, each after twice the time of the one before. A restarted server has lost
/// the stream, and endless attempts would hide that.
const RESUME_ATTEMPTS: usize = 3;
/// The time before the first of these attempts.
const RESUME_AFTER: Duration = Duration::from_millis(250);

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const SESSION: &str = "Mcp-Session-Id";
const LAST_EVENT: &str = "Last-Event-ID";

/// The transport of one connection.
pub(crate) type HttpTransport = StreamableHttpClientTransport<HttpClient>;

/// Creates the transport to a server, whose answers are read into `requests`. A `server/discover` without an answer within
/// `discover_limit` counts as refused.
///
/// # Errors
/// A description, if the HTTP client cannot be created, most likely because this machine has no root certificates.
pub(crate) fn transport(
    server: &HttpServer,
    settings: &ServerSettings,
    secrets: &Secrets,
    discover_limit: Option<Duration>,
    requests: PendingRequests,
) -> Result<HttpTransport, String> {
    let client = client(server, settings).map_err(|error| library_errors::innermost(&error))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(server.url.value())
        .custom_headers(server.headers.iter().cloned().collect())
        .max_concurrent_requests(CONCURRENT_REQUESTS)
        .max_sse_event_size(settings.max_message_bytes)
        // A stateful server that lost its session has lost the state of runs too.
        .reinit_on_expired_session(!settings.stateful);
    let mut resume = ExponentialBackoff::default();
    (resume.max_times, resume.base_duration) = (Some(RESUME_ATTEMPTS), RESUME_AFTER);
    config.retry_config = Arc::new(resume);
    let limit = settings.max_message_bytes;
    let (secrets, backoff) = (secrets.clone(), Arc::default());
    let client = HttpClient { client, requests, secrets, backoff, discover_limit, limit };
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

fn client(server: &HttpServer, settings: &ServerSettings) -> Result<reqwest::Client, reqwest::Error> {
    // The call fails if a provider was installed before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow_within_origin))
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(KEEP_ALIVE);
    // Without TLS no root certificates are needed, and the machine may have none.
    let is_plain = server.url.value().starts_with("http:");
    if is_plain { builder.tls_certs_only([]).build() } else { builder.build() }
}

/// Follows redirects that repeat the same request (307 and 308) at the same scheme, host and port.
fn follow_within_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let repeats_request =
        [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&attempt.status());
    let same_origin = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if repeats_request && same_origin && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// The HTTP client of one connection, through which the library posts messages and opens streams.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: reqwest::Client,
    requests: PendingRequests,
    secrets: Secrets,
    backoff: Arc<Mutex<StreamBackoff>>,
    discover_limit: Option<Duration>,
    /// Bytes of the largest body that is kept.
    limit: usize,
}

type HttpClientError = StreamableHttpError<McpFailure>;
type EventStream = BoxStream<'static, Result<Sse, SseError>>;
type CustomHeaders = HashMap<HeaderName, HeaderValue>;

impl HttpClient {
    /// Sends a request. An error holds scheme, host and port of the address, and nothing else of the request.
    async fn send(
        &self,
        mut request: RequestBuilder,
        session: Option<&str>,
        auth: Option<String>,
        headers: CustomHeaders,
    ) -> Result<reqwest::Response, HttpClientError> {
        if let Some(auth) = auth {
            request = request.bearer_auth(auth);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        let sent = request.send().await;
        sent.map_err(|error| StreamableHttpError::Client(library_errors::of_http_client(&error)))
    }

    /// Returns the error of a response without success.
    async fn response_error(&self, response: reqwest::Response) -> HttpClientError {
        let response = error_response::read(response, clock::now()).await;
        StreamableHttpError::Client(response.failure(&self.secrets))
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = McpFailure;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: CustomHeaders,
    ) -> Result<StreamableHttpPostResponse, HttpClientError> {
        let limit = self.limit;
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
        custom_headers: CustomHeaders,
        _: usize,
    ) -> Result<StreamableHttpPostResponse, HttpClientError> {
        self.requests.note_sent(&message);
        let posted = PostedMessage::of(&message);
        let request =
            self.client.post(uri.as_ref()).header(ACCEPT, format!("{EVENTS}, {JSON}")).json(&message);
        let sending = self.send(request, session_id.as_deref(), auth_header, custom_headers);
        let reading = async {
            let response = sending.await?;
            self.read_response(response, posted.clone(), session_id.is_some()).await
        };
        match self.discover_limit.filter(|_| posted.is_discover) {
            None => reading.await,
            Some(limit) => match timeout(limit, reading).await {
                Ok(response) => response,
                Err(_) => self.refuse(
                    &posted,
                    &McpFailure::Deadline(format!("no answer within {limit:?}"), String::new()),
                ),
            },
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: CustomHeaders,
    ) -> Result<(), HttpClientError> {
        let request = self.client.delete(uri.as_ref());
        let response = self.send(request, Some(&session_id), auth_header, custom_headers).await?;
        match response.status().as_u16() {
            // 404 and 405: the server has no sessions, or has ended this one already.
            200..=299 | 404 | 405 => Ok(()),
            _ => Err(self.response_error(response).await),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: CustomHeaders,
    ) -> Result<EventStream, HttpClientError> {
        let limit = self.limit;
        self.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            limit,
        )
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: CustomHeaders,
        _: usize,
    ) -> Result<EventStream, HttpClientError> {
        let wait = self
            .backoff
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next_wait(last_event_id.as_deref(), Instant::now());
        tokio::time::sleep(wait).await;
        let mut request = self.client.get(uri.as_ref()).header(ACCEPT, format!("{EVENTS}, {JSON}"));
        if let Some(last) = last_event_id {
            request = request.header(LAST_EVENT, last);
        }
        let response = self.send(request, session_id.as_deref(), auth_header, custom_headers).await?;
        let is_stream = body::content_type(&response).is_some_and(|kind| kind.starts_with(EVENTS));
        if response.status().is_success() && is_stream {
            return Ok(events::of(response, None, self.requests.clone(), self.limit).boxed());
        }
        if response.status().is_success() || response.status() == StatusCode::METHOD_NOT_ALLOWED {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        Err(self.response_error(response).await)
    }
}

/// The properties of a posted message that the reading of its response depends on.
#[derive(Clone, Debug)]
struct PostedMessage {
    /// Id of a request. `None` for a message that has no answer.
    id: Option<RequestId>,
    /// The message is `server/discover`.
    is_discover: bool,
}

impl PostedMessage {
    fn of(message: &ClientJsonRpcMessage) -> Self {
        match message {
            JsonRpcMessage::Request(request) => Self {
                id: Some(request.id.clone()),
                is_discover: matches!(request.request, ClientRequest::DiscoverRequest(_)),
            },
            _ => Self { id: None, is_discover: false },
        }
    }
}
