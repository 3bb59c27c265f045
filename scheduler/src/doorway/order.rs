//! What a published message asks for.

use std::ops::RangeInclusive;

use longshore_ports::{DeadLetter, Incoming};
use longshore_proto::{ID_HEADER, SubmitRequest, subject};
use serde::Deserialize as _;
use serde_json::Value;

use crate::api::REQUEST_LIMIT_BYTES;
use crate::desk::{Order, Refusal};
use crate::nodes::{DEPTH, LOST_DIGITS, REQUEST_NODES, check_json, check_message_pack, loses_digits};
use crate::trace;

/// What a map begins with in MessagePack: a short one, and one whose length follows in two or four bytes.
const MAPS: RangeInclusive<u8> = 0x80..=0x8f;
const LONG_MAPS: RangeInclusive<u8> = 0xde..=0xdf;

/// The types of a body in MessagePack: the registered one is the last, and the others are older.
const MESSAGE_PACK: [&str; 3] = ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"];

/// Reads a message. Nothing of it was checked before.
pub(super) fn read(message: &Incoming) -> Result<Order, Refusal> {
    if message.body.len() > REQUEST_LIMIT_BYTES {
        return Err(Refusal::TooLarge { bytes: message.body.len(), limit: REQUEST_LIMIT_BYTES });
    }
    let Incoming { namespace, workflow, headers, .. } = message;
    order((namespace, workflow), headers, body(&message.body, &media_type(headers))?)
}

/// Reads a message that was refused before, from what is kept of it. If it brought no id, it gets one of its own, so that the
/// same message is one run however often it is submitted again.
pub(crate) fn read_again(letter: &DeadLetter) -> Result<Order, Refusal> {
    if !letter.whole {
        return Err(Refusal::LetterIncomplete(letter.seq));
    }
    let namespace = subject::submit_namespace(&letter.subject).unwrap_or_default();
    let workflow = letter.subject.rsplit('.').next().unwrap_or_default();
    let headers: Vec<_> = letter.headers.clone().into_iter().collect();
    // MessagePack is kept as JSON.
    let media_type = media_type(&headers);
    let media_type =
        if MESSAGE_PACK.contains(&media_type.as_str()) { "application/json" } else { &media_type };
    let mut order = order((namespace, workflow), &headers, body(letter.body.as_bytes(), media_type)?)?;
    order.id.get_or_insert_with(|| format!("dlq-{}-{}", letter.seq, letter.at.as_millis()));
    Ok(order)
}

fn order(
    (namespace, workflow): (&str, &str),
    headers: &[(String, String)],
    request: SubmitRequest,
) -> Result<Order, Refusal> {
    let malformed = |error: longshore_proto::IdError| Refusal::Malformed(error.to_string());
    let namespace = namespace.parse().map_err(malformed)?;
    let workflow = workflow.parse().map_err(malformed)?;
    let SubmitRequest { id, version, inputs } = request;
    let of_headers = || header(headers, ID_HEADER).or_else(|| header(headers, "nats-msg-id"));
    let id = id.or_else(|| of_headers().map(str::to_owned));
    Ok(Order { namespace, workflow, version, id, inputs, trace: trace::of_headers(headers) })
}

/// The body, by its `content-type`: JSON unless it says MessagePack. An empty one submits with no inputs.
fn body(body: &[u8], media_type: &str) -> Result<SubmitRequest, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(SubmitRequest::default());
    }
    let refuse = |why: String| Refusal::Malformed(format!("the body is no submit request: {why}"));
    let no_object =
        || refuse("an object was expected, with `inputs`, and perhaps `id` and `version`".to_owned());
    // Either format would be read from a list as well, by the order of its items, which nobody means.
    match (media_type, body.trim_ascii_start().first(), body.first()) {
        ("application/json" | "text/json" | "", Some(b'{'), _) => {
            check_json(body, REQUEST_NODES).map_err(|error| refuse(error.to_string()))?;
            if loses_digits(body) {
                return Err(refuse(LOST_DIGITS.to_owned()));
            }
            serde_json::from_slice(body).map_err(|error| refuse(without_value(&error.to_string())))
        }
        ("application/json" | "text/json" | "", ..) => Err(no_object()),
        (packed, _, first) if MESSAGE_PACK.contains(&packed) => {
            if !first.is_some_and(|first| MAPS.contains(first) || LONG_MAPS.contains(first)) {
                return Err(no_object());
            }
            check_message_pack(body, REQUEST_NODES).map_err(|error| refuse(error.to_string()))?;
            let mut rest = body;
            let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
            deserializer.set_max_depth(DEPTH);
            let read = SubmitRequest::deserialize(&mut deserializer);
            let read = read.map_err(|error| refuse(without_value(&error.to_string())))?;
            if rest.is_empty() { Ok(read) } else { Err(refuse("something follows its end".to_owned())) }
        }
        (other, ..) => {
            let other: String = other.chars().take(80).collect();
            let help = "send application/json or application/msgpack";
            Err(Refusal::Malformed(format!("a body of type `{other}` cannot be read: {help}")))
        }
    }
}

