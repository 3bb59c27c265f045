//! The registry of workflows: a key-value bucket with a key for each version, `<namespace>.<name>.<digest>`.
//!
//! The order of their last registration is the order of the stream behind the bucket, so the newest version is the last
//! one, and registering an old version again makes it the newest. `nats kv ls LS_WORKFLOWS` lists them.
//!
//! Every submit by name reads versions, and they seldom change. So this process subscribes to changes and caches what
//! it read until a change arrives, or [for a second](CACHED_FOR). Then it asks the stream's leader for the last
//! sequence, and reads the versions again only if that has changed. A client that registers a version waits for the
//! stream's acknowledgement, and by then the change is on its way to every subscriber, ahead of any submit that
//! follows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use longshore_ports::{Error, WorkflowVersion, Workflows};
use longshore_proto::subject::{WORKFLOWS_PREFIX, WORKFLOWS_STREAM};
use longshore_proto::{Namespace, WorkflowName, decode, encode};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::connection::Connection;
use super::failure::failed;
use super::publisher::{OutgoingMessage, Publisher, StoreMode};
use super::scan::scan;
use super::streams::stream_info;

/// Queries whose results are cached: the workflows that are submitted again and again.
const CACHED_QUERIES: usize = 1_000;

/// Time that a result is used while no change arrives. Messages about changes may get lost, with a connection or for
/// lack of a permission to subscribe, and a version that was registered a moment ago must not be missed for long.
const CACHED_FOR: Duration = Duration::from_secs(1);

/// Pause before this process subscribes again.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

/// The workflow registry of a cluster.
pub(super) struct WorkflowRegistry {
    connection: Connection,
    publisher: Publisher,
    /// Incremented whenever versions may have changed. Zero until this process has subscribed to changes.
    changes: Arc<AtomicU64>,
    subscribing: Once,
    /// Results by query.
    cache: Mutex<BTreeMap<String, CachedVersions>>,
}

/// The result of a query.
#[derive(Clone)]
struct CachedVersions {
    versions: Vec<WorkflowVersion>,
    stream: StreamVersion,
    /// Time of the read.
    read_at: Instant,
    /// Number of changes that had arrived before the read.
    changes: u64,
}

/// A state of the stream.
#[derive(Clone, Copy, Eq, PartialEq)]
struct StreamVersion {
    /// Nanoseconds since 1970.
    created: i128,
    last_sequence: u64,
}

impl WorkflowRegistry {
    pub(super) fn new(connection: &Connection) -> Self {
        let publisher = Publisher::open(connection);
        let (changes, cache) = (Arc::default(), Mutex::default());
        Self { connection: connection.clone(), publisher, changes, subscribing: Once::new(), cache }
    }

    /// Returns the versions whose keys match, in the order of their last registration.
    async fn registered(&self, keys: &str) -> Result<Vec<WorkflowVersion>, Error> {
        // Not at the start: a worker never reads the registry, and has no permission to subscribe.
        self.subscribing.call_once(|| {
            self.connection.spawn(count_changes(self.connection.clone(), Arc::clone(&self.changes)));
        });
        let changes = self.changes.load(Ordering::Acquire);
        let cached = self.cache().get(keys).cloned();
        if let Some(cached) = &cached
            && changes > 0
            && cached.changes == changes
            && cached.read_at.elapsed() < CACHED_FOR
        {
            return Ok(cached.versions.clone());
        }
        let read_at = Instant::now();
        let info = stream_info(&self.connection.context, WORKFLOWS_STREAM).await;
        let info =
            info.map_err(|error| failed(format!("read the state of stream {WORKFLOWS_STREAM}"), error))?;
        let stream = StreamVersion {
            created: info.created.unix_timestamp_nanos(),
            last_sequence: info.state.last_sequence,
        };
        let versions = match cached.filter(|cached| cached.stream == stream) {
            Some(cached) => cached.versions,
            None => self.read(keys).await?,
        };
        let mut cache = self.cache();
        if cache.len() >= CACHED_QUERIES {
            cache.clear();
        }
        let cached = CachedVersions { versions: versions.clone(), stream, read_at, changes };
        cache.insert(keys.to_owned(), cached);
        Ok(versions)
    }

