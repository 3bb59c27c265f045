//! The NATS micro service `longshore` (protocol of services: ADR-32 of NATS): receives requests on `longshore.v1.api.<namespace>.<verb>`.
//!
//! The client library answers `$SRV.PING`, `INFO` and `STATS`, so `nats micro info longshore` works. An [`Api`] answers
//! the requests. All schedulers are one queue group, so each request is answered once.

mod memory;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Service, ServiceExt, endpoint};
use futures::StreamExt;
use futures::stream::select_all;
use longshore_ports::Error;
use longshore_proto::{Namespace, subject};
use longshore_scheduler::{Api, ApiRequest, ErrorResponse, Verb};
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::memory::{AdmittedRequest, RequestMemory};

/// Name of the service.
const NAME: &str = "longshore";

/// Maximum number of requests that are answered at the same time. More than the smallest requests that fit into
/// [`RequestMemory`], so that memory is the limit: a request beyond it is refused, while one beyond this number would wait in
/// the client library, which has no limit in bytes.
const CONCURRENT_REQUESTS: usize = 20_000;

/// Time limit for an answer. Longer than clients wait.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Time limit for the requests that arrived before a stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Maximum number of characters of an error message in a header. The body has the whole message.
const HEADER_CHARS: usize = 1_000;

/// Maximum number of bytes of the headers of an answer: the message, in characters of four bytes, with a name and a
/// code.
const HEADERS_BYTES: usize = 5 * 1024;

/// Returns the report of a process for the statistics of the service. It must not block.
pub type ServiceReport = Box<dyn Fn() -> Value + Send + Sync>;

/// The endpoint whose statistics contain the report of the process. Statistics have no field for the service as a
/// whole.
const REPORT_ENDPOINT: Verb = Verb::Get;

/// Serves requests until `stop`, and then answers those that have arrived.
pub async fn serve(
    client: async_nats::Client,
    api: Arc<dyn Api>,
    report: ServiceReport,
    stop: CancellationToken,
) -> Result<(), Error> {
    let failed = |error: async_nats::Error| Error::transient("start the micro service", error);
    let version = env!("CARGO_PKG_VERSION");
    let builder = client.service_builder().description("Durable workflows of MCP tool calls");
    let builder = builder.stats_handler(move |_, endpoint| match endpoint.name == REPORT_ENDPOINT.as_str() {
        true => report(),
        false => Value::Null,
    });
    let service = builder.start(NAME, version).await.map_err(failed)?;
    let mut requests = Vec::new();
    for verb in Verb::ALL {
        let endpoint = endpoint(&service, verb).await.map_err(failed)?;
        requests.push(endpoint.map(move |request| (verb, request)));
    }
    info!(service = NAME, version, "serving requests");
    let memory = RequestMemory::new();
    let serving = async {
        let mut requests = select_all(requests);
        let mut answers = JoinSet::new();
        loop {
            let next = tokio::select! {
                next = requests.next(), if answers.len() < CONCURRENT_REQUESTS => next,
                Some(ended) = answers.join_next() => {
                    log_panic(ended);
                    continue;
                }
            };
            let Some((verb, request)) = next else { break };
            let (api, limit) = (Arc::clone(&api), client.max_payload());
            let namespace = namespace(&request.message.subject);
            // Admitted before the task starts, so that tasks that wait for a thread count as well.
            let admitted = namespace.map(|namespace| {
                let admitted = memory.admit(&namespace, request.message.length);
                (namespace, admitted)
            });
            // Each in a task of its own, so that a long computation does not delay other answers.
            answers.spawn(async move { answer(&*api, verb, &request, limit, admitted).await });
        }
        while let Some(ended) = answers.join_next().await {
            log_panic(ended);
        }
    };
    let ending = async {
        stop.cancelled().await;
        // The endpoints unsubscribe, and end after the requests that arrived before.
        service.stop().await.map_err(failed)?;
        sleep(DRAIN_LIMIT).await;
        Ok(())
    };
    tokio::select! { biased;
        () = serving => Ok(()),
        ended = ending => ended,
    }
}

/// Logs a task that panicked. Its request gets no answer, and no other request is affected.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "answering a request panicked; this is a bug");
    }
}

