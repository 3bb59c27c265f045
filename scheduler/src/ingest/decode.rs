//! Decoding of published messages and dead letters.

use std::ops::RangeInclusive;

use longshore_ports::{DeadLetter, Incoming};
use longshore_proto::{ID_HEADER, IdError, Namespace, SubmitBody, WorkflowName, subject};
use serde::Deserialize as _;
use serde_json::Value;

use crate::refusal::Refusal;
use crate::submit_request::SubmitRequest;
use crate::trace;
use crate::value_count::{
    LOST_DIGITS, MESSAGE_PACK_DEPTH, REQUEST_LIMIT_BYTES, REQUEST_VALUE_LIMIT, check_json,
    check_message_pack, loses_digits,
};

/// First byte of a map in MessagePack: of a short one, and of one whose length follows in two or four bytes.
const SHORT_MAP: RangeInclusive<u8> = 0x80..=0x8f;
const LONG_MAP: RangeInclusive<u8> = 0xde..=0xdf;

/// Media types of MessagePack. The last one is the registered one, the others are older.
const MESSAGE_PACK: [&str; 3] = ["application/msgpack", "application/x-msgpack", "application/vnd.msgpack"];

/// Subject and headers of a message.
struct MessageEnvelope<'m> {
    /// The token of the subject that names a namespace. Not checked.
    namespace: &'m str,
    /// The token of the subject that names a workflow. Not checked.
    workflow: &'m str,
    headers: &'m [(String, String)],
}

/// Decodes a published message.
pub(super) fn decode(message: &Incoming) -> Result<SubmitRequest, Refusal> {
    if message.body.len() > REQUEST_LIMIT_BYTES {
        return Err(Refusal::TooLarge { bytes: message.body.len(), limit: REQUEST_LIMIT_BYTES });
    }
    let Incoming { namespace, workflow, headers, .. } = message;
    let body = decode_body(&message.body, &media_type(headers))?;
    MessageEnvelope { namespace, workflow, headers }.request(body)
}

/// Decodes a dead letter. A letter without an id gets one of its own, so that it is one run however often it is submitted
/// again.
pub(crate) fn decode_dead_letter(letter: &DeadLetter) -> Result<SubmitRequest, Refusal> {
    if !letter.whole {
        return Err(Refusal::IncompleteDeadLetter(letter.seq));
    }
    let namespace = subject::submit_namespace(&letter.subject).unwrap_or_default();
    let workflow = letter.subject.rsplit('.').next().unwrap_or_default();
    let headers: Vec<_> = letter.headers.clone().into_iter().collect();
    // A body in MessagePack is stored as JSON.
    let media_type = media_type(&headers);
    let media_type =
        if MESSAGE_PACK.contains(&media_type.as_str()) { "application/json" } else { &media_type };
    let body = decode_body(letter.body.as_bytes(), media_type)?;
    let mut request = MessageEnvelope { namespace, workflow, headers: &headers }.request(body)?;
    request.id.get_or_insert_with(|| format!("dlq-{}-{}", letter.seq, letter.at.as_millis()));
    Ok(request)
}

impl MessageEnvelope<'_> {
    /// Adds the names of the subject, and what the headers have, to a body.
    fn request(&self, body: SubmitBody) -> Result<SubmitRequest, Refusal> {
        let malformed = |error: IdError| Refusal::Malformed(error.to_string());
        let namespace: Namespace = self.namespace.parse().map_err(malformed)?;
        let workflow: WorkflowName = self.workflow.parse().map_err(malformed)?;
        // Without the value of the body: reasons are stored, and the value may be a secret.
        let other = |what: &str, meant: &str| {
            Refusal::Malformed(format!(
                "the body names another {what} than its subject, `{meant}`: the subject counts; leave `{what}` out"
            ))
        };
        if body.namespace.is_some_and(|named| named != namespace.as_str()) {
            return Err(other("namespace", namespace.as_str()));
        }
        if body.workflow.is_some_and(|named| named != workflow.as_str()) {
            return Err(other("workflow", workflow.as_str()));
        }
        let headers = self.headers;
        let header_id = || header(headers, ID_HEADER).or_else(|| header(headers, "nats-msg-id"));
        let id = body.id.or_else(|| header_id().map(str::to_owned));
        let (version, inputs, trace) = (body.version, body.inputs, trace::from_headers(headers));
        Ok(SubmitRequest { namespace, workflow, version, id, inputs, trace })
    }
}

