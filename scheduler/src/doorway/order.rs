//! What a published message asks for.

use longshore_backend::Incoming;
use longshore_proto::{ID_HEADER, SubmitRequest};

use crate::desk::{Order, REQUEST_LIMIT_BYTES, Refusal};
use crate::trace;

/// Reads a message. Nothing of it was checked before.
pub(super) fn read(message: &Incoming) -> Result<Order, Refusal> {
    if message.body.len() > REQUEST_LIMIT_BYTES {
        return Err(Refusal::TooLarge { bytes: message.body.len(), limit: REQUEST_LIMIT_BYTES });
    }
    let malformed = |error: longshore_proto::IdError| Refusal::Malformed(error.to_string());
    let namespace = message.namespace.parse().map_err(malformed)?;
    let workflow = message.workflow.parse().map_err(malformed)?;
    let SubmitRequest { id, version, inputs } = body(message)?;
    let of_headers = || header(message, ID_HEADER).or_else(|| header(message, "nats-msg-id"));
    let id = id.or_else(|| of_headers().map(str::to_owned));
    Ok(Order { namespace, workflow, version, id, inputs, trace: trace::of_headers(&message.headers) })
}

/// The body, by its `content-type`: JSON unless it says MessagePack. An empty one submits with no inputs.
fn body(message: &Incoming) -> Result<SubmitRequest, Refusal> {
    let body = message.body.as_slice();
    if body.trim_ascii().is_empty() {
        return Ok(SubmitRequest::default());
    }
    let content_type = header(message, "content-type").unwrap_or("application/json");
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" | "text/json" | "" => serde_json::from_slice(body)
            .map_err(|error| Refusal::Malformed(format!("the body is no submit request: {error}"))),
        "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack" => {
            rmp_serde::from_slice(body)
                .map_err(|error| Refusal::Malformed(format!("the body is no submit request: {error}")))
        }
        other => {
            let other: String = other.chars().take(80).collect();
            let help = "send application/json or application/msgpack";
            Err(Refusal::Malformed(format!("a body of type `{other}` cannot be read: {help}")))
        }
    }
}

fn header<'m>(message: &'m Incoming, name: &str) -> Option<&'m str> {
    message.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
