//! Pulling messages out of a consumer.
//!
//! A pull asks the server for some messages, to be sent to an inbox while its time lasts. Messages come under their own
//! subjects and do not say which pull they answer; what the server has to say about a pull comes under its own. So
//! [`Pulls`] keeps count of what was asked for and has not come, and [`Puller`] asks.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::{Client, Message, PublishError, StatusCode, Subject, SubscribeError, Subscriber};
use serde::Serialize;
use tokio::time::Instant;

/// How much longer than its time a pull is waited for: a slow network, or a busy server.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Asks a consumer for messages.
#[derive(Clone)]
pub(super) struct Puller {
    client: Client,
    consumer: Subject,
    inbox: String,
}

/// What a pull asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    pub(super) count: usize,
    /// How much they may have in all. The server says so when such a pull is done, which is a message more.
    pub(super) bytes: Option<usize>,
    /// How long the server keeps the pull; nothing means: only what is there already.
    pub(super) expires: Option<Duration>,
}

/// The same in the server's words; times are nanoseconds.
#[derive(Serialize)]
struct Request {
    batch: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
    no_wait: bool,
}

impl Puller {
    /// Prepares an inbox for a consumer's messages.
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

    /// Sends a pull, under a number of its own.
    pub(super) async fn pull(&self, number: u64, pull: Pull) -> Result<(), PublishError> {
        let request = Request {
            batch: pull.count,
            max_bytes: pull.bytes,
            expires: pull.expires.map(|expires| u64::try_from(expires.as_nanos()).unwrap_or(u64::MAX)),
            no_wait: pull.expires.is_none(),
        };
        let body = serde_json::to_vec(&request).unwrap_or_default();
        let reply = format!("{}.{number}", self.inbox);
        self.client.publish_with_reply(self.consumer.clone(), reply, body.into()).await
    }
}

/// What came into the inbox.
#[derive(Debug)]
pub(super) enum Arrived {
    /// A message of the stream.
    Message(Message),
    /// The pull of this number brings nothing more.
    Over(u64),
    /// The consumer cannot be pulled as it is.
    Broken(String),
}

/// Tells messages from what the server says about pulls.
pub(super) fn arrived(message: Message) -> Arrived {
    let Some(status) = message.status.filter(|status| *status != StatusCode::OK) else {
        return Arrived::Message(message);
    };
    let said = message.description.as_deref().unwrap_or_default();
    let number = message.subject.rsplit('.').next().and_then(|token| token.parse().ok());
    let full = ["MaxBytes", "Batch Completed", "MaxAckPending"].iter().any(|reason| said.contains(reason));
    match (status, number) {
        (StatusCode::NOT_FOUND | StatusCode::TIMEOUT, Some(number)) => Arrived::Over(number),
        (StatusCode::REQUEST_TERMINATED, Some(number)) if full => Arrived::Over(number),
        _ => Arrived::Broken(format!("{said} ({status})")),
    }
}

/// What was asked for and has not come.
#[derive(Debug, Default)]
pub(super) struct Pulls {
    open: VecDeque<Open>,
    last: u64,
}

#[derive(Debug)]
struct Open {
    number: u64,
    left: usize,
    until: Instant,
}

impl Pulls {
    /// A number for the next pull.
    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A pull was sent.
    pub(super) fn sent(&mut self, number: u64, count: usize, until: Instant) {
        self.open.push_back(Open { number, left: count, until: until + GRACE });
    }

    /// A message came. The server answers pulls in their order.
    pub(super) fn arrived(&mut self) {
        if let Some(first) = self.open.front_mut() {
            first.left = first.left.saturating_sub(1);
            if first.left == 0 {
                self.open.pop_front();
            }
        }
    }

    /// A pull brings nothing more.
    pub(super) fn over(&mut self, number: u64) {
        self.open.retain(|open| open.number != number);
    }

    /// Whether a pull may still bring something.
    pub(super) fn is_open(&self, number: u64) -> bool {
        self.open.iter().any(|open| open.number == number)
    }

    /// Whether the server has said of every pull that it is over, or has filled it.
    pub(super) fn all_over(&self) -> bool {
        self.open.is_empty()
    }

    /// How many messages are still to come.
    pub(super) fn outstanding(&mut self, now: Instant) -> usize {
        self.open.retain(|open| open.until > now);
        self.open.iter().map(|open| open.left).sum()
    }

    /// Nothing of what was asked for will come.
    pub(super) fn forget(&mut self) {
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_what_is_over_is_no_longer_outstanding() {
        let now = Instant::now();
        let mut pulls = Pulls::default();
        let (first, second) = (pulls.number(), pulls.number());
        pulls.sent(first, 3, now);
        pulls.sent(second, 2, now + Duration::from_secs(60));
        pulls.arrived();
        assert_eq!(pulls.outstanding(now), 4);
        pulls.over(first);
        assert_eq!(pulls.outstanding(now), 2);
        pulls.arrived();
        pulls.arrived();
        pulls.arrived();
        assert_eq!(pulls.outstanding(now), 0, "one too many does no harm");
        pulls.sent(7, 5, now);
        assert_eq!(pulls.outstanding(now + GRACE), 0, "a pull ends with its time");
    }

    fn said(status: u16, description: &str) -> Message {
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
    fn words_about_pulls_are_told_apart() {
        let over = [(404, "No Messages"), (408, "Request Timeout"), (409, "Message Size Exceeds MaxBytes")];
        for (status, description) in over {
            assert!(matches!(arrived(said(status, description)), Arrived::Over(7)), "{description}");
        }
        for (status, description) in [(503, ""), (409, "Consumer Deleted"), (409, "Leadership Change")] {
            assert!(matches!(arrived(said(status, description)), Arrived::Broken(_)), "{description}");
        }
    }
}
