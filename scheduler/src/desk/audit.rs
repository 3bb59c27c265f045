//! The audit log: one line for each change that was asked for, with who asked, and what became of it.
//!
//! Lines have the target `longshore::audit`, at info, so that a filter or a log shipper can keep them apart. They say which
//! namespace, run and workflow, and never what a run was given. The namespace is certain, since NATS lets nobody but its
//! account use the subject. Account, user and host are what the NATS server itself writes into a request that comes from
//! another account; a client calls itself by a name of its own choice.

use longshore_proto::Event;
use serde::Deserialize;
use tracing::{Level, enabled, info};

use super::Refusal;
use crate::api::{Request, Verb};

/// The target of the lines.
macro_rules! target {
    () => {
        "longshore::audit"
    };
}

/// The header in which the NATS server says who asks, where a request comes from another account.
const CLIENT_HEADER: &str = "nats-request-info";

/// Characters of a value that a client chose: the longest id.
const VALUE_CHARS: usize = 256;

/// The fields of a request, and of an answer, that name what it is about. Everything else is passed over.
#[derive(Default, Deserialize)]
struct Named {
    run: Option<String>,
    workflow: Option<String>,
    name: Option<String>,
    id: Option<String>,
    digest: Option<String>,
    number: Option<u64>,
}

/// Who asks, by the NATS server.
#[derive(Default, Deserialize)]
struct ClientInfo {
    acc: Option<String>,
    user: Option<String>,
    host: Option<String>,
    name: Option<String>,
}

/// Writes down a request and what became of it.
pub(super) fn requested(verb: Verb, request: &Request, answer: Result<&[u8], &Refusal>) {
    if !verb.changes() || !enabled!(target: target!(), Level::INFO) {
        return;
    }
    let asked: Named = serde_json::from_slice(&request.body).unwrap_or_default();
    let answered: Named = answer.ok().and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let header = request.headers.iter().find(|(name, _)| name == CLIENT_HEADER);
    let client: ClientInfo =
        header.and_then(|(_, value)| serde_json::from_str(value).ok()).unwrap_or_default();
    let run = bounded(answered.run.or(asked.run));
    let workflow = bounded(answered.name.or(asked.workflow));
    let (digest, id) = (bounded(answered.digest), bounded(asked.id));
    let (account, user) = (bounded(client.acc), bounded(client.user));
    let (host, client) = (bounded(client.host), bounded(client.name));
    info!(
        target: target!(),
        namespace = request.namespace.as_str(),
        verb = verb.as_str(),
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

/// Writes down submits that were published and have been recorded.
pub(crate) fn published(submits: &[Event]) {
    if !enabled!(target: target!(), Level::INFO) {
        return;
    }
    for submit in submits {
        let Event::Submitted { run, namespace, workflow, .. } = submit else { continue };
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

/// Writes down a submit that was published and is refused. What its subject names may be no name.
pub(crate) fn refused(namespace: &str, workflow: &str, refusal: &Refusal) {
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

/// A value that a client chose, cut where it is longer than any that is valid.
fn bounded(value: Option<String>) -> Option<String> {
    value.map(|value| value.chars().take(VALUE_CHARS).collect())
}
