//! The content type and the bounded body of a response.

use futures::StreamExt as _;
use reqwest::Response;
use reqwest::header::CONTENT_TYPE;

use super::super::classify::McpFailure;
use super::super::library_errors;
use super::super::oversized::OversizedMessage;

/// Returns the content type of a response in lower case.
pub(super) fn content_type(response: &Response) -> Option<String> {
    let content_type = response.headers().get(CONTENT_TYPE)?;
    Some(String::from_utf8_lossy(content_type.as_bytes()).to_ascii_lowercase())
}

/// Reads the body of a response, of at most `limit` bytes.
pub(super) async fn body(response: Response, limit: usize) -> Result<Vec<u8>, McpFailure> {
    let too_large = |bytes| McpFailure::TooLarge(OversizedMessage { bytes, limit, is_answer: true });
    let announced = response.content_length().and_then(|bytes| usize::try_from(bytes).ok());
    if let Some(bytes) = announced.filter(|bytes| *bytes > limit) {
        return Err(too_large(Some(bytes)));
    }
    let (mut body, mut chunks) = (Vec::with_capacity(announced.unwrap_or_default()), response.bytes_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| library_errors::of_http_client(&error))?;
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(too_large(None));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
