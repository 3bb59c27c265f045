//! How full the logs of an account are, by what the other streams leave them.

use std::time::Duration;

use async_nats::jetstream::account::Account;
use futures::future::try_join_all;
use longshore_ports::Error;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{Nothing, ask};
use crate::connection::Connection;
use crate::failure::failed;
use crate::streams::look;
use crate::streams::sizes::{AccountRoom, max_bytes, sized_streams};

/// How long an answer serves for all partitions: it takes six requests. Shorter than admission relies on a full log.
const VALID_FOR: Duration = Duration::from_millis(200);

/// Measures the logs of an account together.
pub(super) struct Fullness {
    connection: Connection,
    replicas: usize,
    last: Mutex<Option<(Instant, u64)>>,
}

impl Fullness {
    pub(super) fn new(connection: &Connection, replicas: usize) -> Self {
        Self { connection: connection.clone(), replicas, last: Mutex::default() }
    }

    /// Returns how full they are, in per cent of what the other streams leave them. Zero without a limit of the account.
    pub(super) async fn of_all_logs(&self) -> Result<u64, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, percent)) = *last
            && at.elapsed() < VALID_FOR
        {
            return Ok(percent);
        }
        let asked_at = Instant::now();
        let percent = self.measure().await?;
        *last = Some((asked_at, percent));
        Ok(percent)
    }

    async fn measure(&self) -> Result<u64, Error> {
        let context = &self.connection.context;
        let doing = "look how full the account is";
        let account: Account =
            ask(context, "INFO".to_owned(), &Nothing {}).await.map_err(|error| failed(doing, error))?;
        let room = AccountRoom::of(&account, self.replicas);
        if !room.is_limited() {
            return Ok(0);
        }
        let others = sized_streams().map(async |stream| {
            let info = look(context, stream).await.map_err(|error| failed(doing, error))?;
            Ok::<_, Error>((info.state.bytes, max_bytes(&info), stream))
        });
        Ok(room.fullness_of_logs(&try_join_all(others).await?))
    }
}

/// How full a stream is, in per cent. Without a limit, which is -1 or 0, it is never full.
pub(crate) fn percent(bytes: u64, limit: i64) -> u64 {
    let limit = u64::try_from(limit).unwrap_or_default();
    bytes.saturating_mul(100).checked_div(limit).unwrap_or_default()
}
