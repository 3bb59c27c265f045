//! The desk as an [`Api`]: JSON in, JSON out.

use async_trait::async_trait;
use longshore_backend::{Api, Denied, Request, RunQuery, Verb};
use longshore_proto::{Namespace, RunId, RunStatus, WorkflowName};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Desk, Order, Refusal, fit};
use crate::trace;

/// How large a request may be, in bytes: what a broker takes in one message by default.
pub(crate) const REQUEST_LIMIT_BYTES: usize = 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Submit {
    workflow: WorkflowName,
    #[serde(default)]
    namespace: Namespace,
    id: Option<String>,
    version: Option<String>,
    #[serde(default)]
    inputs: Map<String, Value>,
}

/// What a submit answers is a good request for its run, and what it says beside the run is passed over.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Get {
    run: RunId,
    #[serde(default, rename = "digest")]
    _digest: IgnoredAny,
    #[serde(default, rename = "existed")]
    _existed: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    namespace: Option<Namespace>,
    status: Option<OneOrMany<RunStatus>>,
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
struct OfNamespace {
    #[serde(default)]
    namespace: Namespace,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Push {
    text: String,
    #[serde(default)]
    namespace: Namespace,
}

#[async_trait]
impl Api for Desk {
    async fn answer(&self, verb: Verb, request: Request) -> Result<Vec<u8>, Denied> {
        let answer = match verb {
            Verb::Submit => self.answer_submit(&request).await,
            Verb::Get => match read::<Get>(&request) {
                Ok(Get { run, .. }) => self.get(run).await.map(fit::view).and_then(document),
                Err(refusal) => Err(refusal),
            },
            Verb::List => self.answer_list(&request).await,
            Verb::Cancel => self.answer_cancel(&request).await,
            Verb::Workflows => match read::<OfNamespace>(&request) {
                Ok(of) => self.workflows(&of.namespace).await.and_then(document),
                Err(refusal) => Err(refusal),
            },
            Verb::Push => match read::<Push>(&request) {
                Ok(Push { text, namespace }) => self.push(&namespace, &text).await.and_then(document),
                Err(refusal) => Err(refusal),
            },
        };
        answer.map_err(Denied::from)
    }
}

impl Desk {
    async fn answer_submit(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let Submit { workflow, namespace, id, version, inputs } = read(request)?;
        let trace = trace::of_headers(&request.headers);
        document(self.submit(Order { namespace, workflow, version, id, inputs, trace }).await?)
    }

    async fn answer_list(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let List { namespace, status, limit } = read(request)?;
        let statuses = match status {
            None => Vec::new(),
            Some(OneOrMany::One(status)) => vec![status],
            Some(OneOrMany::Many(statuses)) => statuses,
        };
        document(fit::list(self.list(RunQuery { namespace, statuses, limit }).await?))
    }

    async fn answer_cancel(&self, request: &Request) -> Result<Vec<u8>, Refusal> {
        let Cancel { run, reason, .. } = read(request)?;
        let reason = if reason.is_empty() { "asked for" } else { &reason };
        self.cancel(run, reason).await?;
        document(json!({ "run": run }))
    }
}

/// What a request asks; an empty body asks for the defaults.
fn read<T: DeserializeOwned>(request: &Request) -> Result<T, Refusal> {
    let body = request.body.as_slice();
    if body.len() > REQUEST_LIMIT_BYTES {
        return Err(Refusal::TooLarge { bytes: body.len(), limit: REQUEST_LIMIT_BYTES });
    }
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // A list would be read as well, by the order of its items, which nobody means.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::Malformed("the request is refused: an object was expected".to_owned()));
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

    #[test]
    fn requests_are_read_strictly_and_an_empty_one_asks_for_the_defaults() {
        let request = |body: &str| Request { headers: Vec::new(), body: body.as_bytes().to_vec() };
        assert_eq!(read::<List>(&request(" ")).map(|list| list.limit).ok(), Some(0));
        let many = read::<List>(&request(r#"{"status": ["failed", "running"]}"#)).expect("a list");
        assert!(matches!(many.status, Some(OneOrMany::Many(statuses)) if statuses.len() == 2));
        let bogus = read::<List>(&request(r#"{"status": "bogus"}"#)).err().expect("refused").to_string();
        assert!(bogus.contains("`status` is where runs stand"), "{bogus}");
        for (body, reason) in [
            ("{", "EOF"),
            ("[1]", "an object was expected"),
            ("null", "an object was expected"),
            (r#"{"run": "x"}"#, "not a run id"),
            (r#"{"run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "to": 1}"#, "unknown field `to`"),
        ] {
            let refused = read::<Get>(&request(body)).err().expect("refused").to_string();
            assert!(refused.contains(reason), "{body}: {refused}");
        }
    }
}
