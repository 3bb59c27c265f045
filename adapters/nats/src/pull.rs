//! Pull requests to a JetStream consumer.
//!
//! A pull request asks the server to send some messages to an inbox until it expires. The messages come under their own
//! subjects and do not say which request they answer. Status messages about a request come under the subject of that
//! request. So [`OutstandingPulls`] counts what was requested and has not arrived, and [`PullClient`] sends the
//! requests.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Client, Message, PublishError, StatusCode, Subject, SubscribeError, Subscriber};
use serde::Serialize;
use tokio::time::Instant;

use super::denials::{self, PublishDenied};

/// Time that a pull request is still waited for after it expired: a slow network, or a busy server.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Sends pull requests to one consumer.
#[derive(Clone)]
pub(super) struct PullClient {
    client: Client,
    consumer: Subject,
    inbox: String,
}

/// A request for messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct PullRequest {
    pub(super) count: usize,
    /// Maximum number of bytes of all messages together. With such a limit the server sends one status message more, at
    /// the end of the request.
    pub(super) bytes: Option<usize>,
    /// Time that the server keeps the request. `None` asks only for what is available at once.
    pub(super) expires: Option<Duration>,
}

/// The JSON body of a pull request.
#[derive(Serialize)]
struct PullRequestBody {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    /// Nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    no_wait: bool,
}

impl PullClient {
    /// Subscribes to an inbox for the messages of a consumer.
    pub(super) async fn open(
        client: &Client,
        stream: &str,
        consumer: &str,
    ) -> Result<(Self, Subscriber), SubscribeError> {
        let inbox = client.new_inbox();
        let messages = client.subscribe(format!("{inbox}.*")).await?;
        let consumer = Subject::from(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"));
        Ok((Self { client: client.clone(), consumer, inbox }, messages))
    }

    /// Sends a request under a number that is unique for this client.
    pub(super) async fn pull(&self, number: u64, request: PullRequest) -> Result<(), PublishError> {
        let body = PullRequestBody {
            batch: request.count,
            max_bytes: request.bytes,
            expires: request.expires.map(|expires| u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX)),
            no_wait: request.expires.is_none(),
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let reply = format!("{}.{number}", self.inbox);
        self.client.publish_with_reply(self.consumer.clone(), reply, body.into()).await
    }

    /// Waits until the server denies a request that was sent at `sent_at` or later. Safe to cancel.
    pub(super) async fn denied(&self, sent_at: Instant) -> PublishDenied {
        denials::denied(&self.consumer, sent_at).await
    }
}

/// A message from the inbox of a consumer.
#[derive(Debug)]
pub(super) enum InboxMessage {
    /// A message of the stream.
    Message(Message),
    /// The request of this number is complete or has expired.
    PullEnded(u64),
    /// The consumer is gone or cannot be pulled at this moment, for this reason.
    ConsumerError(String),
}

impl InboxMessage {
    /// Classifies a message. A message of the stream has a reply subject, and may have a status too, if its publisher gave it one.
    pub(super) fn from_nats(message: Message) -> Self {
        let Some(status) = message.status.filter(|_| message.reply.is_none()) else {
            return Self::Message(message);
        };
        let description = message.description.as_deref().unwrap_or_default();
        let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
        let is_limit_reached = ["MaxBytes", "Batch Completed", "MaxAckPending"]
            .iter()
            .any(|reason| description.contains(reason));
        match (status, number) {
            (StatusCode::NOT_FOUND | StatusCode::TIMEOUT, Some(number)) => Self::PullEnded(number),
            (StatusCode::REQUEST_TERMINATED, Some(number)) if is_limit_reached => Self::PullEnded(number),
            _ => Self::ConsumerError(format!("{description} ({status})")),
        }
    }
}

/// Messages that were requested and have not arrived.
#[derive(Debug, Default)]
pub(super) struct OutstandingPulls {
    open: VecDeque<OpenPull>,
    last_number: u64,
}

#[derive(Debug)]
struct OpenPull {
    number: u64,
    outstanding: usize,
    until: Instant,
}

impl OutstandingPulls {
    /// Returns the number for the next request.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Adds a request that expires at `until`.
    pub(super) fn add(&mut self, number: u64, count: usize, until: Instant) {
        self.open.push_back(OpenPull { number, outstanding: count, until: until + GRACE });
    }

    /// Counts an arrived message for the oldest open request: the server serves requests in their order.
    pub(super) fn count_message(&mut self) {
        if let Some(first) = self.open.front_mut() {
            first.outstanding = first.outstanding.saturating_sub(1);
            if first.outstanding == 0 {
                self.open.pop_front();
            }
        }
    }

    /// Removes a request that the server has ended.
    pub(super) fn remove(&mut self, number: u64) {
        self.open.retain(|open| open.number != number);
    }

    /// Returns true if messages of a request may still arrive.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.open.iter().any(|open| open.number == number)
    }

    /// Returns true if the server has ended or filled every request.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Drops expired requests. Returns the number of messages that may still arrive.
    pub(super) fn outstanding(&mut self, now: Instant) -> usize {
        self.open.retain(|open| open.until > now);
        self.open.iter().map(|open| open.outstanding).sum()
    }

    /// Removes all requests, for example those of a lost connection.
    pub(super) fn clear(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrived_and_ended_requests_are_not_outstanding() {
        let now = Instant::now();
        let mut pulls = OutstandingPulls::default();
        let (first, second) = (pulls.next_number(), pulls.next_number());
        pulls.add(first, 3, now);
        pulls.add(second, 2, now + Duration::from_secs(60));
        pulls.count_message();
        assert_eq!(pulls.outstanding(now), 4);
        pulls.remove(first);
        assert_eq!(pulls.outstanding(now), 2);
        pulls.count_message();
        pulls.count_message();
        pulls.count_message();
        assert_eq!(pulls.outstanding(now), 0, "one message too many is harmless");
        pulls.add(7, 5, now);
        assert_eq!(pulls.outstanding(now + GRACE), 0, "the request has expired");
    }

    fn status_message(status: u16, description: &str) -> Message {
        Message {
            subject: "_INBOX.abc.7".into(),
            reply: None,
            payload: "".into(),
            headers: None,
            status: StatusCode::from_u16(status).ok(),
            description: Some(description.to_owned()),
            length: 0,
        }
    }

    #[test]
    fn status_messages_end_a_request_or_mean_a_failed_consumer() {
        let ended = [(404, "No Messages"), (408, "Request Timeout"), (409, "Message Size Exceeds MaxBytes")];
        for (status, description) in ended {
            let message = InboxMessage::from_nats(status_message(status, description));
            assert!(matches!(message, InboxMessage::PullEnded(7)), "{description}");
        }
        for (status, description) in [(503, ""), (409, "Consumer Deleted"), (409, "Leadership Change")] {
            let message = InboxMessage::from_nats(status_message(status, description));
            assert!(matches!(message, InboxMessage::ConsumerError(_)), "{description}");
        }
    }

    #[test]
    fn stored_message_with_a_status_is_a_message_of_the_stream() {
        let reply = Some("$JS.ACK.LS_LOG_00.read.1.7.7.1.0".into());
        let message = InboxMessage::from_nats(Message { reply, ..status_message(404, "Message Not Found") });
        assert!(matches!(message, InboxMessage::Message(_)), "{message:?}");
    }
}
