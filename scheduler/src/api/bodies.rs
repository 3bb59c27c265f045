//! Bodies of requests, and their decoding.

use longshore_ports::{RunCursor, on_blocking_thread};
use longshore_proto::{RunId, StepPath, SubmitBody, Timestamp, WorkflowName, truncate};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::filters::{LabelFilter, StatusFilter};
use super::request::ApiRequest;
use crate::blocking::SMALL_BYTES;
use crate::refusal::Refusal;
use crate::value_count::{LOST_DIGITS, REQUEST_LIMIT_BYTES, REQUEST_VALUE_LIMIT, check_json, loses_digits};

/// Longest reason of a refusal, in characters. It may quote the request, which may have a megabyte.
const REASON_CHARS: usize = 1_000;

/// Longest quoted namespace, in characters: a little more than a namespace can have.
const NAME_CHARS: usize = 80;

/// Body of a request. It may repeat the namespace of the subject, as clients that store requests do, and must not name another
/// one.
pub(super) trait RequestBody: DeserializeOwned {
    fn namespace(&self) -> Option<&str>;
}

macro_rules! request_body {
    ($($type:ty),*) => { $(impl RequestBody for $type {
        fn namespace(&self) -> Option<&str> {
            self.namespace.as_deref()
        }
    })* };
}
request_body!(
    SubmitBody,
    GetBody,
    OutputBody,
    ListBody,
    CancelBody,
    EmptyBody,
    WorkflowBody,
    PushBody,
    DeadLettersBody,
    DeadLetterBody
);

