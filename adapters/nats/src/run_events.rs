//! Events of runs: updates of runs and calls that are published while they happen.
//!
//! Plain publishes without an answer, so they may be lost. A reader that has to be certain asks for the state of the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Subject;
use futures::StreamExt;
use futures::stream::BoxStream;
use longshore_ports::Error;
use longshore_proto::{Namespace, RunId, WorkflowName, subject};
use tokio::sync::mpsc;

use super::connection::Connection;
use super::denials;
use super::failure::failed;

/// Maximum number of events that wait to be sent. While the connection is lost, further ones are dropped.
const QUEUE_EVENTS: usize = 4_096;

/// Publisher and subscriber of run events.
#[derive(Clone)]
pub struct RunEvents {
    connection: Connection,
    queue: mpsc::Sender<(Subject, Vec<u8>)>,
    dropped: Arc<AtomicU64>,
}

impl RunEvents {
    pub(super) fn new(connection: &Connection) -> Self {
        let (queue, mut queued) = mpsc::channel::<(Subject, Vec<u8>)>(QUEUE_EVENTS);
        let dropped = Arc::new(AtomicU64::new(0));
        let (client, unsent) = (connection.client.clone(), Arc::clone(&dropped));
        connection.spawn(async move {
            while let Some((subject, body)) = queued.recv().await {
                if client.publish(subject, body.into()).await.is_err() {
                    unsent.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { connection: connection.clone(), queue, dropped }
    }

    /// Publishes an event of a kind (`run`, `step` or `call`), best effort. Never waits: the event is dropped and counted if
    /// too many wait to be sent.
    pub fn publish_event(
        &self,
        namespace: &Namespace,
        workflow: &WorkflowName,
        run: RunId,
        kind: &str,
        body: Vec<u8>,
    ) {
        let subject = subject::event(namespace, workflow, run, kind).into();
        if self.queue.try_send((subject, body)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns true if NATS recently denied this process the publish of an event.
    pub(super) fn is_denied(&self) -> bool {
        denials::is_denied(&format!("{}.evt.", subject::ROOT))
    }

    /// Returns the number of events that this process dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Subscribes to the events of a run of a namespace; the stream has the kind and the body of each. It ends with the
    /// connection, not with the run.
    ///
    /// # Errors
    /// The server does not confirm the subscription within ten seconds.
    pub async fn subscribe(
        &self,
        namespace: &Namespace,
        run: RunId,
    ) -> Result<BoxStream<'static, (String, Vec<u8>)>, Error> {
        let doing = || format!("subscribe to events of {run}");
        let client = &self.connection.client;
        let messages = client.subscribe(format!("{}.evt.{namespace}.*.{run}.*", subject::ROOT)).await;
        let messages = messages.map_err(|error| failed(doing(), error))?;
        // After the round trip the server has the subscription.
        self.connection.round_trip(&doing()).await?;
        let events = messages.map(|message| {
            let kind = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
            (kind, message.payload.to_vec())
        });
        Ok(events.boxed())
    }
}
