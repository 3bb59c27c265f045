//! The desk as an [`Api`]: JSON in, JSON out.

use std::collections::BTreeMap;

use async_trait::async_trait;
use longshore_ports::{RunCursor, RunQuery};
use longshore_proto::{Namespace, RunId, RunStatus, StepPath, Timestamp, WorkflowName};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Desk, Order, Refusal, audit, fit};
use crate::api::{Api, Denied, REQUEST_LIMIT_BYTES, Request, Verb};
use crate::checks::{SMALL_BYTES, on_blocking_thread};
use crate::meter;
use crate::nodes::{LOST_DIGITS, REQUEST_NODES, check_json, loses_digits};
use crate::trace;

/// A body may repeat the namespace of its subject, as clients that keep requests do, and may not name another one.
trait Body: DeserializeOwned {
    fn namespace(&self) -> Option<&Namespace>;
}

macro_rules! body {
    ($($type:ty),*) => { $(impl Body for $type {
        fn namespace(&self) -> Option<&Namespace> {
            self.namespace.as_ref()
        }
    })* };
}
body!(Submit, Get, Output, List, Cancel, NoFields, OneWorkflow, Push, Letters, OneLetter);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submit {
    namespace: Option<Namespace>,
    workflow: WorkflowName,
    id: Option<String>,
    version: Option<String>,
    #[serde(default, deserialize_with = "longshore_proto::strict_map")]
    inputs: Map<String, Value>,
}

/// What a submit answers is a good request for its run, and what it says beside the run is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    namespace: Option<Namespace>,
    run: RunId,
    #[serde(default, rename = "digest")]
    _digest: IgnoredAny,
    #[serde(default, rename = "existed")]
    _existed: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    namespace: Option<Namespace>,
    run: RunId,
    step: Option<StepPath>,
    #[serde(default)]
    content: bool,
    #[serde(default)]
    offset: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    namespace: Option<Namespace>,
    status: Option<OneOrMany<RunStatus>>,
    workflow: Option<WorkflowName>,
    since: Option<Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    after: Option<RunCursor>,
    #[serde(default)]
    limit: usize,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`status` is where runs stand, or a list of such: `running`, `succeeded`, `failed`, ..."
)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancel {
    namespace: Option<Namespace>,
    run: RunId,
    #[serde(default, rename = "digest")]
    _digest: IgnoredAny,
    #[serde(default, rename = "existed")]
    _existed: IgnoredAny,
    #[serde(default)]
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {
    namespace: Option<Namespace>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneWorkflow {
    namespace: Option<Namespace>,
    workflow: WorkflowName,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    namespace: Option<Namespace>,
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Letters {
    namespace: Option<Namespace>,
    #[serde(default)]
    limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneLetter {
    namespace: Option<Namespace>,
    number: u64,
}

#[async_trait]
impl Api for Desk {
    async fn answer(&self, verb: Verb, request: Request) -> Result<Vec<u8>, Denied> {
        let answer = self.answer_verb(verb, &request).await;
        audit::requested(verb, &request, answer.as_deref());
        answer.inspect_err(meter::count_refused_request).map_err(Denied::from)
    }
}

impl Desk {
    async fn answer_verb(&self, verb: Verb, request: &Request) -> Result<Vec<u8>, Refusal> {
        let namespace = &request.namespace;
        match verb {
            Verb::Submit => self.answer_submit(request).await,
            Verb::Get => {
                let Get { run, .. } = read(request).await?;
                document(fit::view(self.get(namespace, run).await?))
            }
            Verb::Output => {
                let Output { run, step, content, offset, .. } = read(request).await?;
                document(self.value(namespace, run, step, content, offset).await?)
            }
            Verb::List => self.answer_list(request).await,
            Verb::Cancel => self.answer_cancel(request).await,
            Verb::Workflows => {
                let NoFields { .. } = read(request).await?;
                document(self.workflows(namespace).await?)
            }
            Verb::Workflow => {
                let OneWorkflow { workflow, version, .. } = read(request).await?;
                document(self.workflow(namespace, &workflow, version.as_deref()).await?)
            }
            Verb::Push => {
                let Push { text, .. } = read(request).await?;
                document(self.push(namespace, &text).await?)
            }
            Verb::Dlq => {
                let Letters { limit, .. } = read(request).await?;
                document(self.letters(namespace, limit).await?)
            }
            Verb::Unregister => {
                let OneWorkflow { workflow, .. } = read(request).await?;
                let versions = self.unregister(namespace, &workflow).await?;
                document(json!({ "workflow": workflow, "versions": versions }))
            }
            Verb::DlqRetry => {
                let OneLetter { number, .. } = read(request).await?;
                document(self.retry_letter(namespace, number).await?)
            }
            Verb::DlqDrop => {
                let OneLetter { number, .. } = read(request).await?;
                self.drop_letter(namespace, number).await?;
                document(json!({ "number": number }))
            }
            Verb::DlqGet => {
                let OneLetter { number, .. } = read(request).await?;
                document(self.letter(namespace, number).await?)
            }
        }
    }

    async fn answer_submit(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let Submit { workflow, id, version, inputs, .. } = read(request).await?;
        let (namespace, trace) = (request.namespace.clone(), trace::of_headers(&request.headers));
        document(self.submit(Order { namespace, workflow, version, id, inputs, trace }).await?)
    }

    async fn answer_list(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let List { status, workflow, since, labels, after, limit, .. } = read(request).await?;
        let statuses = match status {
            None => Vec::new(),
            Some(OneOrMany::One(status)) => vec![status],
            Some(OneOrMany::Many(statuses)) => statuses,
        };
        let namespace = Some(request.namespace.clone());
        let query = RunQuery { namespace, statuses, workflow, since, labels, after, limit };
        document(fit::list(self.list(query).await?))
    }

    async fn answer_cancel(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let Cancel { run, reason, .. } = read(request).await?;
        let reason = if reason.is_empty() { "asked for" } else { &reason };
        self.cancel(&request.namespace, run, reason).await?;
        document(json!({ "run": run }))
    }
}

/// What a request asks; an empty body asks for the defaults. A large body is read on another thread.
async fn read<T: Body + Send + 'static>(request: &Request) -> Result<T, Refusal> {
    let body = request.body.as_slice();
    if body.len() > REQUEST_LIMIT_BYTES {
        return Err(Refusal::TooLarge { bytes: body.len(), limit: REQUEST_LIMIT_BYTES });
    }
    let read: T = if body.len() <= SMALL_BYTES {
        parse(body)?
    } else {
        let body = request.body.clone();
        on_blocking_thread(move || parse(&body)).await?
    };
    match read.namespace().filter(|named| **named != request.namespace) {
        None => Ok(read),
        Some(named) => {
            Err(Refusal::OtherNamespace { named: named.clone(), meant: request.namespace.clone() })
        }
    }
}

fn parse<T: Body>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // A list would be read as well, by the order of its items, which nobody means.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::Malformed("the request is refused: an object was expected".to_owned()));
    }
    check_json(body, REQUEST_NODES)
        .map_err(|error| Refusal::Malformed(format!("the request is refused: {error}")))?;
    if loses_digits(body) {
        return Err(Refusal::Malformed(format!("the request is refused: {LOST_DIGITS}")));
    }
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Malformed(format!("the request is refused: {error}")))
}

