//! Grants of unsafe calls: plain messages on a subject for each worker.
//!
//! A process subscribes to the subject of its worker when it starts. Messages to a worker that does not listen
//! are lost, and the worker asks again.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::client::PublishError;
use futures::StreamExt;
use longshore_ports::{Error, GrantWaiter, GrantWaiters};
use longshore_proto::{DeliveryId, Grant, NodeId, decode_all, encode, join_messages, subject};
use tokio::sync::Mutex;
use tracing::warn;

use crate::connection::Connection;
use crate::failure::failed;

/// Grants of one message: 200 bytes each, so some dozens of kilobytes.
const GRANTS_PER_MESSAGE: usize = 256;

/// The deliveries of this process that wait, and the subscription of its worker.
#[derive(Default)]
pub(super) struct Grants {
    waiters: GrantWaiters,
    /// Workers whose grants are received: nearly always one.
    subscribed: Mutex<BTreeSet<NodeId>>,
}

impl Grants {
    /// Returns a waiter for the decision about a delivery.
    pub(super) async fn waiter(
        &self,
        connection: &Connection,
        delivery: &DeliveryId,
    ) -> Result<GrantWaiter, Error> {
        self.subscribe(connection, &delivery.worker).await?;
        Ok(self.waiters.register(delivery))
    }

    /// Subscribes to the grants of a worker, unless that was done before.
    pub(super) async fn subscribe(&self, connection: &Connection, worker: &NodeId) -> Result<(), Error> {
        let mut subscribed = self.subscribed.lock().await;
        if subscribed.contains(worker) {
            return Ok(());
        }
        let messages = connection.client.subscribe(subject::grants(worker)).await;
        let mut messages = messages.map_err(|error| failed("subscribe to grants", error))?;
        let waiters = self.waiters.clone();
        connection.spawn(async move {
            while let Some(message) = messages.next().await {
                receive(&waiters, &message.payload);
            }
        });
        subscribed.insert(worker.clone());
        Ok(())
    }
}

fn receive(waiters: &GrantWaiters, payload: &[u8]) {
    for grant in decode_all::<Grant>(payload) {
        match grant {
            Ok(grant) => waiters.decide(&grant),
            Err(reason) => warn!(%reason, "cannot decode a grant; the worker asks again"),
        }
    }
}

/// Sends decisions, those for one worker together.
pub(super) async fn send(connection: &Connection, grants: &[Grant]) -> Result<(), Error> {
    let mut by_worker = BTreeMap::<&NodeId, Vec<Vec<u8>>>::new();
    for grant in grants {
        let message = encode(grant).map_err(|error| Error::permanent("encode a grant", error))?;
        by_worker.entry(&grant.delivery.worker).or_default().push(message);
    }
    let sending = async {
        for (worker, messages) in by_worker {
            for messages in messages.chunks(GRANTS_PER_MESSAGE) {
                connection.client.publish(subject::grants(worker), join_messages(messages).into()).await?;
            }
        }
        Ok::<_, PublishError>(())
    };
    sending.await.map_err(|error| failed("send grants", error))
}
