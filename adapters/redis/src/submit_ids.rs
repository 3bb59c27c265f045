//! Ids of submits in Redis: a string for each, which ends by itself.

use std::time::Duration;

use async_trait::async_trait;
use longshore_ports::Error;
use longshore_proto::RunId;
use redis::cmd;

use super::link::{Link, millis};

/// How long an id is remembered: far longer than a run takes to stand in a checkpoint, also when its partition changes
/// hands, which takes about eight seconds. At 1,000 submits with an id per second that is 60,000 keys of 300 bytes.
const LIFETIME: Duration = Duration::from_secs(60);

/// The ids of a cluster.
pub(super) struct SubmitIds {
    link: Link,
}

impl SubmitIds {
    pub(super) const fn new(link: Link) -> Self {
        Self { link }
    }
}

#[async_trait]
impl longshore_ports::SubmitIds for SubmitIds {
    async fn record(&self, run: RunId, request: &str) -> Result<Option<String>, Error> {
        let mut set = cmd("SET");
        set.arg(format!("{}:submit:{run}", self.link.prefix())).arg(request);
        set.arg("NX").arg("GET").arg("PX").arg(millis(LIFETIME));
        self.link.query(set, &format!("note what {run} is submitted with")).await
    }
}