fn document(answer: impl Serialize) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(&answer)
        .map_err(|error| Refusal::Malformed(format!("the answer cannot be written as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn inputs_that_cannot_be_kept_exactly_are_refused() {
        let submit = |inputs: &str| {
            let body = format!(r#"{{"workflow": "demo", "inputs": {inputs}}}"#).into_bytes();
            async move { read::<Submit>(&Request { body, ..Request::default() }).await.map(|_| ()) }
        };
        assert!(submit(r#"{"n": 18446744073709551615, "m": {"n": 1}}"#).await.is_ok());
        for (inputs, reason) in [
            (r#"{"n": 1, "n": 2}"#, "the key `n` is written twice"),
            (r#"{"m": [{"n": 1, "n": 1}]}"#, "the key `n` is written twice"),
            (r#"{"n": [123456789012345678901234]}"#, "more than 64 bits"),
        ] {
            let refused = submit(inputs).await.expect_err(inputs).to_string();
            assert!(refused.contains(reason), "{inputs}: {refused}");
        }
    }

    #[tokio::test]
    async fn requests_are_read_strictly_and_an_empty_one_asks_for_the_defaults() {
        let request = |body: &str| Request { body: body.as_bytes().to_vec(), ..Request::default() };
        assert_eq!(read::<List>(&request(" ")).await.map(|list| list.limit).ok(), Some(0));
        let many = read::<List>(&request(r#"{"status": ["failed", "running"]}"#)).await.expect("a list");
        assert!(matches!(many.status, Some(OneOrMany::Many(statuses)) if statuses.len() == 2));
        let bogus =
            read::<List>(&request(r#"{"status": "bogus"}"#)).await.err().expect("refused").to_string();
        assert!(bogus.contains("`status` is where runs stand"), "{bogus}");
        for (body, reason) in [
            ("{", "EOF"),
            (r#"{"run": 18446744073709551616}"#, "more than 64 bits"),
            ("[1]", "an object was expected"),
            ("null", "an object was expected"),
            (r#"{"run": "x"}"#, "not a run id"),
            (r#"{"run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "to": 1}"#, "unknown field `to`"),
            (
                r#"{"run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "namespace": "team"}"#,
                "names the namespace `team`, and its subject `default`",
            ),
        ] {
            let refused = read::<Get>(&request(body)).await.err().expect("refused").to_string();
            assert!(refused.contains(reason), "{body}: {refused}");
        }
    }
}
