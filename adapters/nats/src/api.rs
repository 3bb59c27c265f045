//! Requests to the JetStream API.
//!
//! The client library has a method and an error type for each request. Here every request fails with the same
//! [`ApiError`], so that [`failed`](super::failure::failed) can classify all of them.

use async_nats::jetstream::context::RequestError;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, Context, ErrorCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::denials::{self, PublishDenied};

/// Prefix of the subjects of requests.
pub(super) const API_PREFIX: &str = "$JS.API";

/// The body of a request without parameters. The server treats an empty object like an empty body.
#[derive(Serialize)]
pub(super) struct EmptyRequest {}

/// The reason why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The server answered with an error.
    #[error("{0}")]
    Refused(#[source] jetstream::Error),
    /// The server denied the request.
    #[error("{0}")]
    Denied(#[source] PublishDenied),
    /// There was no answer, or it cannot be read.
    #[error("{0}")]
    NoAnswer(#[source] RequestError),
}

impl ApiError {
    /// Returns the server's error code, if it answered.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) => Some(error.error_code()),
            Self::Denied(_) | Self::NoAnswer(_) => None,
        }
    }

    /// Returns true if there is no room for a stream: in the account, on this server, or on enough servers.
    pub(super) fn lacks_storage(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED || error.to_string().contains("storage")
    }
}

/// Sends a request and waits for the answer, up to the timeout of the context.
pub(super) async fn request<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    body: &(impl Serialize + Sync),
) -> Result<T, ApiError> {
    let whole = format!("{API_PREFIX}.{subject}");
    let answer = tokio::select! {
        biased;
        denied = denials::denied(&whole, Instant::now()) => return Err(ApiError::Denied(denied)),
        answer = context.request(subject, body) => answer,
    };
    match answer.map_err(ApiError::NoAnswer)? {
        Response::Ok(answer) => Ok(answer),
        Response::Err { error } => Err(ApiError::Refused(error)),
    }
}

/// Position, subject and time of a stored message.
#[derive(Deserialize)]
pub(super) struct MessageInfo {
    pub(super) seq: u64,
    pub(super) subject: String,
    pub(super) time: String,
}

/// Returns the message of a stream that a query selects, such as `{ "last_by_subj": subject }`. `None` if there is
/// none.
pub(super) async fn find_message(
    context: &Context,
    stream: &str,
    query: &(impl Serialize + Sync),
) -> Result<Option<MessageInfo>, ApiError> {
    #[derive(Deserialize)]
    struct GetMessageResponse {
        message: MessageInfo,
    }
    match request::<GetMessageResponse>(context, format!("STREAM.MSG.GET.{stream}"), query).await {
        Ok(found) => Ok(Some(found.message)),
        Err(error) if error.code() == Some(ErrorCode::NO_MESSAGE_FOUND) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes one message of a stream.
pub(super) async fn remove_message(context: &Context, stream: &str, seq: u64) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct MessageRemoved {}
    // Overwriting the message on the disk is for secrets, and takes time.
    let body = json!({ "seq": seq, "no_erase": true });
    let MessageRemoved {} = request(context, format!("STREAM.MSG.DELETE.{stream}"), &body).await?;
    Ok(())
}
