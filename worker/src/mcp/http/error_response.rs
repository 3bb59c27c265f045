//! HTTP responses without success, and fault messages that help to fix their cause.

use longshore_ports::redact_addresses;
use longshore_proto::Timestamp;
use reqwest::Response;
use reqwest::header::{LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use serde_json::Value;

use super::super::classify::McpFailure;
use super::super::config::Secrets;
use super::super::library_errors;
use super::super::wire::excerpt;
use super::body::{body, content_type};

/// Bytes of a body that are read: enough for an error message.
const MOST_BODY_BYTES: usize = 64 * 1024;
/// Characters of a title or a text that are shown.
const SHOWN_CHARS: usize = 200;

/// A response whose status is not success.
#[derive(Debug)]
pub(super) struct ErrorResponse {
    status: u16,
    content_type: Option<String>,
    retry_after: Option<std::time::Duration>,
    /// Value of `Retry-After`, if it is neither a number of seconds nor a date.
    malformed_retry_after: Option<String>,
    /// Value of `WWW-Authenticate`.
    challenge: Option<String>,
    /// The address that answered has no path.
    is_root: bool,
    /// Value of `Location`.
    location: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Reads a response. A body that cannot be read in full is taken for empty.
pub(super) async fn read(response: Response, now: Timestamp) -> ErrorResponse {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after, challenge, location) =
        (header(RETRY_AFTER), header(WWW_AUTHENTICATE), header(LOCATION));
    let read = retry_after.as_deref().and_then(|text| library_errors::retry_after(text, now));
    let (retry_after, malformed_retry_after) = (read, retry_after.filter(|_| read.is_none()));
    let is_root = matches!(response.url().path(), "" | "/");
    let (status, content_type) = (response.status().as_u16(), content_type(&response));
    let body = body(response, MOST_BODY_BYTES).await.unwrap_or_default();
    ErrorResponse {
        status,
        content_type,
        retry_after,
        malformed_retry_after,
        challenge,
        is_root,
        location,
        body,
    }
}

impl ErrorResponse {
    /// Returns true if the server does not know the session.
    pub(super) fn means_unknown_session(&self) -> bool {
        let names_session = || String::from_utf8_lossy(&self.body).to_ascii_lowercase().contains("session");
        match self.status {
            404 => true,
            // Some servers answer with 400 and a text about the session.
            400 => names_session(),
            _ => false,
        }
    }

    /// Returns true if a JSON-RPC error in the body is more specific than the status.
    pub(super) const fn may_have_json_rpc_error(&self) -> bool {
        !matches!(self.status, 300..=399 | 401 | 403 | 407 | 429)
    }

    /// Returns true if the body is a JSON-RPC error.
    pub(super) fn is_json_rpc_error(&self) -> bool {
        let error = serde_json::from_slice::<Value>(&self.body).ok();
        error.is_some_and(|body| body.get("jsonrpc").is_some() && body.get("error").is_some())
    }

    /// Returns true if the server refuses the request itself, and not its credentials or its rate.
    pub(super) const fn is_refused_request(&self) -> bool {
        matches!(self.status, 400..=499) && !matches!(self.status, 401 | 403 | 407 | 429)
    }

    /// Returns the failure of the request.
    pub(super) fn failure(&self, secrets: &Secrets) -> McpFailure {
        let summary = summary(&self.body, self.content_type.as_deref(), secrets);
        let detail = match self.status {
            300..=399 => self.redirect(),
            401 | 403 => format!("{}{}", self.credentials(secrets), as_suffix(&summary)),
            404 if self.is_root => format!(
                "the address has no path, and most servers answer at /mcp: give that address as `url`{}",
                as_suffix(&summary)
            ),
            405 => format!(
                "the address takes no POST; it may be that of the older HTTP+SSE transport, which Longshore does not speak: \
                 give the address for streamable HTTP, which often ends in /mcp{}",
                as_suffix(&summary)
            ),
            _ => summary,
        };
        let detail = match &self.malformed_retry_after {
            None => detail,
            Some(text) => {
                let text = beginning(text, secrets);
                let separator = if detail.is_empty() { "" } else { "; " };
                format!(
                    "{detail}{separator}Retry-After: `{text}` is ignored, because it is neither a number of whole seconds nor a date"
                )
            }
        };
        let detail = secrets.hide(&detail).into_owned();
        McpFailure::Http { status: self.status, retry_after: self.retry_after, detail }
    }

    fn redirect(&self) -> String {
        match self.location.as_deref() {
            // A query may hold a credential.
            Some(location) => {
                let location = redact_addresses(location.split(['?', '#']).next().unwrap_or_default());
                format!("it redirects to {location}, which is not followed: give the address itself as `url`")
            }
            None => "it redirects without an address".to_owned(),
        }
    }

    /// Describes the credentials that the server wants, and how to set them (RFC 6750, RFC 9728).
    fn credentials(&self, secrets: &Secrets) -> String {
        let challenge = self.challenge.as_deref().unwrap_or_default();
        let wanted: Vec<String> = ["scope", "resource_metadata", "error", "error_description"]
            .into_iter()
            .filter_map(|name| Some(format!("{name} `{}`", beginning(parameter(challenge, name)?, secrets))))
            .collect();
        let wanted = if wanted.is_empty() { String::new() } else { format!(" ({})", wanted.join(", ")) };
        let (what, how) = if self.status == 401 {
            (
                "the server wants credentials",
                "give them as a header: \"headers\": {\"Authorization\": \"Bearer ${TOKEN}\"}",
            )
        } else {
            ("these credentials do not permit the request", "give others, in `headers`")
        };
        format!("{what}{wanted}; {how}")
    }
}

fn as_suffix(summary: &str) -> String {
    if summary.is_empty() { String::new() } else { format!("; it said: {summary}") }
}

/// Returns a parameter of a challenge, such as `scope="read write"`.
fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let lower = challenge.to_ascii_lowercase();
    let before = |at: usize| at.checked_sub(1).and_then(|before| lower.as_bytes().get(before));
    let at = lower
        .match_indices(&format!("{name}="))
        .map(|(at, _)| at)
        .find(|at| before(*at).is_none_or(|byte| matches!(byte, b' ' | b',')))?;
    let rest = challenge.get(at + name.len() + 1..)?;
    let value = match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => rest.split([',', ' ']).next()?,
    };
    Some(value)
}

