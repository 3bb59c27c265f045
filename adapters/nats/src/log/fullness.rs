//! Fullness of the logs of an account, relative to the room that the other streams leave them.

use std::time::Duration;

use async_nats::jetstream::account::Account;
use futures::future::try_join_all;
use longshore_ports::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{EmptyRequest, request};
use crate::connection::Connection;
use crate::failure::failed;
use crate::streams::sizes::{AccountRoom, SizedStream, sized_streams};
use crate::streams::stream_info;

/// Time that a measurement is used for all partitions: it takes six requests. Shorter than the time for which admission
/// caches its decision.
const VALID_FOR: Duration = Duration::from_millis(200);

/// Measures the logs of an account together.
pub(super) struct LogsFullness {
    connection: Connection,
    replicas: usize,
    last: Mutex<Option<(Instant, u64)>>,
}

impl LogsFullness {
    pub(super) fn new(connection: &Connection, replicas: usize) -> Self {
        Self { connection: connection.clone(), replicas, last: Mutex::default() }
    }

    /// Returns the fullness in per cent. Zero without a limit of the account.
    pub(super) async fn of_all_logs(&self) -> Result<u64, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, percent)) = *last
            && at.elapsed() < VALID_FOR
        {
            return Ok(percent);
        }
        let measured_at = Instant::now();
        let percent = self.measure().await?;
        *last = Some((measured_at, percent));
        Ok(percent)
    }

    async fn measure(&self) -> Result<u64, Error> {
        let context = &self.connection.context;
        let doing = "read the fullness of the account";
        let account: Account = request(context, "INFO".to_owned(), &EmptyRequest {})
            .await
            .map_err(|error| failed(doing, error))?;
        let room = AccountRoom::of(&account, self.replicas);
        if !room.is_limited() {
            return Ok(0);
        }
        let others = sized_streams().map(async |stream| {
            let info = stream_info(context, stream).await.map_err(|error| failed(doing, error))?;
            Ok::<_, Error>(SizedStream::of(stream, &info))
        });
        Ok(room.fullness_of_logs(&try_join_all(others).await?))
    }
}

/// Returns the fullness of a stream in per cent. A limit of -1 or 0 means that there is none, and then it is zero.
pub(crate) fn percent(bytes: u64, limit: i64) -> u64 {
    let limit = u64::try_from(limit).unwrap_or_default();
    bytes.saturating_mul(100).checked_div(limit).unwrap_or_default()
}
