//! The door for submits by plain publish: a work queue with one consumer, shared by all schedulers.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, jetstream};
use async_trait::async_trait;
use longshore_ports::{Error, Incoming};
use longshore_proto::subject;

use super::connection::Connection;
use super::line::Line;
use super::receipt::Held;

/// The consumer that all schedulers pull from.
const CONSUMER: &str = "intake";

/// How many bytes of submits are pulled at once: a batch of ordinary ones. Read, they may take thirty times as much.
const PULL_BYTES: usize = 2 * 1024 * 1024;

/// Submits that wait to be taken in.
pub(super) struct Submissions {
    connection: Connection,
    line: Arc<Line>,
}

impl Submissions {
    pub(super) fn new(connection: &Connection) -> Self {
        let filter = format!("{}>", prefix());
        let line = Line::new(connection, subject::SUBMIT_STREAM, CONSUMER, &filter, PULL_BYTES);
        Self { connection: connection.clone(), line }
    }

    fn incoming(&self, message: Message) -> Incoming {
        let receipt = Box::new(Held::new(&self.connection, &message));
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
impl longshore_ports::Submissions for Submissions {
    async fn pull(&self, max: NonZeroUsize, wait: Duration) -> Result<Vec<Incoming>, Error> {
        let messages = self.line.pull(max.get(), wait).await?;
        Ok(messages.into_iter().map(|message| self.incoming(message)).collect())
    }
}

/// The same for every delivery of a message, and another for every message: a stream that was made anew counts from
/// one again, at a later moment.
fn place(seq: u64, published_nanos: i128) -> String {
    format!("{seq}-{published_nanos}")
}

fn prefix() -> String {
    format!("{}.submit.", subject::ROOT)
}

/// The two tokens after the prefix, as they are; whoever takes the submit in checks them.
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