/// Adds the endpoint of a verb, with a description of its request.
async fn endpoint(service: &Service, verb: Verb) -> Result<endpoint::Endpoint, async_nats::Error> {
    let metadata = [("request", verb.fields()), ("format", "JSON")];
    let builder = service.endpoint_builder().name(verb.as_str());
    let builder = builder.metadata(metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    builder.add(subject::api_endpoint(verb.as_str())).await
}

/// Answers a request with at most `limit` bytes.
async fn answer(
    api: &dyn Api,
    verb: Verb,
    request: &async_nats::service::Request,
    limit: usize,
    admitted: Result<(Namespace, Option<AdmittedRequest>), ErrorResponse>,
) {
    let message = &request.message;
    if message.reply.as_deref().is_some_and(is_reserved) {
        warn!(verb = verb.as_str(), subject = %message.subject, "the reply subject of a request is one of Longshore or NATS; not answering");
        return;
    }
    let answer = match admitted {
        Ok((_, None)) => Err(too_many_requests()),
        Ok((namespace, Some(admitted))) => {
            let _share = admitted.wait_to_decode(&namespace).await;
            let (headers, body) = (headers(message.headers.as_ref()), message.payload.to_vec());
            let api_request = ApiRequest { namespace, headers, body };
            timeout(ANSWER_LIMIT, api.answer(verb, api_request)).await.unwrap_or_else(|_| Err(timed_out()))
        }
        Err(denied) => Err(denied),
    };
    let answer = within_limit(answer, limit.saturating_sub(HEADERS_BYTES));
    let sent = match answer {
        Ok(body) => request.respond(Ok(body.into())).await,
        // The library's own error answers have no body, and the list of problems is in the body.
        Err(denied) => {
            request.respond_with_headers(Ok(denied.body.clone().into()), error_headers(&denied)).await
        }
    };
    match sent {
        Err(error) if message.reply.is_some() => {
            warn!(verb = verb.as_str(), %error, "cannot answer a request; its client times out")
        }
        Err(_) => debug!(verb = verb.as_str(), "a request without a reply subject; not answering"),
        Ok(()) => {}
    }
}

/// Returns true for a subject of Longshore or of the server itself. An answer there would let a client publish, through
/// a scheduler, on a subject that it has no permission for.
fn is_reserved(reply: &str) -> bool {
    reply.starts_with('$') || reply.split('.').next() == subject::ROOT.split('.').next()
}

/// Returns the namespace in the subject of a request.
fn namespace(subject: &str) -> Result<Namespace, ErrorResponse> {
    subject::api_namespace(subject).unwrap_or_default().parse().map_err(|error| {
        let message = format!("the subject names no namespace: {error}");
        let body = json!({ "error": message, "reason": "malformed", "problems": [{ "message": message }] });
        ErrorResponse { code: 400, message, body: body.to_string().into_bytes() }
    })
}

/// Returns the headers of an error, as ADR-32 of NATS defines them.
fn error_headers(denied: &ErrorResponse) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A header is one line, so control characters become spaces.
    let line: String =
        denied.message.chars().take(HEADER_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    headers.insert(NATS_SERVICE_ERROR, line.as_str());
    headers.insert(NATS_SERVICE_ERROR_CODE, denied.code.to_string().as_str());
    headers
}

/// Returns an error in place of an answer that is larger than a message may be.
fn within_limit(answer: Result<Vec<u8>, ErrorResponse>, limit: usize) -> Result<Vec<u8>, ErrorResponse> {
    match answer {
        Ok(body) if body.len() > limit => Err(too_large(body.len(), limit)),
        Err(denied) if denied.body.len() > limit => {
            let line: String = denied.message.chars().take(HEADER_CHARS).collect();
            let known: Value = serde_json::from_slice(&denied.body).unwrap_or_default();
            let more = "there are more problems than fit into an answer";
            let body =
                json!({ "error": line, "reason": known.get("reason"), "problems": [{ "message": more }] });
            Err(ErrorResponse { body: body.to_string().into_bytes(), ..denied })
        }
        answer => answer,
    }
}

fn too_large(bytes: usize, limit: usize) -> ErrorResponse {
    let message = format!(
        "the answer of {bytes} bytes does not fit into the {limit} of a message: ask for less (`limit`), or raise \
         `max_payload` of nats-server"
    );
    let body = json!({ "error": message, "reason": "too_large", "problems": [{ "message": message }] });
    ErrorResponse { code: 413, message, body: body.to_string().into_bytes() }
}

fn too_many_requests() -> ErrorResponse {
    let message = "too many requests at once, by their size: try again a little later".to_owned();
    let body = json!({ "error": message, "reason": "busy", "problems": [{ "message": message }] });
    ErrorResponse { code: 503, message, body: body.to_string().into_bytes() }
}

fn timed_out() -> ErrorResponse {
    let message = "no answer in time: something behind the scheduler is slow or away; try again".to_owned();
    let body = json!({ "error": message, "reason": "internal", "problems": [] });
    ErrorResponse { code: 503, message, body: body.to_string().into_bytes() }
}

/// Returns all headers, with names in lower case.
fn headers(map: Option<&HeaderMap>) -> Vec<(String, String)> {
    let all = map.into_iter().flat_map(HeaderMap::iter);
    all.flat_map(|(name, values)| {
        let name = name.to_string().to_ascii_lowercase();
        values.iter().map(move |value| (name.clone(), value.as_str().to_owned()))
    })
    .collect()
}
