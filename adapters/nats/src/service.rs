//! The micro service `longshore` (ADR-32): requests on `longshore.v1.api.<namespace>.<verb>`, answered by whoever knows.
//!
//! The client library answers `$SRV.PING`, `INFO` and `STATS`, so `nats micro info longshore` works. This file only
//! carries: what a request means is the business of an [`Api`]. Every scheduler serves, as one queue group, so each
//! request is answered once.

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

/// What the service is called.
const NAME: &str = "longshore";

/// Requests in hand at once: as many as the bound on their memory allows, if they are small. Each that comes on top is told to
/// come back, so that none waits in the client library, which has no bound by bytes.
const AT_ONCE: usize = 20_000;

/// How long an answer may take. Longer than anybody waits who asks.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long the requests that had come before a stop have to be answered.
const DRAIN: Duration = Duration::from_secs(5);

/// How much of an error its header tells; the body has all of it.
const LINE_CHARS: usize = 1_000;

/// What the headers of an answer take at most, in bytes: the line, in letters of four bytes, with a name and a code.
const HEADERS_BYTES: usize = 5 * 1024;

/// What a process says about itself, whenever the statistics of the service are asked for. It answers at once.
pub type ServiceReport = Box<dyn Fn() -> Value + Send + Sync>;

/// The endpoint whose statistics hold the report of the process: statistics have no place for the service as a whole.
const REPORTING: Verb = Verb::Get;

/// Serves requests until `stop`, and answers what it has in hand.
pub async fn serve(
    client: async_nats::Client,
    api: Arc<dyn Api>,
    report: ServiceReport,
    stop: CancellationToken,
) -> Result<(), Error> {
    let failed = |error: async_nats::Error| Error::transient("offer the micro service", error);
    let version = env!("CARGO_PKG_VERSION");
    let described = client.service_builder().description("Durable workflows of MCP tool calls");
    let described = described.stats_handler(move |_, endpoint| match endpoint.name == REPORTING.as_str() {
        true => report(),
        false => Value::Null,
    });
    let service = described.start(NAME, version).await.map_err(failed)?;
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
                next = requests.next(), if answers.len() < AT_ONCE => next,
                Some(ended) = answers.join_next() => {
                    note(ended);
                    continue;
                }
            };
            let Some((verb, request)) = next else { break };
            let (api, room) = (Arc::clone(&api), client.max_payload());
            let namespace = namespace(&request.message.subject);
            // Counted before the task begins, so that tasks that wait for a thread count as well.
            let admitted = namespace.map(|namespace| {
                let admitted = memory.admit(&namespace, request.message.length);
                (namespace, admitted)
            });
            // Each in a task of its own: what an answer computes holds up no other one.
            answers.spawn(async move { answer(&*api, verb, &request, room, admitted).await });
        }
        while let Some(ended) = answers.join_next().await {
            note(ended);
        }
    };
    let ending = async {
        stop.cancelled().await;
        // The endpoints unsubscribe, and end once they have given out what had come before.
        service.stop().await.map_err(failed)?;
        sleep(DRAIN).await;
        Ok(())
    };
    tokio::select! { biased;
        () = serving => Ok(()),
        ended = ending => ended,
    }
}

/// Logs an answer that panicked. Its request has no answer, and no other one is affected.
fn note(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        error!(%error, "answering a request panicked; this is a bug");
    }
}