/// The text of a parser's error without the value that it quotes: reasons are logged and kept, and the value may be a secret.
fn without_value(error: &str) -> String {
    let quoting = ["invalid type: ", "invalid value: "].into_iter().find_map(|kind| {
        let (before, rest) = error.split_once(kind)?;
        let (found, wanted) = rest.rsplit_once(", expected ")?;
        let found = found.split(['"', '`']).next().unwrap_or_default().trim_end();
        Some(format!("{before}{kind}{found}, expected {wanted}"))
    });
    quoting.unwrap_or_else(|| error.to_owned())
}

/// A body for people to read.
pub(super) fn text(message: &Incoming) -> String {
    let packed = MESSAGE_PACK.contains(&media_type(&message.headers).as_str());
    if !packed || check_message_pack(&message.body, REQUEST_NODES).is_err() {
        return raw_text(message);
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(message.body.as_slice());
    deserializer.set_max_depth(DEPTH);
    match Value::deserialize(&mut deserializer) {
        // One that is a number is most likely no MessagePack: any byte of JSON reads as one.
        Ok(value) if value.is_object() || value.is_array() => value.to_string(),
        _ => raw_text(message),
    }
}

/// A body as it came.
pub(super) fn raw_text(message: &Incoming) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

fn media_type(headers: &[(String, String)]) -> String {
    let content_type = header(headers, "content-type").unwrap_or("application/json");
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn header<'m>(headers: &'m [(String, String)], name: &str) -> Option<&'m str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_that_cannot_be_kept_exactly_are_refused() {
        let of_json = |text: &str| body(text.as_bytes(), "application/json").expect_err(text).to_string();
        let twice = of_json(r#"{"inputs":{"n":1,"n":2}}"#);
        assert!(twice.contains("the key `n` is written twice"), "{twice}");
        let long = of_json(r#"{"inputs":{"n":[123456789012345678901234]}}"#);
        assert!(long.contains("more than 64 bits") && !long.contains("1234"), "{long}");
        // `{"inputs": {"n": 1, "n": 2}}`
        let packed = [&[0x81, 0xa6][..], b"inputs", &[0x82, 0xa1, b'n', 1, 0xa1, b'n', 2]].concat();
        let twice = body(&packed, "application/msgpack").expect_err("refused").to_string();
        assert!(twice.contains("the key `n` is written twice"), "{twice}");
        // `{"inputs": {"n": NaN}}`
        let nan = [&[0x81, 0xa6][..], b"inputs", &[0x81, 0xa1, b'n', 0xca, 0x7f, 0xc0, 0, 0]].concat();
        let refused = body(&nan, "application/msgpack").expect_err("refused").to_string();
        assert!(refused.contains("a number is not finite"), "{refused}");
    }

    #[test]
    fn a_reason_never_holds_a_value_of_the_body() {
        for value in [r#""4111, expected x""#, "4111", "4111.5", r#"["4111"]"#, "true"] {
            let text = format!(r#"{{"inputs":{value}}}"#);
            let packed = rmp_serde::to_vec(&serde_json::from_str::<Value>(&text).expect("JSON"));
            let of_json = body(text.as_bytes(), "application/json").expect_err("refused").to_string();
            let of_packed = body(&packed.expect("MessagePack"), "application/msgpack").expect_err("refused");
            for reason in [of_json, of_packed.to_string()] {
                assert!(reason.contains("invalid type: ") && reason.contains(", expected"), "{reason}");
                assert!(!reason.contains("4111") && !reason.contains("true"), "{reason}");
            }
        }
    }
}
