//! From the errors of the MCP library to what was observed.
//!
//! The library wraps its transport's errors several times over, so the chain of sources is walked and known types
//! are taken out of it. Nothing is decided here; `classify` does that. Error texts of the HTTP client are taken
//! without the URL, which may hold a credential.

use std::error::Error;
use std::time::Duration;

use longshore_proto::Timestamp;
use rmcp::ServiceError;
use rmcp::model::ErrorData;
use rmcp::service::ClientInitializeError;
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use super::classify::Observation;
use super::observed_error::ObservedError;
use super::wire::Requests;

/// What a request that failed has shown.
pub(crate) fn request_error(error: &ServiceError) -> Observation {
    match error {
        ServiceError::McpError(error) => json_rpc(error),
        ServiceError::TransportSend(error) => transport(error),
        ServiceError::TransportClosed => Observation::Closed("the other side went away".to_owned()),
        ServiceError::UnexpectedResponse => {
            Observation::Unreadable("it is none of the answers that this request may have".to_owned())
        }
        other => Observation::Unreadable(other.to_string()),
    }
}

/// What a handshake that failed has shown.
pub(crate) fn connect_error(error: &ClientInitializeError, requests: &Requests) -> Observation {
    match error {
        ClientInitializeError::JsonRpcError(error) => {
            requests.take_fault().unwrap_or_else(|| json_rpc(error))
        }
        ClientInitializeError::TransportError { error, .. } => transport(error),
        ClientInitializeError::ConnectionClosed(waiting_for) => {
            Observation::Closed(format!("it was waiting for the {waiting_for}"))
        }
        // The discovery said that the server is of the older kind; the handshake then said why it failed.
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => connect_error(fallback, requests),
        ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
            let versions: Vec<String> = server_supported.iter().map(ToString::to_string).collect();
            Observation::Unreadable(format!(
                "the server speaks only protocol versions {}",
                versions.join(", ")
            ))
        }
        ClientInitializeError::ExpectedInitResult(_) | ClientInitializeError::ExpectedInitResponse(_) => {
            Observation::Unreadable("it does not fit the handshake".to_owned())
        }
        other => Observation::Unreadable(other.to_string()),
    }
}

/// Returns true if the failure may come from the question about the era, so that the plain handshake is worth a try: some
/// answer `server/discover`, which they do not know, with an empty result, a page, or HTTP 500, and some end.
pub(crate) fn may_speak_legacy(error: &ClientInitializeError, seen: &Observation) -> bool {
    let is_confused = matches!(
        error,
        ClientInitializeError::ExpectedInitResult(_)
            | ClientInitializeError::ExpectedInitResponse(_)
            | ClientInitializeError::NoCompatibleProtocolVersion { .. }
            | ClientInitializeError::ConflictInitResponseId(..)
            | ClientInitializeError::UncorrelatedErrorResponse { .. }
    );
    is_confused
        || match seen {
            Observation::Closed(_)
            | Observation::NotWritten(_)
            | Observation::Unreadable(_)
            | Observation::BadAnswer(_) => true,
            // 503 means later, and the other ones below 500 that matter are about credentials or addresses.
            Observation::Http { status, .. } => *status >= 500 && *status != 503,
            _ => false,
        }
}

/// An error that the library made by itself: those of servers are read before.
fn json_rpc(error: &ErrorData) -> Observation {
    let message = error.message.to_string();
    Observation::JsonRpc {
        code: i64::from(error.code.0),
        message,
        data: String::new(),
        supported: Vec::new(),
    }
}

fn transport(error: &DynamicTransportError) -> Observation {
    let mut source: Option<&(dyn Error + 'static)> = Some(error.error.as_ref());
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<StreamableHttpError<ObservedError>>() {
            return http(error);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // The only other transport is a child's standard input, which reports an error only while the newline
            // that ends the request has not been written: no server can have read the request.
            return Observation::NotWritten(error.to_string());
        }
        source = error.source();
    }
    Observation::Closed(error.error.to_string())
}

fn http(error: &StreamableHttpError<ObservedError>) -> Observation {
    match error {
        StreamableHttpError::Client(ObservedError(observation)) => observation.clone(),
        StreamableHttpError::SessionExpired | StreamableHttpError::ReinitializationFailed(_) => {
            Observation::SessionLost(error.to_string())
        }
        StreamableHttpError::ReservedHeaderConflict(_) => Observation::NotWritten(error.to_string()),
        StreamableHttpError::UnexpectedServerResponse(text) => Observation::Unreadable(text.to_string()),
        other => Observation::Closed(other.to_string()),
    }
}

/// What the HTTP client says.
pub(crate) fn client(error: &reqwest::Error) -> Observation {
    // Scheme, host and port; a path or a query may hold a credential.
    let origin = error.url().map(|url| url.origin().ascii_serialization());
    let why = match origin {
        Some(origin) => format!("{origin}: {}", innermost(error)),
        None => innermost(error),
    };
    if error.is_connect() { Observation::NotReached(why) } else { Observation::Closed(why) }
}

/// The innermost reason of an error of the HTTP client: it says most, and never holds the URL.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    while let Some(deeper) = reason.and_then(Error::source) {
        reason = Some(deeper);
    }
    reason.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since_epoch.saturating_sub(Duration::from_millis(now.as_millis())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now = Timestamp::from_millis(1_795_187_470_000); // 2026-11-20 15:11:10
        let cases = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Fri, 20 Nov 2026 15:11:40 GMT", Some(30)),
            ("Fri, 20 Nov 2020 15:11:40 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
        ];
        for (text, wanted) in cases {
            assert_eq!(retry_after(text, now), wanted.map(Duration::from_secs), "{text}");
        }
    }
}
