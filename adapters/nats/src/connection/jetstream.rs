//! Check at the start that the account has JetStream.

use async_nats::jetstream::account::Account;
use async_nats::jetstream::context::RequestErrorKind;
use async_nats::jetstream::{Context, ErrorCode};
use longshore_ports::Error;
use longshore_ports::retry::retry_until;
use tokio::time::Instant;

use crate::api::{ApiError, EmptyRequest, request};
use crate::error::ConnectError;
use crate::failure::{failed, with_causes};

/// Waits until JetStream answers. Fails if it is disabled for the account or on all servers.
pub(super) async fn check_jetstream(
    context: &Context,
    urls: &str,
    deadline: Instant,
) -> Result<(), ConnectError> {
    let doing = format!("ask JetStream at {urls} for its limits");
    let attempt = || request::<Account>(context, "INFO".to_owned(), &EmptyRequest {});
    let is_disabled =
        |error: &ApiError| is_jetstream_disabled(error, context.client().server_info().jetstream);
    match retry_until(&doing, deadline, attempt, |error| !is_disabled(error)).await {
        Ok(_) => Ok(()),
        Err(Some(error)) if is_disabled(&error) => {
            Err(ConnectError::NoJetStream { urls: urls.to_owned(), cause: with_causes(&error) })
        }
        Err(Some(error)) => Err(failed(doing, error).into()),
        Err(None) => Err(Error::transient(doing, "no answer before the deadline").into()),
    }
}

/// Returns true if an error means that JetStream is disabled, and not only away. Without JetStream no server answers;
/// `is_here` says that the connected server has it, since it may leave JetStream to other servers of its cluster.
fn is_jetstream_disabled(error: &ApiError, is_here: bool) -> bool {
    let codes = [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
    match error {
        ApiError::Refused(error) => codes.contains(&error.error_code()),
        ApiError::Denied(_) => false,
        ApiError::NoAnswer(error) => error.kind() == RequestErrorKind::NoResponders && !is_here,
    }
}
