//! Refusals of schedulers, as messages and exit codes.

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;

/// Header with the code of a refusal, as NATS services send it (ADR-32).
const ERROR_CODE: &str = "Nats-Service-Error-Code";
const ERROR_TEXT: &str = "Nats-Service-Error";

/// The reason of a refusal for lack of room in a store.
const FULL: &str = "full";

/// The reason of a refusal because a store denies the scheduler a permission.
const DENIED: &str = "denied";

/// The reason of a refusal because the text of a registered workflow is gone.
const WORKFLOW_MISSING: &str = "workflow_missing";

/// The reason of a refusal because changes of a partition are not stored yet.
const NOT_STORED: &str = "not_stored";

/// Body of a refusal.
#[derive(Debug, Default, Deserialize)]
struct RefusalBody {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    problems: Vec<Value>,
}

/// A refusal of a request.
pub(crate) struct Refusal {
    /// The reason, as one token.
    pub(super) reason: String,
    pub(crate) failure: Failure,
}

impl Refusal {
    /// Returns true if changes of a partition are not stored yet.
    pub(crate) fn is_not_stored(&self) -> bool {
        self.reason == NOT_STORED
    }
}

/// Decodes the refusal in an answer. Returns `None` if the answer is not a refusal.
pub(super) fn refusal_of(headers: &HeaderMap, body: &[u8]) -> Option<Refusal> {
    let code: u16 = headers.get(ERROR_CODE)?.as_str().parse().unwrap_or(500);
    let text = headers.get(ERROR_TEXT).map_or("refused", |text| text.as_str());
    let RefusalBody { reason, problems } = serde_json::from_slice(body).unwrap_or_default();
    let exit = match code {
        _ if reason == DENIED => Exit::Denied,
        _ if reason == WORKFLOW_MISSING => Exit::NotFound,
        400 | 409 | 413 => Exit::Invalid,
        404 => Exit::NotFound,
        429 => Exit::Full,
        503 if reason == FULL => Exit::Full,
        503 => Exit::Unreachable,
        _ => Exit::Error,
    };
    let further: Vec<_> = problems.iter().map(problem_line).filter(|line| line != text).collect();
    let lines: String = further.iter().map(|line| format!("\n  {line}")).collect();
    let help = match reason.as_str() {
        FULL => Some("`longshore doctor` shows which store is full".to_owned()),
        WORKFLOW_MISSING => Some("`longshore doctor` names the workflows whose text is gone; push them again with `longshore workflows push`".to_owned()),
        DENIED => Some("`longshore doctor` shows which process lacks a permission".to_owned()),
        _ if exit == Exit::Unreachable => {
            Some("try again a little later; `longshore doctor` shows what is not available".to_owned())
        }
        _ => None,
    };
    Some(Refusal { reason, failure: Failure::new(exit, format!("{text}{lines}")).maybe_help(help) })
}

/// Returns a problem as a line.
fn problem_line(problem: &Value) -> String {
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
    fn missing_room_or_permission_has_another_exit_code_than_an_unreachable_cluster() {
        let exit = |code: &str, reason: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ERROR_CODE, code);
            let body = format!(r#"{{"reason": "{reason}"}}"#);
            refusal_of(&headers, body.as_bytes()).map(|refusal| refusal.failure.exit)
        };
        assert_eq!(exit("503", "full"), Some(Exit::Full));
        assert_eq!(exit("429", "quota"), Some(Exit::Full));
        assert_eq!(exit("503", "internal"), Some(Exit::Unreachable));
        assert_eq!(exit("503", "not_stored"), Some(Exit::Unreachable));
        assert_eq!(exit("503", "denied"), Some(Exit::Denied));
        assert_eq!(exit("500", "denied"), Some(Exit::Denied));
    }
}
