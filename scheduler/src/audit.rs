//! Audit log: one line for each request that changes something, with the client and the outcome.
//!
//! Lines have the target `longshore::audit` at level info, so that a filter or a log shipper can separate them. They contain
//! the namespace, run and workflow, and never inputs. The namespace is certain, because NATS allows its subjects only to the
//! account of the namespace. Account, user and host are written by the NATS server into a request from another account; the
//! client's name is chosen by the client.

use longshore_proto::{Event, Namespace};
use serde::Deserialize;
use tracing::{Level, enabled, info};

use crate::refusal::Refusal;

/// Target of the lines.
macro_rules! target {
    () => {
        "longshore::audit"
    };
}

/// Header in which the NATS server names the client, if the request comes from another account.
const CLIENT_HEADER: &str = "nats-request-info";

/// Longest value in a line, in characters: the longest id.
const VALUE_CHARS: usize = 256;

/// Fields of requests and answers that name the object of a request. Other fields are ignored.
#[derive(Default, Deserialize)]
struct ObjectNames {
    run: Option<String>,
    workflow: Option<String>,
    name: Option<String>,
    id: Option<String>,
    digest: Option<String>,
    number: Option<u64>,
}

/// The client, as the NATS server describes it.
#[derive(Default, Deserialize)]
struct ClientInfo {
    acc: Option<String>,
    user: Option<String>,
    host: Option<String>,
    name: Option<String>,
}

/// Logs a request and its outcome.
pub(crate) fn audit_request(
    namespace: &Namespace,
    verb: &str,
    headers: &[(String, String)],
    body: &[u8],
    answer: Result<&[u8], &Refusal>,
) {
    if !enabled!(target: target!(), Level::INFO) {
        return;
    }
    let asked: ObjectNames = serde_json::from_slice(body).unwrap_or_default();
    let answered: ObjectNames =
        answer.ok().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let header = headers.iter().find(|(name, _)| name == CLIENT_HEADER);
    let client: ClientInfo =
        header.and_then(|(_, value)| serde_json::from_str(value).ok()).unwrap_or_default();
    let run = bounded(answered.run.or(asked.run));
    let workflow = bounded(answered.name.or(asked.workflow));
    let (digest, id) = (bounded(answered.digest), bounded(asked.id));
    let (account, user) = (bounded(client.acc), bounded(client.user));
    let (host, client) = (bounded(client.host), bounded(client.name));
    info!(
        target: target!(),
        namespace = namespace.as_str(),
        verb,
        run = run.as_deref(),
        workflow = workflow.as_deref(),
        digest = digest.as_deref(),
        id = id.as_deref(),
        number = asked.number,
        account = account.as_deref(),
        user = user.as_deref(),
        host = host.as_deref(),
        client = client.as_deref(),
        outcome = answer.map_or_else(Refusal::token, |_| "accepted"),
        "request"
    );
}

/// Logs published submits that were appended to the log.
pub(crate) fn audit_published(submitted: &[Event]) {
    if !enabled!(target: target!(), Level::INFO) {
        return;
    }
    for event in submitted {
        let Event::Submitted { run, namespace, workflow, .. } = event else { continue };
        info!(
            target: target!(),
            namespace = namespace.as_str(),
            verb = "submit",
            run = %run,
            workflow = workflow.name.as_str(),
            digest = %workflow.digest,
            outcome = "accepted",
            "publish"
        );
    }
}

/// Logs a published submit that is refused. The names in its subject may be invalid.
pub(crate) fn audit_refused(namespace: &str, workflow: &str, refusal: &Refusal) {
    let (namespace, workflow) = (bounded(Some(namespace.to_owned())), bounded(Some(workflow.to_owned())));
    info!(
        target: target!(),
        namespace = namespace.as_deref(),
        verb = "submit",
        workflow = workflow.as_deref(),
        outcome = refusal.token(),
        "publish"
    );
}

/// Returns a value of a client, cut to the longest valid length.
fn bounded(value: Option<String>) -> Option<String> {
    value.map(|value| value.chars().take(VALUE_CHARS).collect())
}