/// Decodes a body as JSON, or as MessagePack if its `content-type` says so. An empty body submits without inputs.
fn decode_body(body: &[u8], media_type: &str) -> Result<SubmitBody, Refusal> {
    if body.trim_ascii().is_empty() {
        return Ok(SubmitBody::default());
    }
    let refuse = |reason: String| Refusal::Malformed(format!("the body is no submit request: {reason}"));
    let no_object =
        || refuse("an object was expected, with `inputs`, and perhaps `id` and `version`".to_owned());
    // serde would decode a list as well, by the order of its elements, which is a mistake of the client.
    match (media_type, body.trim_ascii_start().first(), body.first()) {
        ("application/json" | "text/json" | "", Some(b'{'), _) => {
            check_json(body, REQUEST_VALUE_LIMIT).map_err(|error| refuse(error.to_string()))?;
            if loses_digits(body) {
                return Err(refuse(LOST_DIGITS.to_owned()));
            }
            serde_json::from_slice(body).map_err(|error| refuse(without_value(&error.to_string())))
        }
        ("application/json" | "text/json" | "", ..) => Err(no_object()),
        (packed, _, first) if MESSAGE_PACK.contains(&packed) => {
            if !first.is_some_and(|first| SHORT_MAP.contains(first) || LONG_MAP.contains(first)) {
                return Err(no_object());
            }
            check_message_pack(body, REQUEST_VALUE_LIMIT).map_err(|error| refuse(error.to_string()))?;
            let mut rest = body;
            let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
            deserializer.set_max_depth(MESSAGE_PACK_DEPTH);
            let decoded = SubmitBody::deserialize(&mut deserializer);
            let decoded = decoded.map_err(|error| refuse(without_value(&error.to_string())))?;
            if rest.is_empty() { Ok(decoded) } else { Err(refuse("something follows its end".to_owned())) }
        }
        (other, ..) => {
            let other: String = other.chars().take(80).collect();
            let help = "send application/json or application/msgpack";
            Err(Refusal::Malformed(format!("a body of type `{other}` cannot be read: {help}")))
        }
    }
}

/// Returns the text of a parser's error without the value that it quotes. Reasons are logged and stored, and the value may be a
/// secret.
fn without_value(error: &str) -> String {
    let quoting = ["invalid type: ", "invalid value: "].into_iter().find_map(|kind| {
        let (before, rest) = error.split_once(kind)?;
        let (found, wanted) = rest.rsplit_once(", expected ")?;
        let found = found.split(['"', '`']).next().unwrap_or_default().trim_end();
        Some(format!("{before}{kind}{found}, expected {wanted}"))
    });
    quoting.unwrap_or_else(|| error.to_owned())
}

/// Returns a body as readable text: MessagePack as JSON.
pub(super) fn text(message: &Incoming) -> String {
    let packed = MESSAGE_PACK.contains(&media_type(&message.headers).as_str());
    if !packed || check_message_pack(&message.body, REQUEST_VALUE_LIMIT).is_err() {
        return raw_text(message);
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(message.body.as_slice());
    deserializer.set_max_depth(MESSAGE_PACK_DEPTH);
    match Value::deserialize(&mut deserializer) {
        // A number is most likely no MessagePack, because every byte of JSON is a number in it.
        Ok(value) if value.is_object() || value.is_array() => value.to_string(),
        _ => raw_text(message),
    }
}

/// Returns a body as it was received.
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
        let json_error =
            |text: &str| decode_body(text.as_bytes(), "application/json").expect_err(text).to_string();
        let twice = json_error(r#"{"inputs":{"n":1,"n":2}}"#);
        assert!(twice.contains("the key `n` is written twice"), "{twice}");
        let long = json_error(r#"{"inputs":{"n":[123456789012345678901234]}}"#);
        assert!(long.contains("more digits than 64 bits hold") && !long.contains("1234"), "{long}");
        // `{"inputs": {"n": 1, "n": 2}}`
        let packed = [&[0x81, 0xa6][..], b"inputs", &[0x82, 0xa1, b'n', 1, 0xa1, b'n', 2]].concat();
        let twice = decode_body(&packed, "application/msgpack").expect_err("refused").to_string();
        assert!(twice.contains("the key `n` is written twice"), "{twice}");
        // `{"inputs": {"n": NaN}}`
        let nan = [&[0x81, 0xa6][..], b"inputs", &[0x81, 0xa1, b'n', 0xca, 0x7f, 0xc0, 0, 0]].concat();
        let refused = decode_body(&nan, "application/msgpack").expect_err("refused").to_string();
        assert!(refused.contains("a number is not finite"), "{refused}");
    }

    #[test]
    fn a_body_may_repeat_the_names_of_its_subject_and_names_no_others() {
        let envelope = MessageEnvelope { namespace: "team", workflow: "report", headers: &[] };
        let request = |body: &str| envelope.request(decode_body(body.as_bytes(), "").expect("decodes"));
        let same = request(r#"{"namespace":"team","workflow":"report","id":"a"}"#).expect("the same names");
        assert_eq!((same.workflow.as_str(), same.id.as_deref()), ("report", Some("a")));
        for (body, reason) in [
            (r#"{"namespace":"4111"}"#, "another namespace than its subject, `team`"),
            (r#"{"workflow":"4111"}"#, "another workflow than its subject, `report`"),
        ] {
            let refused = request(body).expect_err(body).to_string();
            assert!(refused.contains(reason) && !refused.contains("4111"), "{refused}");
        }
    }

    #[test]
    fn reasons_contain_no_value_of_the_body() {
        for value in [r#""4111, expected x""#, "4111", "4111.5", r#"["4111"]"#, "true"] {
            let text = format!(r#"{{"inputs":{value}}}"#);
            let packed = rmp_serde::to_vec(&serde_json::from_str::<Value>(&text).expect("JSON"));
            let of_json = decode_body(text.as_bytes(), "application/json").expect_err("refused").to_string();
            let packed = packed.expect("MessagePack");
            let of_packed = decode_body(&packed, "application/msgpack").expect_err("refused");
            for reason in [of_json, of_packed.to_string()] {
                assert!(reason.contains("invalid type: ") && reason.contains(", expected"), "{reason}");
                assert!(!reason.contains("4111") && !reason.contains("true"), "{reason}");
            }
        }
    }
}
