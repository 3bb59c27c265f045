//! The registry of workflows: a key-value bucket with a key for each version, `<namespace>.<name>.<digest>`.
//!
//! The order of their last registration is the order of the stream behind the bucket, so the newest version is the last
//! one, and registering an old version again makes it the newest. `nats kv ls LS_WORKFLOWS` lists them.
//!
//! Every submit asks for versions, and they seldom change: what was read is remembered with the stream's last sequence,
//! and read again when that has moved. The leader of the stream is asked for it, so nothing older than the question is
//! ever given.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use longshore_proto::{Namespace, WorkflowName, decode, encode};
use tracing::warn;

use super::connection::Connection;
use super::failure::failed;
use super::publisher::{Outgoing, Publisher};
use super::scan::scan;
use super::streams::{WORKFLOWS_PREFIX, WORKFLOWS_STREAM, look};
use crate::{Error, Registered};

/// Questions whose answers are remembered: the workflows that are submitted again and again.
const REMEMBERED: usize = 1_000;

/// The registry of a cluster.
pub(super) struct Workflows {
    connection: Connection,
    publisher: Publisher,
    /// What was found for some keys, and of which state of the stream.
    remembered: Mutex<BTreeMap<String, (State, Vec<Registered>)>>,
}

/// A state of the stream: when it was made, and its last sequence.
type State = (i128, u64);

impl Workflows {
    pub(super) fn new(connection: &Connection) -> Self {
        Self {
            connection: connection.clone(),
            publisher: Publisher::open(connection),
            remembered: Mutex::default(),
        }
    }

    /// The versions whose keys match, in the order of their last registration.
    async fn registered(&self, keys: &str) -> Result<Vec<Registered>, Error> {
        let info = look(&self.connection.context, WORKFLOWS_STREAM).await;
        let info = info.map_err(|error| failed(format!("look at stream {WORKFLOWS_STREAM}"), error))?;
        let state = (info.created.unix_timestamp_nanos(), info.state.last_sequence);
        if let Some((_, found)) = self.remembered().get(keys).filter(|(of, _)| *of == state) {
            return Ok(found.clone());
        }
        let found = self.read(keys).await?;
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(keys.to_owned(), (state, found.clone()));
        Ok(found)
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<String, (State, Vec<Registered>)>> {
        // Nothing can panic half-way through a change of it.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads them from the stream.
    async fn read(&self, keys: &str) -> Result<Vec<Registered>, Error> {
        let filter = format!("{WORKFLOWS_PREFIX}.{keys}");
        let found = scan(&self.connection, WORKFLOWS_STREAM, &filter, 1).await?;
        // A key that somebody deleted has an empty value.
        let found = found.into_iter().filter(|stored| !stored.body.is_empty());
        let read = found.filter_map(|stored| match decode(&stored.body) {
            Ok(registered) => Some(registered),
            Err(reason) => {
                warn!(seq = stored.seq, %reason, "an entry of the registry cannot be read and is passed over");
                None
            }
        });
        Ok(read.collect())
    }
}

#[async_trait]
impl crate::Workflows for Workflows {
    async fn register(&self, namespace: &Namespace, workflow: &Registered) -> Result<(), Error> {
        let doing = format!("register workflow {}", workflow.name);
        let key = format!("{namespace}.{}.{}", workflow.name, workflow.digest);
        let body = encode(workflow).map_err(|error| Error::permanent(doing.as_str(), error))?;
        let subject = format!("{WORKFLOWS_PREFIX}.{key}").into();
        self.publisher.publish(&doing, vec![Outgoing { subject, body: body.into(), once: false }]).await?;
        Ok(())
    }

    async fn versions(&self, namespace: &Namespace, name: &WorkflowName) -> Result<Vec<Registered>, Error> {
        let mut versions = self.registered(&format!("{namespace}.{name}.*")).await?;
        versions.reverse();
        Ok(versions)
    }

    async fn list(&self, namespace: &Namespace) -> Result<Vec<Registered>, Error> {
        let all = self.registered(&format!("{namespace}.*.*")).await?;
        // Later ones take the place of earlier ones.
        let current: BTreeMap<_, _> =
            all.into_iter().map(|version| (version.name.clone(), version)).collect();
        Ok(current.into_values().collect())
    }
}
