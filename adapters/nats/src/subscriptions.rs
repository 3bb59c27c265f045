//! Recovery of subscriptions that the server refused or dropped for lack of a permission.
//!
//! The server drops subscriptions when a permission is taken away, and reports that on the connection only. The client
//! library subscribes again when it connects and at no other time. So denied subscriptions are kept by permission, one of
//! each is tried again from time to time, and the connection is made again once one is accepted.

use std::time::Duration;

use async_nats::connection::State;
use tokio::time::{Instant, sleep, timeout};
use tracing::info;

use super::connection::Connection;

/// Pause before denied subscriptions are tried again. Each attempt that is denied is one message in the log of the server.
const RETRY_PAUSE: Duration = Duration::from_secs(3);

/// Time in which the server reports that a subscription is denied.
const REPORT_LIMIT: Duration = Duration::from_secs(2);

/// Time limit for a new connection after subscriptions are allowed again. Later ones are waited for by the client library.
const RECONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Tries denied subscriptions again, and reconnects once the server accepts one. Runs for as long as the connection.
pub(super) async fn recover(connection: Connection) {
    loop {
        connection.denied_subscriptions.any().await;
        sleep(RETRY_PAUSE).await;
        if connection.client.connection_state() != State::Connected {
            continue;
        }
        let Some(given) = is_any_accepted(&connection).await else { continue };
        if !given {
            continue;
        }
        info!(
            "NATS allows a subscription again that it denied; reconnecting, which subscribes to all subjects"
        );
        let mut connected = connection.connected();
        if connection.client.force_reconnect().await.is_ok() {
            let _ = timeout(RECONNECT_LIMIT, connected.changed()).await;
        }
    }
}

/// Subscribes to the denied subjects. Returns true if the server accepts one, and `None` without a connection.
async fn is_any_accepted(connection: &Connection) -> Option<bool> {
    let denied = &connection.denied_subscriptions;
    let (tried, began) = (denied.subjects(), Instant::now());
    let mut subscriptions = Vec::with_capacity(tried.len());
    for subject in tried.values() {
        subscriptions.push(connection.client.subscribe(subject.clone()).await.ok()?);
    }
    // Messages to these subscriptions are dropped: those to the denied ones were lost as well.
    sleep(REPORT_LIMIT).await;
    drop(subscriptions);
    let is_connected = connection.client.connection_state() == State::Connected;
    Some(is_connected && denied.is_any_given(tried.keys(), began))
}
