//! Publishes of the bare loop and of submits: plain ones, and atomic batches.

use async_nats::HeaderMap;
use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
};
use async_nats::jetstream::Context;
use async_nats::jetstream::message::PublishMessage;
use futures::future::try_join_all;

use crate::error::NatsResult;

/// Messages without an acknowledgement at one time, for each part of a measurement.
pub(crate) const WINDOW: usize = 1_000;

/// Messages of an atomic batch, and batches without an acknowledgement at one time, for each part of a measurement.
const BATCH: usize = 200;
const BATCHES: usize = 4;

/// The way to publish several messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublishMode {
    /// Each message by itself, with an acknowledgement of its own.
    OneByOne,
    /// All messages or none, with one acknowledgement.
    AtomicBatch,
}

impl PublishMode {
    /// Returns the number of messages that are published together, and the number of such groups without an acknowledgement at one
    /// time.
    pub(crate) const fn window(self) -> (usize, usize) {
        match self {
            Self::OneByOne => (1, WINDOW),
            Self::AtomicBatch => (BATCH, BATCHES),
        }
    }
}

/// Publishes a body to each subject and waits for the acknowledgements. With `once`, a subject that has a message already is
/// refused.
pub(crate) async fn publish(
    context: &Context,
    subjects: &[String],
    body: &'static [u8],
    once: bool,
    mode: PublishMode,
) -> NatsResult<()> {
    match (subjects, mode) {
        ([], _) => Ok(()),
        ([_], _) | (_, PublishMode::OneByOne) => {
            let sent = subjects.iter().map(async |subject| {
                let mut message = PublishMessage::build().payload(body.into());
                if once {
                    message = message.expected_last_subject_sequence(0);
                }
                context.send_publish(subject.clone(), message).await?.await
            });
            try_join_all(sent).await?;
            Ok(())
        }
        ([first @ .., last], PublishMode::AtomicBatch) => {
            let id = format!("{:032x}", rand::random::<u128>());
            let client = context.client();
            for (subject, number) in first.iter().zip(1_usize..) {
                let headers = headers(&id, number, once);
                client.publish_with_headers(subject.clone(), headers, body.into()).await?;
            }
            let mut headers = headers(&id, subjects.len(), once);
            headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
            let message = PublishMessage::build().payload(body.into()).headers(headers);
            context.send_publish(last.clone(), message).await?.await?;
            Ok(())
        }
    }
}

fn headers(batch: &str, number: usize, once: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_BATCH_ID, batch);
    headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
    if once {
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    }
    headers
}
