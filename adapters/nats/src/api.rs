//! Requests to JetStream's own interface.
//!
//! The client library has a method and an error type for each; here every request fails in the same two ways, so that
//! [`failed`](super::failure::failed) can judge all of them.

use async_nats::jetstream::context::RequestError;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::{self, Context, ErrorCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The body of a request that needs none: an empty object, which the server takes for no body at all.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// The server says no.
    #[error("{0}")]
    Said(#[source] jetstream::Error),
    /// It gave no answer that can be read.
    #[error("{0}")]
    NoAnswer(#[source] RequestError),
}

impl ApiError {
    /// The server's own code, if it said anything.
    pub(super) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Said(word) => Some(word.error_code()),
            Self::NoAnswer(_) => None,
        }
    }

    /// Whether there is no room for what was to be made: in the account, on this server, or on enough servers.
    pub(super) fn lacks_storage(&self) -> bool {
        let Self::Said(word) = self else { return false };
        word.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED || word.to_string().contains("storage")
    }
}

/// Asks and waits for the answer, as long as the context's timeout says.
pub(super) async fn ask<T: DeserializeOwned>(
    context: &Context,
    subject: String,
    body: &(impl Serialize + Sync),
) -> Result<T, ApiError> {
    match context.request(subject, body).await.map_err(ApiError::NoAnswer)? {
        Response::Ok(answer) => Ok(answer),
        Response::Err { error } => Err(ApiError::Said(error)),
    }
}
