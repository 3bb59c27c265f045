//! W3C trace context in the headers of requests and messages.
//!
//! A malformed header is ignored, as the standard demands: tracing must not make a request fail.

use longshore_proto::TraceContext;

/// Longest `tracestate` that is passed on: the length that the standard demands of every participant.
const STATE_LIMIT_BYTES: usize = 512;

/// Returns the trace context of headers whose names are in lower case.
pub(crate) fn from_headers(headers: &[(String, String)]) -> Option<TraceContext> {
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
    let traceparent = header("traceparent").filter(|value| is_traceparent(value))?.to_owned();
    let fits = |value: &&str| !value.is_empty() && value.len() <= STATE_LIMIT_BYTES && value.is_ascii();
    let tracestate = header("tracestate").filter(fits).map(str::to_owned);
    Some(TraceContext { traceparent, tracestate })
}

/// Returns true for `version-trace-parent-flags` of 2, 32, 16 and 2 hexadecimal digits, with ids that are not zero.
fn is_traceparent(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return false };
    let is_hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_id = |part: &str, digits: usize| is_hex(part, digits) && part.bytes().any(|b| b != b'0');
    is_hex(version, 2) && *version != "ff" && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_trace_headers_are_ignored() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = |parent: &str, state: &str| {
            vec![("traceparent".to_owned(), parent.to_owned()), ("tracestate".to_owned(), state.to_owned())]
        };
        let accepted = from_headers(&headers(good, "vendor=1")).expect("a trace");
        assert_eq!((accepted.traceparent.as_str(), accepted.tracestate.as_deref()), (good, Some("vendor=1")));
        assert_eq!(from_headers(&headers(good, &"x".repeat(513))).expect("a trace").tracestate, None);
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(from_headers(&headers(bad, "")), None, "{bad}");
        }
        assert_eq!(from_headers(&[]), None);
    }
}
