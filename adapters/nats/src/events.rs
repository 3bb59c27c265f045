//! What happens to runs, told to whoever listens.
//!
//! Plain publishes: nobody waits for them, and they may be lost. Whoever needs to be sure asks for the run's state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Subject;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_ports::Error;
use longshore_proto::{Namespace, RunId, WorkflowName, subject};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::failure::failed;

/// How many events wait to be sent; with a lost connection they are soon dropped.
const WAITING: usize = 4_096;

/// The teller of events.
#[derive(Clone)]
pub struct Events {
    connection: Connection,
    waiting: mpsc::Sender<(Subject, Vec<u8>)>,
    dropped: Arc<AtomicU64>,
}

impl Events {
    pub(super) fn new(connection: &Connection) -> Self {
        let (waiting, mut taken) = mpsc::channel::<(Subject, Vec<u8>)>(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        let (client, lost) = (connection.client.clone(), Arc::clone(&dropped));
        connection.spawn(async move {
            while let Some((subject, body)) = taken.recv().await {
                if client.publish(subject, body.into()).await.is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { connection: connection.clone(), waiting, dropped }
    }

    /// Tells an event, best effort: it never waits, and is dropped and counted when too many are on their way.
    pub fn publish(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        run: RunId,
        what: &str,
        body: Vec<u8>,
    ) {
        let subject = subject::event(namespace, workflow, run, what).into();
        if self.waiting.try_send((subject, body)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns true if the last thing that NATS did not allow this process was to publish an event.
    pub(super) fn is_refused(&self) -> bool {
        let subject = format!("{}.evt.", subject::ROOT);
        self.connection.last_denied().is_some_and(|cause| cause.contains(&subject))
    }

    /// How many events this process has dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Listens to the events of a run of a namespace, from now on: kind and body of each. It ends with the connection, and not with
    /// the run.
    ///
    /// # Errors
    /// When the server cannot be told within ten seconds.
    pub async fn subscribe(
        &self,
        namespace: &Namespace,
        run: RunId,
    ) -> Result<BoxStream<'static, (String, Vec<u8>)>, Error> {
        let doing = || format!("listen to run {run}");
        let client = &self.connection.client;
        let heard = client.subscribe(format!("{}.evt.{namespace}.*.{run}.*", subject::ROOT)).await;
        let heard = heard.map_err(|error| failed(doing(), error))?;
        // From here on the server knows of the subscription.
        self.connection.round_trip(&doing()).await?;
        let events = heard.map(|message| {
            let what = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
            (what, message.payload.to_vec())
        });
        Ok(events.boxed())
    }
}