/// The endpoint of a verb, which says what it takes.
async fn endpoint(service: &Service, verb: Verb) -> Result<endpoint::Endpoint, async_nats::Error> {
    let metadata = [("request", verb.fields()), ("format", "JSON")];
    let builder = service.endpoint_builder().name(verb.as_str());
    let builder = builder.metadata(metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    builder.add(subject::api_endpoint(verb.as_str())).await
}

/// Answers a request in a message with so much room.
async fn answer(
    api: &dyn Api,
    verb: Verb,
    request: &async_nats::service::Request,
    room: usize,
    admitted: Result<(Namespace, Option<AdmittedRequest>), ErrorResponse>,
) {
    let message = &request.message;
    if message.reply.as_deref().is_some_and(is_ours) {
        warn!(verb = verb.as_str(), subject = %message.subject, "a request wants its answer on a subject of Longshore; refused");
        return;
    }
    let answer = match admitted {
        Ok((_, None)) => Err(busy()),
        Ok((namespace, Some(admitted))) => {
            let _share = admitted.may_be_read(&namespace).await;
            let (headers, body) = (headers(message.headers.as_ref()), message.payload.to_vec());
            let asked = ApiRequest { namespace, headers, body };
            timeout(ANSWER_LIMIT, api.answer(verb, asked)).await.unwrap_or_else(|_| Err(late()))
        }
        Err(denied) => Err(denied),
    };
    let answer = fitting(answer, room.saturating_sub(HEADERS_BYTES));
    let sent = match answer {
        Ok(body) => request.respond(Ok(body.into())).await,
        // The library sends no body with an error of its own making, and the body has the list of problems.
        Err(denied) => {
            request.respond_with_headers(Ok(denied.body.clone().into()), error_headers(&denied)).await
        }
    };
    match sent {
        Err(error) if message.reply.is_some() => warn!(verb = verb.as_str(), %error, "not answered"),
        Err(_) => debug!(verb = verb.as_str(), "a request that wants no answer"),
        Ok(()) => {}
    }
}

/// Whether an answer there would be a message of Longshore or of the server itself: a client could have a scheduler
/// publish where it may not publish itself.
fn is_ours(reply: &str) -> bool {
    reply.starts_with('$') || reply.split('.').next() == subject::ROOT.split('.').next()
}

/// The namespace that a request is about.
fn namespace(subject: &str) -> Result<Namespace, ErrorResponse> {
    subject::api_namespace(subject).unwrap_or_default().parse().map_err(|error| {
        let message = format!("the subject names no namespace: {error}");
        let body = json!({ "error": message, "reason": "malformed", "problems": [{ "message": message }] });
        ErrorResponse { code: 400, message, body: body.to_string().into_bytes() }
    })
}

/// The headers of an error, as ADR-32 has them.
fn error_headers(denied: &ErrorResponse) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // A header is one line; whatever would break it becomes a space.
    let line: String =
        denied.message.chars().take(LINE_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    headers.insert(NATS_SERVICE_ERROR, line.as_str());
    headers.insert(NATS_SERVICE_ERROR_CODE, denied.code.to_string().as_str());
    headers
}

/// An answer that fits into a message, for one that does not would never arrive.
fn fitting(answer: Result<Vec<u8>, ErrorResponse>, room: usize) -> Result<Vec<u8>, ErrorResponse> {
    match answer {
        Ok(body) if body.len() > room => Err(too_large(body.len(), room)),
        Err(denied) if denied.body.len() > room => {
            let line: String = denied.message.chars().take(LINE_CHARS).collect();
            let known: Value = serde_json::from_slice(&denied.body).unwrap_or_default();
            let more = "there are more problems than fit into an answer";
            let body =
                json!({ "error": line, "reason": known.get("reason"), "problems": [{ "message": more }] });
            Err(ErrorResponse { body: body.to_string().into_bytes(), ..denied })
        }
        answer => answer,
    }
}

fn too_large(bytes: usize, room: usize) -> ErrorResponse {
    let message = format!(
        "the answer of {bytes} bytes does not fit into the {room} of a message: ask for less (`limit`), or raise \
         `max_payload` of nats-server"
    );
    let body = json!({ "error": message, "reason": "too_large", "problems": [{ "message": message }] });
    ErrorResponse { code: 413, message, body: body.to_string().into_bytes() }
}

fn busy() -> ErrorResponse {
    let message = "too many requests at once, by their size: try again a little later".to_owned();
    let body = json!({ "error": message, "reason": "busy", "problems": [{ "message": message }] });
    ErrorResponse { code: 503, message, body: body.to_string().into_bytes() }
}

fn late() -> ErrorResponse {
    let message = "no answer in time: something behind the scheduler is slow or away; try again".to_owned();
    let body = json!({ "error": message, "reason": "internal", "problems": [] });
    ErrorResponse { code: 503, message, body: body.to_string().into_bytes() }
}

/// All headers, their names in lower case.
fn headers(map: Option<&HeaderMap>) -> Vec<(String, String)> {
    let all = map.into_iter().flat_map(HeaderMap::iter);
    all.flat_map(|(name, values)| {
        let name = name.to_string().to_ascii_lowercase();
        values.iter().map(move |value| (name.clone(), value.as_str().to_owned()))
    })
    .collect()
}