    fn cache(&self) -> MutexGuard<'_, BTreeMap<String, CachedVersions>> {
        // No code that holds the lock can panic half-way.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change by this process at once, before its message arrives. Without a subscription the cache is not
    /// used anyway.
    fn count_own_change(&self) {
        if self.changes.load(Ordering::Acquire) > 0 {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Reads the versions whose keys match from the stream.
    async fn read(&self, keys: &str) -> Result<Vec<WorkflowVersion>, Error> {
        let filter = format!("{WORKFLOWS_PREFIX}.{keys}");
        let found = scan(&self.connection, WORKFLOWS_STREAM, &filter, 1).await?;
        // A deleted key has an empty value.
        let found = found.into_iter().filter(|stored| !stored.body.is_empty());
        let read = found.filter_map(|stored| match decode(&stored.body) {
            Ok(registered) => Some(registered),
            Err(reason) => {
                warn!(seq = stored.seq, %reason, "cannot decode an entry of the registry; ignoring it");
                None
            }
        });
        Ok(read.collect())
    }
}

/// Counts the changes of the registry, and the reconnects, during which changes may have been missed.
async fn count_changes(connection: Connection, changes: Arc<AtomicU64>) {
    let mut connected = connection.connected();
    loop {
        match connection.client.subscribe(format!("{WORKFLOWS_PREFIX}.>")).await {
            Ok(mut messages) => {
                changes.fetch_add(1, Ordering::Release);
                while tokio::select! {
                    changed = messages.next() => changed.is_some(),
                    reconnected = connected.changed() => reconnected.is_ok(),
                } {
                    changes.fetch_add(1, Ordering::Release);
                }
            }
            Err(error) => debug!(%error, "cannot subscribe to changes of the registry; trying again"),
        }
        changes.fetch_add(1, Ordering::Release);
        sleep(SUBSCRIBE_PAUSE).await;
    }
}

#[async_trait]
impl Workflows for WorkflowRegistry {
    async fn register(&self, namespace: &Namespace, workflow: &WorkflowVersion) -> Result<(), Error> {
        let doing = format!("register workflow {}", workflow.name);
        let key = format!("{namespace}.{}.{}", workflow.name, workflow.digest);
        let body = encode(workflow).map_err(|error| Error::permanent(doing.as_str(), error))?;
        let subject = format!("{WORKFLOWS_PREFIX}.{key}").into();
        self.publisher
            .publish(&doing, vec![OutgoingMessage { subject, body: body.into(), store: StoreMode::Single }])
            .await?;
        self.count_own_change();
        Ok(())
    }

    async fn remove(&self, namespace: &Namespace, name: &WorkflowName) -> Result<usize, Error> {
        let versions = self.read(&format!("{namespace}.{name}.*")).await?;
        // An empty value is a deleted key. Unlike a purge it increments the stream's last sequence, so that every
        // process with the versions in its cache notices.
        let deleted = versions.iter().map(|version| OutgoingMessage {
            subject: format!("{WORKFLOWS_PREFIX}.{namespace}.{name}.{}", version.digest).into(),
            body: Bytes::new(),
            store: StoreMode::Single,
        });
        self.publisher.publish(&format!("remove workflow {name}"), deleted.collect()).await?;
        self.count_own_change();
        Ok(versions.len())
    }

    async fn versions(
        &self,
        namespace: &Namespace,
        name: &WorkflowName,
    ) -> Result<Vec<WorkflowVersion>, Error> {
        let mut versions = self.registered(&format!("{namespace}.{name}.*")).await?;
        versions.reverse();
        Ok(versions)
    }

    async fn list(&self, namespace: &Namespace) -> Result<Vec<WorkflowVersion>, Error> {
        let all = self.registered(&format!("{namespace}.*.*")).await?;
        // Later versions replace earlier ones.
        let current: BTreeMap<_, _> =
            all.into_iter().map(|version| (version.name.clone(), version)).collect();
        Ok(current.into_values().collect())
    }
}
