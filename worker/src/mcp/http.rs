//! A server over streamable HTTP.
//!
//! The MCP library keeps sessions and streams; what is sent and read is done here, on an HTTP client of ours: connections are
//! reused, redirects are followed within one origin only (a credential must not travel to another host), proxies are not
//! looked for. Every response to a request ends it: with its answer, or with what came in the place of one.

#![expect(
    clippy::disallowed_types,
    reason = "the library's HTTP client is a trait whose headers are a HashMap"
)]

mod body;
mod events;
mod pace;
mod refusal;
mod response;

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

use super::classify::Observation;
use super::config::{HttpServer, Secrets, Settings};
use super::distil;
use super::observed_error::ObservedError;
use super::wire::Requests;
use pace::StreamPace;

/// Requests of one connection in flight at once; the driver's own limit is reached first (at most 512), and listings
/// and cancellations come on top.
const REQUESTS_AT_ONCE: usize = 1024;

/// A TCP connection is used again within this time only. Common servers close idle ones after 5 s, and a request that
/// meets such a close is lost in doubt; within a burst of calls nothing is in doubt.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// Redirects that are followed. One is usual, for a missing or an extra slash.
const MOST_REDIRECTS: usize = 3;

/// Attempts to go on with a stream of events that broke, each after twice the time of the one before. A server that is
/// restarted has lost the stream; asking for it again without end would hide that.
const RESUME_ATTEMPTS: usize = 3;
/// The time before the first of these attempts.
const RESUME_AFTER: Duration = Duration::from_millis(250);

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const SESSION: &str = "Mcp-Session-Id";
const LAST_EVENT: &str = "Last-Event-ID";

/// The transport of one connection.
pub(crate) type HttpTransport = StreamableHttpClientTransport<HttpClient>;

/// A transport to a server, whose answers are read into `requests`. A question about the era that is unanswered after `patience`
/// counts as refused.
///
/// # Errors
/// In words, if no client can be made: no root certificates on this machine, most likely.
pub(crate) fn transport(
    server: &HttpServer,
    settings: &Settings,
    secrets: &Secrets,
    patience: Option<Duration>,
    requests: Requests,
) -> Result<HttpTransport, String> {
    let client = client(server, settings).map_err(|error| distil::innermost(&error))?;
    let mut config = StreamableHttpClientTransportConfig::with_uri(server.url.value())
        .custom_headers(server.headers.iter().cloned().collect())
        .max_concurrent_requests(REQUESTS_AT_ONCE)
        .max_sse_event_size(settings.max_message_bytes)
        // A stateful server that forgot its session has forgotten more than that.
        .reinit_on_expired_session(!settings.stateful);
    let mut resume = ExponentialBackoff::default();
    (resume.max_times, resume.base_duration) = (Some(RESUME_ATTEMPTS), RESUME_AFTER);
    config.retry_config = Arc::new(resume);
    let limit = settings.max_message_bytes;
    let client =
        HttpClient { client, requests, secrets: secrets.clone(), pace: Arc::default(), patience, limit };
    Ok(StreamableHttpClientTransport::with_client(client, config))
}

fn client(server: &HttpServer, settings: &Settings) -> Result<reqwest::Client, reqwest::Error> {
    // Whoever came first has chosen; one choice is as good as the other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::custom(follow_within_origin))
        .no_proxy()
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(KEEP_ALIVE);
    // Without TLS no root certificates are needed, and a machine may have none.
    let plain = server.url.value().starts_with("http:");
    if plain { builder.tls_certs_only([]).build() } else { builder.build() }
}

/// Follows redirects that repeat the request as it is (307 and 308) at the same scheme, host and port.
fn follow_within_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let repeats =
        [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&attempt.status());
    let stays = attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
    if repeats && stays && attempt.previous().len() <= MOST_REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// What the library posts and streams with.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    client: reqwest::Client,
    requests: Requests,
    secrets: Secrets,
    pace: Arc<Mutex<StreamPace>>,
    patience: Option<Duration>,
    /// Bytes of the largest body that is kept.
    limit: usize,
}

type HttpError = StreamableHttpError<ObservedError>;
type Events = BoxStream<'static, Result<Sse, SseError>>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl HttpClient {
    /// Sends a request. Nothing of it is kept in an error but scheme, host and port of its address.
    async fn send(
        &self,
        mut request: RequestBuilder,
        session: Option<&str>,
        auth: Option<String>,
        headers: Headers,
    ) -> Result<reqwest::Response, HttpError> {
        if let Some(auth) = auth {
            request = request.bearer_auth(auth);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        request.send().await.map_err(|error| seen(distil::client(&error)))
    }
}

impl StreamableHttpClient for HttpClient {
    type Error = ObservedError;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
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
        custom_headers: Headers,
        _: usize,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        self.requests.note_sent(&message);
        let asked = Asked::of(&message);
        let request =
            self.client.post(uri.as_ref()).header(ACCEPT, format!("{EVENTS}, {JSON}")).json(&message);
        let sending = self.send(request, session_id.as_deref(), auth_header, custom_headers);
        let reading = async {
            let response = sending.await?;
            self.read_response(response, asked.clone(), session_id.is_some()).await
        };
        match self.patience.filter(|_| asked.is_discover) {
            None => reading.await,
            Some(patience) => match timeout(patience, reading).await {
                Ok(response) => response,
                Err(_) => self.refuse(
                    &asked,
                    &Observation::Deadline(format!("no answer within {patience:?}"), String::new()),
                ),
            },
        }
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), HttpError> {
        let request = self.client.delete(uri.as_ref());
        let response = self.send(request, Some(&session_id), auth_header, custom_headers).await?;
        // A server that keeps no sessions, or has ended this one already.
        match response.status().as_u16() {
            200..=299 | 404 | 405 => Ok(()),
            _ => Err(seen(refusal::of(response, clock::now()).await.seen(&self.secrets))),
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<Events, HttpError> {
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
        custom_headers: Headers,
        _: usize,
    ) -> Result<Events, HttpError> {
        let wait = self
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .ask(last_event_id.as_deref(), Instant::now());
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
        Err(seen(refusal::of(response, clock::now()).await.seen(&self.secrets)))
    }
}

/// What a message that is posted waits for.
#[derive(Clone, Debug)]
struct Asked {
    /// The request. `None` for a message that has no answer.
    id: Option<RequestId>,
    /// Whether it asks for the era of the server.
    is_discover: bool,
}

impl Asked {
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

fn seen(observation: Observation) -> HttpError {
    StreamableHttpError::Client(ObservedError(observation))
}
