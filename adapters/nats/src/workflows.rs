//! The registry of workflows: a key-value bucket with a key for each version, `<namespace>.<name>.<digest>`.
//!
//! The order of their last registration is the order of the stream behind the bucket, so the newest version is the last
//! one, and registering an old version again makes it the newest. `nats kv ls LS_WORKFLOWS` lists them.
//!
//! Every submit by name asks for versions, and they seldom change. So this process listens to changes, and believes what
//! it knows until it hears of one, or [for a second](BELIEVED). Then the stream's leader is asked for the last sequence,
//! and the versions are read again only if that has moved. Whoever registers a version waits for the stream's answer,
//! and by then the change is on its way to every listener, ahead of any submit that follows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use longshore_ports::{Error, WorkflowVersion};
use longshore_proto::{Namespace, WorkflowName, decode, encode};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::connection::Connection;
use super::failure::failed;
use super::publisher::{Manner, Outgoing, Publisher};
use super::scan::scan;
use super::streams::{WORKFLOWS_PREFIX, WORKFLOWS_STREAM, look};

/// Questions whose answers are remembered: the workflows that are submitted again and again.
const REMEMBERED: usize = 1_000;

/// How long an answer is believed while no change is heard of. News of a change may get lost, with a connection or for
/// lack of a permission to listen, and a version that was registered a moment ago must not be missed for long.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long to wait before listening again.
const LISTEN_PAUSE: Duration = Duration::from_secs(1);

/// The registry of a cluster.
pub(super) struct Workflows {
    connection: Connection,
    publisher: Publisher,
    /// Moves whenever something may have changed; nought until somebody listens.
    changes: Arc<AtomicU64>,
    listening: Once,
    remembered: Mutex<BTreeMap<String, Remembered>>,
}

/// What was found for some keys.
#[derive(Clone)]
struct Remembered {
    found: Vec<WorkflowVersion>,
    /// Of which state of the stream.
    of: State,
    /// When that was the state, and how many changes had been heard of.
    asked: Instant,
    changes: u64,
}

/// A state of the stream: when it was made, and its last sequence.
type State = (i128, u64);

impl Workflows {
    pub(super) fn new(connection: &Connection) -> Self {
        let publisher = Publisher::open(connection);
        let (changes, remembered) = (Arc::default(), Mutex::default());
        Self { connection: connection.clone(), publisher, changes, listening: Once::new(), remembered }
    }

    /// The versions whose keys match, in the order of their last registration.
    async fn registered(&self, keys: &str) -> Result<Vec<WorkflowVersion>, Error> {
        // A worker asks for nothing here, and has no permission to listen.
        self.listening.call_once(|| {
            self.connection.spawn(listen(self.connection.clone(), Arc::clone(&self.changes)));
        });
        let changes = self.changes.load(Ordering::Acquire);
        let known = self.remembered().get(keys).cloned();
        if let Some(known) = &known
            && changes > 0
            && known.changes == changes
            && known.asked.elapsed() < BELIEVED
        {
            return Ok(known.found.clone());
        }
        let asked = Instant::now();
        let info = look(&self.connection.context, WORKFLOWS_STREAM).await;
        let info = info.map_err(|error| failed(format!("look at stream {WORKFLOWS_STREAM}"), error))?;
        let of = (info.created.unix_timestamp_nanos(), info.state.last_sequence);
        let found = match known.filter(|known| known.of == of) {
            Some(known) => known.found,
            None => self.read(keys).await?,
        };
        let mut remembered = self.remembered();
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(keys.to_owned(), Remembered { found: found.clone(), of, asked, changes });
        Ok(found)
    }

    fn remembered(&self) -> MutexGuard<'_, BTreeMap<String, Remembered>> {
        // Nothing can panic half-way through a change of it.
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a change of this process before it is heard of; as long as nobody listens, nothing is believed anyway.
    fn note_own_change(&self) {
        if self.changes.load(Ordering::Acquire) > 0 {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Reads them from the stream.
    async fn read(&self, keys: &str) -> Result<Vec<WorkflowVersion>, Error> {
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

/// Counts the changes of the registry, and the times when some may have been missed.
async fn listen(connection: Connection, changes: Arc<AtomicU64>) {
    let mut connected = connection.connected();
    loop {
        match connection.client.subscribe(format!("{WORKFLOWS_PREFIX}.>")).await {
            Ok(mut news) => {
                changes.fetch_add(1, Ordering::Release);
                while tokio::select! {
                    changed = news.next() => changed.is_some(),
                    again = connected.changed() => again.is_ok(),
                } {
                    changes.fetch_add(1, Ordering::Release);
                }
            }
            Err(error) => debug!(%error, "changes of the registry cannot be listened to"),
        }
        changes.fetch_add(1, Ordering::Release);
        sleep(LISTEN_PAUSE).await;
    }
}

#[async_trait]
impl longshore_ports::Workflows for Workflows {
    async fn register(&self, namespace: &Namespace, workflow: &WorkflowVersion) -> Result<(), Error> {
        let doing = format!("register workflow {}", workflow.name);
        let key = format!("{namespace}.{}.{}", workflow.name, workflow.digest);
        let body = encode(workflow).map_err(|error| Error::permanent(doing.as_str(), error))?;
        let subject = format!("{WORKFLOWS_PREFIX}.{key}").into();
        self.publisher
            .publish(&doing, vec![Outgoing { subject, body: body.into(), manner: Manner::Alone }])
            .await?;
        self.note_own_change();
        Ok(())
    }

    async fn remove(&self, namespace: &Namespace, name: &WorkflowName) -> Result<usize, Error> {
        let versions = self.read(&format!("{namespace}.{name}.*")).await?;
        // An empty value is a deleted key. It moves the stream's last sequence, which a purge would not, so that every process
        // that remembers the versions notices.
        let deleted = versions.iter().map(|version| Outgoing {
            subject: format!("{WORKFLOWS_PREFIX}.{namespace}.{name}.{}", version.digest).into(),
            body: Bytes::new(),
            manner: Manner::Alone,
        });
        self.publisher.publish(&format!("remove workflow {name}"), deleted.collect()).await?;
        self.note_own_change();
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
        // Later ones take the place of earlier ones.
        let current: BTreeMap<_, _> =
            all.into_iter().map(|version| (version.name.clone(), version)).collect();
        Ok(current.into_values().collect())
    }
}
