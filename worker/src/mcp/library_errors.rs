//! Conversion of errors of the MCP library and of the HTTP client to [`McpFailure`].
//!
//! The library wraps errors of its transport several times, so known types are looked for in the chain of sources. Error texts
//! of the HTTP client are taken without the URL, which may hold a credential.

use std::error::Error;
use std::time::Duration;

use longshore_proto::Timestamp;
use rmcp::ServiceError;
use rmcp::model::ErrorData;
use rmcp::service::ClientInitializeError;
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use super::classify::McpFailure;
use super::wire::PendingRequests;

/// Returns the failure of a request.
pub(crate) fn of_request(error: &ServiceError) -> McpFailure {
    match error {
        ServiceError::McpError(error) => json_rpc(error),
        ServiceError::TransportSend(error) => transport(error),
        ServiceError::TransportClosed => McpFailure::Closed("the other side went away".to_owned()),
        ServiceError::UnexpectedResponse => {
            McpFailure::Unreadable("it is not an answer to this request".to_owned())
        }
        other => McpFailure::Unreadable(other.to_string()),
    }
}

/// Returns the failure of a handshake.
pub(crate) fn of_handshake(error: &ClientInitializeError, requests: &PendingRequests) -> McpFailure {
    match error {
        ClientInitializeError::JsonRpcError(error) => {
            requests.take_fault().unwrap_or_else(|| json_rpc(error))
        }
        ClientInitializeError::TransportError { error, .. } => transport(error),
        ClientInitializeError::ConnectionClosed(waiting_for) => {
            McpFailure::Closed(format!("it was waiting for the {waiting_for}"))
        }
        // `server/discover` showed the handshake era; the error of the handshake has the reason.
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => of_handshake(fallback, requests),
        ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
            let versions: Vec<String> = server_supported.iter().map(ToString::to_string).collect();
            McpFailure::Unreadable(format!(
                "the server speaks only protocol versions {}",
                versions.join(", ")
            ))
        }
        ClientInitializeError::ExpectedInitResult(_) | ClientInitializeError::ExpectedInitResponse(_) => {
            McpFailure::Unreadable("it does not fit the handshake".to_owned())
        }
        other => McpFailure::Unreadable(other.to_string()),
    }
}

/// Returns true if the failure may be caused by `server/discover`, so that the plain handshake may succeed. Some servers that do
/// not know this request answer with an empty result, a page, or HTTP 500, and some exit.
pub(crate) fn may_speak_legacy(error: &ClientInitializeError, failure: &McpFailure) -> bool {
    let is_confused = matches!(
        error,
        ClientInitializeError::ExpectedInitResult(_)
            | ClientInitializeError::ExpectedInitResponse(_)
            | ClientInitializeError::NoCompatibleProtocolVersion { .. }
            | ClientInitializeError::ConflictInitResponseId(..)
            | ClientInitializeError::UncorrelatedErrorResponse { .. }
    );
    is_confused
        || match failure {
            McpFailure::Closed(_)
            | McpFailure::NotWritten(_)
            | McpFailure::Unreadable(_)
            | McpFailure::BadAnswer(_) => true,
            // 503 asks to retry later, and a status below 500 is caused by credentials or the address.
            McpFailure::Http { status, .. } => *status >= 500 && *status != 503,
            _ => false,
        }
}

/// Converts an error that the library made itself: errors of servers are read before the library sees them.
fn json_rpc(error: &ErrorData) -> McpFailure {
    let message = error.message.to_string();
    McpFailure::JsonRpc { code: i64::from(error.code.0), message, data: String::new(), supported: Vec::new() }
}

fn transport(error: &DynamicTransportError) -> McpFailure {
    let mut source: Option<&(dyn Error + 'static)> = Some(error.error.as_ref());
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<StreamableHttpError<McpFailure>>() {
            return http(error);
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // The only other transport is a child's standard input. It fails only before the newline that ends the
            // request is written, so no server can have read the request.
            return McpFailure::NotWritten(error.to_string());
        }
        source = error.source();
    }
    McpFailure::Closed(error.error.to_string())
}

fn http(error: &StreamableHttpError<McpFailure>) -> McpFailure {
    match error {
        StreamableHttpError::Client(observation) => observation.clone(),
        StreamableHttpError::SessionExpired | StreamableHttpError::ReinitializationFailed(_) => {
            McpFailure::SessionLost(error.to_string())
        }
        StreamableHttpError::ReservedHeaderConflict(_) => McpFailure::NotWritten(error.to_string()),
        StreamableHttpError::UnexpectedServerResponse(text) => McpFailure::Unreadable(text.to_string()),
        other => McpFailure::Closed(other.to_string()),
    }
}

/// Returns the failure of an HTTP request.
pub(crate) fn of_http_client(error: &reqwest::Error) -> McpFailure {
    // Scheme, host and port; a path or a query may hold a credential.
    let origin = error.url().map(|url| url.origin().ascii_serialization());
    let why = match origin {
        Some(origin) => format!("{origin}: {}", innermost(error)),
        None => innermost(error),
    };
    if error.is_connect() { McpFailure::NotReached(why) } else { McpFailure::Closed(why) }
}

/// Returns the innermost source of an error of the HTTP client: the most specific one, which never holds the URL.
pub(crate) fn innermost(error: &reqwest::Error) -> String {
    let mut reason = error.source();
    while let Some(deeper) = reason.and_then(Error::source) {
        reason = Some(deeper);
    }
    reason.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}

/// Reads `Retry-After`: seconds or a date (RFC 9110, 10.2.3).
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
    fn retry_after_is_read_in_both_forms() {
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
