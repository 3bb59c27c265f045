//! Answers to a work queue about a message it delivered.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{Message, Subject};
use async_trait::async_trait;
use bytes::Bytes;
use longshore_ports::{AckWaitExtender, Error, Receipt};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::connection::Connection;
use super::failure::failed;

/// How long the server waits for an answer about a delivered message before it delivers the message again.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(30);

/// How long a word may wait for a connection. Words are plain publishes: a lost one means one more delivery.
const WORD: Duration = Duration::from_secs(5);

/// Where answers about a message go.
#[derive(Clone)]
pub(super) struct Reply {
    connection: Connection,
    to: Subject,
}

impl Reply {
    pub(super) fn to(connection: &Connection, message: &Message) -> Self {
        let to = message.reply.clone().unwrap_or_else(|| Subject::from_static("nobody"));
        Self { connection: connection.clone(), to }
    }

    /// Lets somebody else have it, at once or after a delay.
    pub(super) async fn give_back(self, delay: Option<Duration>) -> Result<(), Error> {
        self.say(AckKind::Nak(delay)).await
    }

    async fn say(&self, word: AckKind) -> Result<(), Error> {
        let doing = "answer the work queue";
        match timeout(WORD, self.connection.client.publish(self.to.clone(), Bytes::from(word))).await {
            Ok(sent) => sent.map_err(|error| failed(doing, error)),
            Err(_) => Err(Error::transient(doing, "there is no connection to NATS")),
        }
    }

    /// Says a word some time, as well as it goes.
    fn say_later(&self, word: AckKind) {
        // Without a runtime the process is ending, and the queue finds out by itself.
        if let Ok(runtime) = Handle::try_current() {
            let reply = self.clone();
            self.connection
                .tasks
                .spawn_on(async move { reply.say(word).await.unwrap_or_default() }, &runtime);
        }
    }
}

#[async_trait]
impl AckWaitExtender for Reply {
    async fn extend_ack_wait(&self) {
        // A word that is lost means one more delivery.
        self.say(AckKind::Progress).await.unwrap_or_default();
    }
}

/// A message in somebody's hands.
pub(super) struct Held {
    reply: Reply,
    answered: bool,
    /// Run when the message leaves these hands.
    gone: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Held {
    pub(super) fn new(connection: &Connection, message: &Message) -> Self {
        Self { reply: Reply::to(connection, message), answered: false, gone: None }
    }

    /// Has something done when the message leaves these hands.
    pub(super) fn when_gone(mut self, gone: impl FnOnce() + Send + Sync + 'static) -> Self {
        self.gone = Some(Box::new(gone));
        self
    }

    /// Leaves the message to somebody else, who can read it.
    pub(super) fn put_off(mut self, delay: Duration) {
        self.answered = true;
        self.reply.say_later(AckKind::Nak(Some(delay)));
    }

    /// Takes the message out of the queue unread.
    pub(super) fn discard(mut self) {
        self.answered = true;
        self.reply.say_later(AckKind::Term);
    }
}

#[async_trait]
impl Receipt for Held {
    fn ack_wait(&self) -> Duration {
        ACK_WAIT
    }

    async fn extend_ack_wait(&self) -> Result<(), Error> {
        self.reply.say(AckKind::Progress).await
    }

    fn ack_wait_extender(&self) -> Option<Arc<dyn AckWaitExtender>> {
        Some(Arc::new(self.reply.clone()))
    }

    async fn ack(mut self: Box<Self>) -> Result<(), Error> {
        self.answered = true;
        self.reply.say(AckKind::Ack).await
    }

    async fn give_back(mut self: Box<Self>, delay: Option<Duration>) -> Result<(), Error> {
        self.answered = true;
        self.reply.say(AckKind::Nak(delay)).await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(gone) = self.gone.take() {
            gone();
        }
        if !self.answered {
            self.reply.say_later(AckKind::Nak(None));
        }
    }
}
