//! Acknowledgements of delivered messages.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::jetstream::AckKind;
use async_nats::{Message, Subject};
use async_trait::async_trait;
use bytes::Bytes;
use longshore_ports::{AckWaitExtender, Error, Receipt};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::Connection;
use super::failure::failed;

/// Time that the server waits for an acknowledgement before it delivers a message again.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(30);

/// Time that an acknowledgement may wait for a connection. It is a plain publish: a lost one means one more delivery.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// Sends acknowledgements of one message.
#[derive(Clone)]
pub(super) struct DeliveryReply {
    connection: Connection,
    subject: Subject,
}

impl DeliveryReply {
    /// Returns the reply for a message. A message that was not delivered by a consumer has no reply subject, and an
    /// acknowledgement of it reaches no subscriber.
    pub(super) fn to(connection: &Connection, message: &Message) -> Self {
        let subject = message.reply.clone().unwrap_or_else(|| Subject::from_static("no-reply"));
        Self { connection: connection.clone(), subject }
    }

    /// Returns the message to the queue, to be delivered again at once or after a delay.
    pub(super) async fn give_back(self, delay: Option<Duration>) -> Result<(), Error> {
        self.send(AckKind::Nak(delay)).await
    }

    async fn send(&self, ack: AckKind) -> Result<(), Error> {
        let doing = "acknowledge a message";
        match timeout(SEND_LIMIT, self.connection.client.publish(self.subject.clone(), Bytes::from(ack)))
            .await
        {
            Ok(sent) => sent.map_err(|error| failed(doing, error)),
            Err(_) => Err(Error::transient(doing, "there is no connection to NATS")),
        }
    }

    /// Sends an acknowledgement in the background, where the caller cannot wait. A failure means one more delivery.
    fn send_in_background(&self, ack: AckKind) {
        // Without a runtime the process is ending, and the queue delivers the message again after `ACK_WAIT`.
        if let Ok(runtime) = Handle::try_current() {
            let reply = self.clone();
            self.connection
                .tasks
                .spawn_on(async move { reply.send(ack).await.unwrap_or_default() }, &runtime);
        }
    }
}

#[async_trait]
impl AckWaitExtender for DeliveryReply {
    async fn extend_ack_wait(&self) {
        // If the extension is lost, the job may be delivered once more.
        self.send(AckKind::Progress).await.unwrap_or_default();
    }
}

/// The receipt of a delivered message. Dropped without an acknowledgement, it returns the message to the queue.
pub(super) struct NatsReceipt {
    reply: DeliveryReply,
    is_answered: bool,
    /// Called when the receipt is dropped.
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl NatsReceipt {
    pub(super) fn new(connection: &Connection, message: &Message) -> Self {
        Self { reply: DeliveryReply::to(connection, message), is_answered: false, on_drop: None }
    }

    /// Sets a function that is called when the receipt is dropped.
    pub(super) fn on_drop(mut self, function: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.on_drop = Some(Box::new(function));
        self
    }

    /// Returns the message to the queue with a delay, for a process that can read it.
    pub(super) fn postpone(mut self, delay: Duration) {
        self.is_answered = true;
        self.reply.send_in_background(AckKind::Nak(Some(delay)));
    }

    /// Removes the message from the queue.
    pub(super) fn terminate(mut self) {
        self.is_answered = true;
        self.reply.send_in_background(AckKind::Term);
    }
}

#[async_trait]
impl Receipt for NatsReceipt {
    fn ack_wait(&self) -> Duration {
        ACK_WAIT
    }

    async fn extend_ack_wait(&self) -> Result<(), Error> {
        // A publish succeeds without a connection, because the client keeps it for later. The job may have another worker then.
        if self.reply.connection.client.connection_state() != State::Connected {
            return Err(Error::transient("report progress", "there is no connection to NATS"));
        }
        self.reply.send(AckKind::Progress).await
    }

    fn ack_wait_extender(&self) -> Option<Arc<dyn AckWaitExtender>> {
        Some(Arc::new(self.reply.clone()))
    }

    async fn ack(mut self: Box<Self>) -> Result<(), Error> {
        self.is_answered = true;
        self.reply.send(AckKind::Ack).await
    }

    async fn give_back(mut self: Box<Self>, delay: Option<Duration>) -> Result<(), Error> {
        self.is_answered = true;
        self.reply.send(AckKind::Nak(delay)).await
    }
}

impl Drop for NatsReceipt {
    fn drop(&mut self) {
        if let Some(function) = self.on_drop.take() {
            function();
        }
        if !self.is_answered {
            self.reply.send_in_background(AckKind::Nak(None));
        }
    }
}