/// Returns the beginning of a text. Secrets are hidden before it is cut: the first part of a cut secret would not be found.
fn beginning(text: &str, secrets: &Secrets) -> String {
    secrets.hide(text).chars().take(SHOWN_CHARS).collect()
}

/// Summarizes a body: the title of a page, the message of an error, or the beginning of any other text.
pub(super) fn summary(body: &[u8], content_type: Option<&str>, secrets: &Secrets) -> String {
    let body = body.trim_ascii();
    if body.is_empty() {
        return String::new();
    }
    let text = String::from_utf8_lossy(body);
    if content_type.is_some_and(|content_type| content_type.contains("html")) || text.starts_with('<') {
        return match title(&text) {
            Some(title) => format!("a page, titled `{}`", beginning(&title, secrets)),
            None => "a page without a title".to_owned(),
        };
    }
    let message = serde_json::from_str::<Value>(&text).ok().and_then(|body| message(&body));
    match message {
        Some(message) => beginning(&message, secrets),
        None => excerpt(body, 0, secrets),
    }
}

/// Returns the message of an error in one of the common forms.
fn message(body: &Value) -> Option<String> {
    let error = body.get("error").filter(|error| !error.is_null()).unwrap_or(body);
    let text = match error {
        Value::String(text) => Some(text),
        error => {
            ["message", "detail", "error_description", "title"].iter().find_map(|key| match error.get(key) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            })
        }
    };
    text.filter(|text| !text.trim().is_empty()).cloned()
}

fn title(page: &str) -> Option<String> {
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower.get(start..)?.find('>')? + 1;
    let end = start + lower.get(start..)?.find("</title")?;
    let title = page.get(start..end)?.split_whitespace().collect::<Vec<_>>().join(" ");
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, body: &str) -> ErrorResponse {
        let (challenge, location) = (
            Some("Bearer error=\"insufficient_scope\", scope=\"files:write admin\", resource_metadata=\"https://h/x\"".to_owned()),
            Some("https://other/mcp?token=s3cret".to_owned()),
        );
        let (body, is_root) = (body.as_bytes().to_vec(), false);
        ErrorResponse {
            status,
            content_type: None,
            retry_after: None,
            malformed_retry_after: None,
            challenge,
            is_root,
            location,
            body,
        }
    }

    #[test]
    fn error_response_becomes_a_message_that_says_what_to_do() {
        let said = |status, body: &str| response(status, body).failure(&Secrets::default()).to_string();
        assert_eq!(
            said(401, "{\"error\": \"invalid_token\"}"),
            "HTTP 401: the server wants credentials (scope `files:write admin`, resource_metadata `https://h/x`, error \
             `insufficient_scope`); give them as a header: \"headers\": {\"Authorization\": \"Bearer ${TOKEN}\"}; it said: \
             invalid_token"
        );
        assert!(said(405, "").contains("older HTTP+SSE transport"));
        assert_eq!(said(404, "no such page"), "HTTP 404: `no such page`");
        assert_eq!(
            ErrorResponse { is_root: true, ..response(404, "no such page") }
                .failure(&Secrets::default())
                .to_string(),
            "HTTP 404: the address has no path, and most servers answer at /mcp: give that address as `url`; it said: \
             `no such page`"
        );
        assert_eq!(
            said(307, ""),
            "HTTP 307: it redirects to https://other/mcp, which is not followed: give the address itself as `url`"
        );
        assert_eq!(
            said(502, "<html><head><title> 502 Bad\n Gateway</title>"),
            "HTTP 502: a page, titled `502 Bad Gateway`"
        );
        assert_eq!(said(400, "field x is missing"), "HTTP 400: `field x is missing`");
        assert_eq!(
            said(500, "{\"error\": {\"message\": \"database is down\"}}"),
            "HTTP 500: database is down"
        );
    }

    #[test]
    fn malformed_retry_after_is_shown() {
        for (body, said) in [("slow down", "HTTP 429: `slow down`; "), ("", "HTTP 429: ")] {
            let response =
                ErrorResponse { malformed_retry_after: Some("1.5".to_owned()), ..response(429, body) };
            assert_eq!(
                response.failure(&Secrets::default()).to_string(),
                format!(
                    "{said}Retry-After: `1.5` is ignored, because it is neither a number of whole seconds nor a date"
                )
            );
        }
    }

    #[test]
    fn secret_at_the_cut_is_hidden() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        let pad = "x".repeat(SHOWN_CHARS - 6);
        let mut response = response(401, &format!("<title>{pad}s3cret-token</title>"));
        response.challenge = Some(format!("Bearer scope=\"{pad}s3cret-token\""));
        let said = response.failure(&secrets).to_string();
        assert!(said.matches("x***").count() == 2 && !said.contains("s3c"), "{said}");
    }

    #[test]
    fn unknown_session_is_recognised() {
        for (status, body, wanted) in [
            (404, "", true),
            (400, "Bad Request: No valid session ID provided", true),
            (400, "field x is missing", false),
            (500, "session", false),
        ] {
            assert_eq!(response(status, body).means_unknown_session(), wanted, "{status} {body}");
        }
    }
}
