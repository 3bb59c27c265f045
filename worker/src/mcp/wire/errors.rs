//! The `error` of a response, in the forms that servers write.

use serde_json::{Map, Value};

use super::super::classify::McpFailure;

/// Maximum number of protocol versions that are read from an error.
const MOST_VERSIONS: usize = 16;

/// Reads an error. Its texts are not cut, since secrets have to be hidden first. A missing code becomes 0.
pub(super) fn read(error: &Value) -> McpFailure {
    let Value::Object(error) = error else {
        return McpFailure::JsonRpc {
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
    McpFailure::JsonRpc { code: code(error), message, data: data_text, supported: supported(data) }
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

/// Returns the protocol versions that a server offers instead of the requested one.
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
            assert_eq!(read(&error).to_string(), wanted, "{error}");
        }
    }

    #[test]
    fn offered_versions_are_read() {
        let error = json!({"code": -32022, "message": "x", "data": {"supported": ["2025-11-25", 3]}});
        let McpFailure::JsonRpc { supported, .. } = read(&error) else { panic!("an error") };
        assert_eq!(supported, ["2025-11-25"]);
    }
}
