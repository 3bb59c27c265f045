//! Ids of recent submits in Redis: a string for each, which expires.

use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::{Error, SubmitIds};
use longshore_proto::RunId;
use redis::cmd;

use super::connection::{RedisConnection, millis};

/// Time until an id expires: far longer than it takes until a run is in a checkpoint, also while its partition is taken
/// over, which takes about eight seconds. At 1,000 submits with an id per second, requested or published, that is 60,000 keys of
/// 300 bytes.
const LIFETIME: Duration = Duration::from_secs(60);

/// The ids of recent submits of a cluster.
pub(super) struct RecentSubmitIds {
    connection: RedisConnection,
}

impl RecentSubmitIds {
    pub(super) const fn new(connection: RedisConnection) -> Self {
        Self { connection }
    }
}

#[async_trait]
impl SubmitIds for RecentSubmitIds {
    async fn record(&self, run: RunId, request: &str) -> Result<Option<String>, Error> {
        let mut set = cmd("SET");
        set.arg(format!("{}:submit:{run}", self.connection.prefix())).arg(request);
        set.arg("NX").arg("GET").arg("PX").arg(millis(LIFETIME));
        self.connection.query(set, &format!("record the submit of {run}")).await
    }
}
