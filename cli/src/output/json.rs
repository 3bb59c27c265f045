//! Masks the credentials of addresses in JSON texts.

use std::borrow::Cow;

use longshore_ports::redact_addresses;

/// Returns JSON texts with all addresses within strings shown without credentials. The order of fields is kept.
pub(super) fn json_without_credentials(json: &str) -> Cow<'_, str> {
    if !json.contains(":/") && !json.contains(r":\/") {
        return Cow::Borrowed(json);
    }
    let (mut shown, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(start) = rest.find('"') {
        let (before, string) = rest.split_at(start);
        let (string, after) = string.split_at(string_length(string));
        shown.push_str(before);
        let masked =
            serde_json::from_str::<String>(string).ok().and_then(|text| match redact_addresses(&text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(masked) => serde_json::to_string(&masked).ok(),
            });
        shown.push_str(masked.as_deref().unwrap_or(string));
        rest = after;
    }
    shown.push_str(rest);
    Cow::Owned(shown)
}

/// Returns the length of the string literal that a text begins with, with its quotation marks.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_strings_are_masked_and_the_rest_is_kept() {
        let json = r#"{"b":"is `nats://u:s3\"cret@h:1`","a":[1,"C:\\","nats://s3cret@h"],"nats://u:s3cret@h":"x\\\"y"}"#;
        let shown = r#"{"b":"is `nats://***@h:1`","a":[1,"C:\\","nats://***@h"],"nats://***@h":"x\\\"y"}"#;
        assert_eq!(json_without_credentials(&format!("{json}\n{json}\n")), format!("{shown}\n{shown}\n"));
        assert_eq!(json_without_credentials(r#"{"a":"b"}"#), r#"{"a":"b"}"#);
    }
}
