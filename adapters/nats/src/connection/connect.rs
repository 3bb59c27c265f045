//! The first connection to NATS, and the options by which the client library connects again.

use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, ServerAddr};
use longshore_ports::retry::{RetryPauses, retry_until};
use longshore_tls::is_about_certificates;
use tokio::time::Instant;

use super::events::{ConnectionEvents, is_refusal};
use crate::address::without_credentials;
use crate::config::NatsConfig;
use crate::error::ConnectError;
use crate::failure::with_causes;
use crate::nkey::read_seed;
use crate::plaintext::with_tls;

/// Time limit for an answer to a request and for the acknowledgement of a publish. A leader election of JetStream takes
/// about four seconds.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Time limit for one attempt to connect.
const CONNECT_ATTEMPT: Duration = Duration::from_secs(2);

/// Pauses between attempts to reconnect. A restarted server is found within the longest one.
const RECONNECT: RetryPauses =
    RetryPauses { first: Duration::from_millis(1), longest: Duration::from_millis(500) };

/// Pauses between attempts to reconnect while the server refuses the user: each attempt is a line in its log.
const RECONNECT_REFUSED: RetryPauses =
    RetryPauses { first: Duration::from_millis(500), longest: Duration::from_secs(5) };

/// Interval of pings to the server. Two without an answer end the connection.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// Attempts to connect until a deadline, while no server is there.
pub(super) async fn connect_until(
    config: &NatsConfig,
    urls: &str,
    servers: &[ServerAddr],
    events: &ConnectionEvents,
    deadline: Instant,
) -> Result<Client, ConnectError> {
    let unreachable = |cause: String| ConnectError::Unreachable {
        urls: urls.to_owned(),
        waited: config.connect_deadline,
        cause,
    };
    let attempt = || async {
        let options = connect_options(config, servers, events.clone()).await?;
        let error = match options.connect(without_credentials(servers)?).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let cause = with_causes(&error);
        Err(match error.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                ConnectError::Refused { urls: urls.to_owned(), cause }
            }
            ConnectErrorKind::Tls => ConnectError::Tls { urls: urls.to_owned(), cause },
            _ if is_about_certificates(&cause) => ConnectError::Tls { urls: urls.to_owned(), cause },
            _ => unreachable(cause),
        })
    };
    let is_transient = |error: &ConnectError| matches!(error, ConnectError::Unreachable { .. });
    let connected = retry_until("connect to NATS", deadline, attempt, is_transient).await;
    connected.map_err(|error| error.unwrap_or_else(|| unreachable("no answer".to_owned())))
}

/// Returns the options of a connection: limits, pauses, and the credentials of the user.
async fn connect_options(
    config: &NatsConfig,
    servers: &[ServerAddr],
    events: ConnectionEvents,
) -> Result<ConnectOptions, ConnectError> {
    let refusals = events.failure.subscribe();
    let options = ConnectOptions::new()
        .name(&config.name)
        .connection_timeout(CONNECT_ATTEMPT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .reconnect_delay_callback(move |attempts| {
            let is_refused = refusals.borrow().as_deref().is_some_and(is_refusal);
            let pauses = if is_refused { RECONNECT_REFUSED } else { RECONNECT };
            pauses.after(u32::try_from(attempts).unwrap_or(u32::MAX))
        })
        .event_callback(move |event| {
            events.record(&event);
            async {}
        });
    let options = match &config.inbox_prefix {
        Some(prefix) => options.custom_inbox_prefix(prefix),
        None => options,
    };
    let options = with_tls(options, &config.tls);
    if let Some(path) = &config.nkey {
        return Ok(options.nkey(read_seed(path)?));
    }
    if let Some(path) = &config.credentials {
        return options
            .credentials_file(path)
            .await
            .map_err(|error| ConnectError::Credentials { path: path.clone(), cause: error.to_string() });
    }
    // The client library does not read the user information of an address.
    let Some(server) = servers.iter().find(|server| server.has_user_pass()) else { return Ok(options) };
    let user = server.username().unwrap_or_default().to_owned();
    Ok(match server.password() {
        Some(password) => options.user_and_password(user, password.to_owned()),
        None => options.token(user),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_reconnects_are_bounded() {
        assert!(RECONNECT.after(0) < Duration::from_millis(5));
        assert_eq!(RECONNECT.after(u32::MAX), RECONNECT.longest);
    }
}
