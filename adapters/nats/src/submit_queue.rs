//! Submits by plain publish: a work queue with one consumer, which all schedulers share.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, jetstream};
use async_trait::async_trait;
use longshore_ports::{Error, Incoming, Submissions};
use longshore_proto::subject;

use super::connection::Connection;
use super::pull_consumer::PullConsumer;
use super::receipt::NatsReceipt;

/// Name of the consumer that all schedulers pull from.
pub(super) const CONSUMER: &str = "intake";

/// Maximum number of bytes of submits that are pulled at once: a batch of ordinary ones. Decoded, they may take thirty
/// times as much memory.
const PULL_BYTES: usize = 2 * 1024 * 1024;

/// The queue of published submits.
pub(super) struct SubmitQueue {
    connection: Connection,
    consumer: Arc<PullConsumer>,
}

impl SubmitQueue {
    pub(super) fn new(connection: &Connection) -> Self {
        let filter = format!("{}>", prefix());
        let consumer = PullConsumer::new(connection, subject::SUBMIT_STREAM, CONSUMER, &filter, PULL_BYTES);
        Self { connection: connection.clone(), consumer }
    }

    /// Splits a delivery into the parts of a submit. Its contents are not checked here.
    fn incoming(&self, message: Message) -> Incoming {
        let receipt = Box::new(NatsReceipt::new(&self.connection, &message));
        let message = jetstream::Message { message, context: self.connection.context.clone() };
        let info = message.info().ok();
        let delivered = info.as_ref().map_or(1, |info| u32::try_from(info.delivered).unwrap_or(1));
        let place = info.map(|info| place(info.stream_sequence, info.published.unix_timestamp_nanos()));
        let message = message.message;
        let (namespace, workflow) = names(&message.subject);
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let headers = headers.flat_map(|(name, values)| {
            values.iter().map(move |value| (name.to_string().to_lowercase(), value.to_string()))
        });
        Incoming {
            place: place.unwrap_or_default(),
            namespace,
            workflow,
            headers: headers.collect(),
            body: message.payload.to_vec(),
            delivered,
            receipt,
        }
    }
}

#[async_trait]
impl Submissions for SubmitQueue {
    async fn pull(&self, max: NonZeroUsize, wait: Duration) -> Result<Vec<Incoming>, Error> {
        let messages = self.consumer.pull(max.get(), wait).await?;
        Ok(messages.into_iter().map(|message| self.incoming(message)).collect())
    }
}

/// Returns an id of a message that is equal for all its deliveries. It contains the time, because a stream that was
/// created again counts from one again.
fn place(seq: u64, published_nanos: i128) -> String {
    format!("{seq}-{published_nanos}")
}

/// Returns the part of every subject before the namespace.
fn prefix() -> String {
    format!("{}.submit.", subject::ROOT)
}

/// Returns the namespace and the workflow in a subject, unchecked.
fn names(subject: &str) -> (String, String) {
    let rest = subject.strip_prefix(&prefix()).unwrap_or_default();
    let (namespace, workflow) = rest.split_once('.').unwrap_or((rest, ""));
    (namespace.to_owned(), workflow.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_tokens_of_the_subject() {
        let cases = [
            ("longshore.v1.submit.team.report", ("team", "report")),
            ("longshore.v1.submit.team", ("team", "")),
            ("longshore.v1.submit.team.a.b", ("team", "a.b")),
        ];
        for (subject, (namespace, workflow)) in cases {
            assert_eq!(names(subject), (namespace.to_owned(), workflow.to_owned()), "{subject}");
        }
    }
}
