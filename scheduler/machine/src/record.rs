//! Arguments of a call in the record of its step.
//!
//! Small arguments are kept whole, of larger ones the beginning of their JSON text. Secrets are names in them, never values.
//! While a call is outstanding, its state has all arguments, because every attempt sends the same.

use serde_json::{Map, Value, json};

/// Maximum number of bytes of JSON text that are kept of one call: a file name, a query, a short message.
const CALL_LIMIT_BYTES: usize = 2 * 1024;

/// Maximum number of bytes that are kept of all calls of a run. Every checkpoint of a changed run writes them again.
const RUN_LIMIT_BYTES: usize = 256 * 1024;

/// Bytes that are kept of each call at least, however many calls a run has.
const LEAST_BYTES: usize = 64;

/// Returns the part of arguments that is kept. `bytes` is the size of their JSON text, `steps` the number of steps of the run.
pub(super) fn kept(arguments: &Map<String, Value>, bytes: usize, steps: usize) -> Value {
    let limit = (RUN_LIMIT_BYTES / steps.max(1)).clamp(LEAST_BYTES, CALL_LIMIT_BYTES);
    if bytes <= limit {
        return Value::Object(arguments.clone());
    }
    let text = Value::Object(arguments.clone()).to_string();
    let beginning = text.get(..text.floor_char_boundary(limit)).unwrap_or_default();
    json!({ "beginning": { "text": beginning, "bytes": bytes } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(text: &str) -> Map<String, Value> {
        Map::from_iter([("text".to_owned(), Value::from(text))])
    }

    fn kept_of(text: &str, steps: usize) -> Value {
        let arguments = arguments(text);
        kept(&arguments, Value::Object(arguments.clone()).to_string().len(), steps)
    }

    #[test]
    fn small_arguments_are_kept_as_they_were_sent() {
        assert_eq!(kept_of("a", 1), json!({ "text": "a" }));
        assert_eq!(kept_of("a", 1_000_000), json!({ "text": "a" }));
    }

    #[test]
    fn of_large_arguments_the_beginning_is_kept_up_to_a_character() {
        let whole = "ü".repeat(2_000);
        let cut = kept_of(&whole, 1);
        let text = cut["beginning"]["text"].as_str().expect("a text");
        assert_eq!(cut["beginning"]["bytes"], 4_011);
        assert!(
            text.starts_with("{\"text\":\"üü") && text.len() > 2_040 && text.len() <= 2_048,
            "{}",
            text.len()
        );
        let of_many = kept_of(&whole, 2_560);
        assert_eq!(
            of_many["beginning"]["text"].as_str().map(str::len),
            Some(101),
            "a share of the run's bytes"
        );
    }
}
