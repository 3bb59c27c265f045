//! An answer of a scheduler that says no, in words for a person and as an exit code.

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;

/// The headers of an answer that says no, as NATS' micro services have them (ADR-32).
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR_TEXT: &str = "Nats-Service-Error";

/// The reason of a denial for lack of room in a store.
const FULL: &str = "full";

/// The reason of a denial because a store denies the scheduler a permission.
const DENIED: &str = "denied";

/// What is wrong with a request, in full.
#[derive(Debug, Default, Deserialize)]
struct Problems {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    problems: Vec<Value>,
}

/// What a scheduler says that does not do what it was asked.
pub(super) struct Denial {
    /// The kind of reason, one token.
    pub(super) reason: String,
    pub(super) failure: Failure,
}

/// Whether an answer says no, and why.
pub(super) fn denied(headers: &HeaderMap, body: &[u8]) -> Option<Denial> {
    let code: u16 = headers.get(ERROR_CODE)?.as_str().parse().unwrap_or(500);
    let text = headers.get(ERROR_TEXT).map_or("refused", |text| text.as_str());
    let Problems { reason, problems } = serde_json::from_slice(body).unwrap_or_default();
    let exit = match code {
        _ if reason == DENIED => Exit::Denied,
        400 | 409 | 413 => Exit::Invalid,
        404 => Exit::NotFound,
        429 => Exit::Full,
        503 if reason == FULL => Exit::Full,
        503 => Exit::Unreachable,
        _ => Exit::Error,
    };
    let further: Vec<_> = problems.iter().map(words).filter(|words| words != text).collect();
    let lines: String = further.iter().map(|words| format!("\n  {words}")).collect();
    let help = match reason.as_str() {
        FULL => Some("`longshore doctor` says which store is full".to_owned()),
        DENIED => Some("`longshore doctor` says which process lacks a permission".to_owned()),
        _ => None,
    };
    Some(Denial { reason, failure: Failure::new(exit, format!("{text}{lines}")).maybe_help(help) })
}

/// A problem as a line.
fn words(problem: &Value) -> String {
    match problem {
        Value::String(text) => text.clone(),
        Value::Object(fields) => match fields.get("message") {
            Some(Value::String(text)) => text.clone(),
            _ => problem.to_string(),
        },
        _ => problem.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_without_room_or_permissions_is_not_one_that_cannot_be_reached() {
        let exit = |code: &str, reason: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ERROR_CODE, code);
            let body = format!(r#"{{"reason": "{reason}"}}"#);
            denied(&headers, body.as_bytes()).map(|denial| denial.failure.exit)
        };
        assert_eq!(exit("503", "full"), Some(Exit::Full));
        assert_eq!(exit("429", "quota"), Some(Exit::Full));
        assert_eq!(exit("503", "internal"), Some(Exit::Unreachable));
        assert_eq!(exit("503", "not_stored"), Some(Exit::Unreachable));
        assert_eq!(exit("503", "denied"), Some(Exit::Denied));
        assert_eq!(exit("500", "denied"), Some(Exit::Denied));
    }
}
