//! The `error` of a response, however a server writes it.

use serde_json::{Map, Value};

use super::super::classify::Observation;

/// Protocol versions that are read of an error that lists them.
const MOST_VERSIONS: usize = 16;

/// Reads an error in full: it is cut after its secrets are hidden. A missing code is 0, and a missing message is made of the
/// other fields.
pub(super) fn observed(error: &Value) -> Observation {
    let Value::Object(error) = error else {
        return Observation::JsonRpc {
            code: 0,
            message: plain(error),
            data: String::new(),
            supported: Vec::new(),
        };
    };
    let data = error.get("data").filter(|data| !data.is_null());
    let message = match error.get("message") {
        Some(Value::String(message)) if !message.trim().is_empty() => message.clone(),
        Some(Value::Null | Value::String(_)) | None => "the server gives no reason".to_owned(),
        Some(other) => plain(other),
    };
    let data_text = data.map(ToString::to_string).unwrap_or_default();
    Observation::JsonRpc { code: code(error), message, data: data_text, supported: supported(data) }
}

fn code(error: &Map<String, Value>) -> i64 {
    match error.get("code") {
        Some(Value::Number(code)) => {
            code.as_i64().or_else(|| format!("{:.0}", code.as_f64()?).parse().ok()).unwrap_or_default()
        }
        Some(Value::String(code)) => code.trim().parse().unwrap_or_default(),
        _ => 0,
    }
}

/// The protocol versions that a server offers in the place of the one that it was asked for.
fn supported(data: Option<&Value>) -> Vec<String> {
    let versions = data.and_then(|data| data.get("supported")).and_then(Value::as_array);
    let versions = versions.into_iter().flatten().filter_map(Value::as_str);
    versions.take(MOST_VERSIONS).map(str::to_owned).collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_error_has_a_code_and_a_message() {
        let cases = [
            (json!({"code": -32603, "message": "disk full"}), "disk full (-32603)"),
            (json!({"code": "-32603", "message": "disk full"}), "disk full (-32603)"),
            (json!({"code": 4e0, "message": "x", "data": null}), "x (4)"),
            (
                json!({"code": null, "message": null, "data": {"a": 1}}),
                "the server gives no reason; data: {\"a\":1}",
            ),
            (json!({"code": 99999999999_i64, "message": ["a"]}), "[\"a\"] (99999999999)"),
            (json!({"message": "no code"}), "no code"),
            (json!("Session not found"), "Session not found"),
            (json!(false), "false"),
        ];
        for (error, wanted) in cases {
            assert_eq!(observed(&error).to_string(), wanted, "{error}");
        }
    }

    #[test]
    fn versions_that_a_server_offers_are_read() {
        let error = json!({"code": -32022, "message": "x", "data": {"supported": ["2025-11-25", 3]}});
        let Observation::JsonRpc { supported, .. } = observed(&error) else { panic!("an error") };
        assert_eq!(supported, ["2025-11-25"]);
    }
}