/// The answer to a submit is a valid request for its run, so the other fields of that answer are ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetBody {
    namespace: Option<String>,
    pub(super) run: RunId,
    #[serde(default, rename = "digest")]
    _digest: IgnoredAny,
    #[serde(default, rename = "existed")]
    _existed: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputBody {
    namespace: Option<String>,
    pub(super) run: RunId,
    pub(super) step: Option<StepPath>,
    #[serde(default)]
    pub(super) content: bool,
    #[serde(default)]
    pub(super) offset: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListBody {
    namespace: Option<String>,
    #[serde(default)]
    pub(super) status: StatusFilter,
    pub(super) workflow: Option<WorkflowName>,
    pub(super) since: Option<Timestamp>,
    #[serde(default)]
    pub(super) labels: LabelFilter,
    #[serde(default)]
    pub(super) indeterminate: bool,
    /// True to wait until the list has every run that was submitted before the request.
    #[serde(default)]
    pub(super) wait: bool,
    pub(super) after: Option<RunCursor>,
    #[serde(default)]
    pub(super) limit: usize,
}

/// A cancel accepts the answer to a submit as well.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelBody {
    namespace: Option<String>,
    pub(super) run: RunId,
    #[serde(default, rename = "digest")]
    _digest: IgnoredAny,
    #[serde(default, rename = "existed")]
    _existed: IgnoredAny,
    #[serde(default)]
    pub(super) reason: String,
    /// The run ends at once, without its cleanup.
    #[serde(default)]
    pub(super) terminate: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmptyBody {
    namespace: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkflowBody {
    namespace: Option<String>,
    pub(super) workflow: WorkflowName,
    pub(super) version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PushBody {
    namespace: Option<String>,
    pub(super) text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLettersBody {
    namespace: Option<String>,
    #[serde(default)]
    pub(super) limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeadLetterBody {
    namespace: Option<String>,
    pub(super) number: u64,
}

/// Decodes the body of a request. An empty body means an empty object. A large body is decoded on another thread.
pub(super) async fn read<T: RequestBody + Send + 'static>(request: &ApiRequest) -> Result<T, Refusal> {
    let body = request.body.as_slice();
    let is_message_pack =
        |(name, value): &(String, String)| name == "content-type" && value.contains("msgpack");
    if request.headers.iter().any(is_message_pack) {
        let reason = "the request is refused: a request is JSON; only a published submit may be MessagePack";
        return Err(Refusal::Malformed(reason.to_owned()));
    }
    if body.len() > REQUEST_LIMIT_BYTES {
        return Err(Refusal::TooLarge { bytes: body.len(), limit: REQUEST_LIMIT_BYTES });
    }
    let decoded: T = if body.len() <= SMALL_BYTES {
        parse(body)?
    } else {
        let body = request.body.clone();
        on_blocking_thread(move || parse(&body)).await?
    };
    match decoded.namespace().filter(|named| *named != request.namespace.as_str()) {
        None => Ok(decoded),
        Some(named) => {
            let named = truncate(named, NAME_CHARS).into_owned();
            Err(Refusal::OtherNamespace { named, meant: request.namespace.clone() })
        }
    }
}

fn parse<T: RequestBody>(body: &[u8]) -> Result<T, Refusal> {
    let malformed = |reason: &dyn std::fmt::Display| {
        let reason = reason.to_string();
        Refusal::Malformed(format!("the request is refused: {}", truncate(&reason, REASON_CHARS)))
    };
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    // serde would decode a list as well, by the order of its elements, which is a mistake of the client.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed(&"an object was expected"));
    }
    check_json(body, REQUEST_VALUE_LIMIT).map_err(|error| malformed(&error))?;
    if loses_digits(body) {
        return Err(malformed(&LOST_DIGITS));
    }
    serde_json::from_slice(body).map_err(|error| malformed(&error))
}

#[cfg(test)]
mod tests {
    use longshore_proto::RunStatus;

    use super::*;

    #[tokio::test]
    async fn inputs_that_cannot_be_kept_exactly_are_refused() {
        let submit = |inputs: &str| {
            let body = format!(r#"{{"workflow": "demo", "inputs": {inputs}}}"#).into_bytes();
            async move { read::<SubmitBody>(&ApiRequest { body, ..ApiRequest::default() }).await.map(|_| ()) }
        };
        assert!(submit(r#"{"n": 18446744073709551615, "m": {"n": 1}}"#).await.is_ok());
        for (inputs, reason) in [
            (r#"{"n": 1, "n": 2}"#, "the key `n` is written twice"),
            (r#"{"m": [{"n": 1, "n": 1}]}"#, "the key `n` is written twice"),
            (r#"{"n": [123456789012345678901234]}"#, "more digits than 64 bits hold"),
            (r#"{"n": 9007199254740993.0}"#, "more digits than 64 bits hold"),
        ] {
            let refused = submit(inputs).await.expect_err(inputs).to_string();
            assert!(refused.contains(reason), "{inputs}: {refused}");
        }
    }

    #[tokio::test]
    async fn requests_are_decoded_strictly_and_an_empty_one_means_the_defaults() {
        let request = |body: &str| ApiRequest { body: body.as_bytes().to_vec(), ..ApiRequest::default() };
        let all = read::<ListBody>(&request(" ")).await.expect("a list");
        assert!(all.limit == 0 && all.status.into_statuses().is_empty());
        let two = read::<ListBody>(&request(r#"{"status": ["failed", "running"]}"#)).await.expect("a list");
        assert_eq!(two.status.into_statuses(), [RunStatus::Failed, RunStatus::Running]);
        let packed = ApiRequest {
            headers: vec![("content-type".to_owned(), "application/msgpack".to_owned())],
            ..request("{}")
        };
        let refused = read::<ListBody>(&packed).await.err().expect("refused").to_string();
        assert!(refused.contains("a request is JSON"), "{refused}");
        let long = format!(r#"{{"{}": 1}}"#, "x".repeat(100_000));
        let long = read::<ListBody>(&request(&long)).await.err().expect("refused").to_string();
        assert!(long.contains("unknown field `xxx") && long.len() < 2_000, "{}", long.len());
        let bogus =
            read::<ListBody>(&request(r#"{"status": "bogus"}"#)).await.err().expect("refused").to_string();
        assert!(bogus.contains("`status` to be the status of runs"), "{bogus}");
        for (body, reason) in [
            ("{", "EOF"),
            (r#"{"run": 18446744073709551616}"#, "more digits than 64 bits hold"),
            ("[1]", "an object was expected"),
            ("null", "an object was expected"),
            (r#"{"run": "x"}"#, "not a run id"),
            (r#"{"run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "to": 1}"#, "unknown field `to`"),
            (
                r#"{"run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w", "namespace": "team"}"#,
                "names the namespace `team`, and its subject `default`",
            ),
        ] {
            let refused = read::<GetBody>(&request(body)).await.err().expect("refused").to_string();
            assert!(refused.contains(reason), "{body}: {refused}");
        }
    }
}
