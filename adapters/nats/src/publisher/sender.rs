//! Sends the messages of calls, group by group, and reads the acknowledgements.
//!
//! ```text
//! calls ──gather──► MessageGroup ──numbered messages──► server
//!                     ▲                                   │
//!       replies ◄─────┴──── acknowledgements, one inbox ◄─┘
//! ```
//!
//! Each stream has one task, which shares nothing. The client library's own publish has a channel, a timer and a table
//! entry for every message, which cost more than the message.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::LazyLock;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::header::{
    NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE,
};
use async_nats::{Client, HeaderMap, Message, PublishError, Subscriber};
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::ack::{self, PublishFailure};
use super::call::{GROUP_MESSAGES, PublishCall};
use super::group::{FollowUp, MessageGroup, PendingReply};
use super::merge::merge;
use super::message::{OutgoingMessage, StoreMode};
use crate::batch::{BatchChoice, PublishMode};
use crate::connection::{ANSWER_TIMEOUT, Connection};
use crate::denials;

/// Maximum number of bytes of a group, unless one call alone has more.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// Groups in flight. Two keep the server busy while an acknowledgement travels. The server allows 50 open batches of a
/// stream, for all publishers, and buffers 10,000 messages that it has not stored yet.
const GROUPS_IN_FLIGHT: usize = 2;

/// Pause before the state of a lost connection is checked again.
const CONNECTION_CHECK: Duration = Duration::from_millis(100);

/// Headers of a message that is stored only if its subject has none.
static IF_ABSENT: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    headers
});

/// The task that publishes to one stream.
pub(super) struct StreamSender {
    client: Client,
    connected: watch::Receiver<u64>,
    /// Changes when the server denies a message.
    denials: watch::Receiver<BTreeMap<String, Instant>>,
    waiting: mpsc::Receiver<PublishCall>,
    /// The first call that had no room in the last group.
    postponed: Option<PublishCall>,
    inbox: String,
    next_number: u64,
    groups: VecDeque<MessageGroup>,
    choice: BatchChoice,
    /// True if the last group was to be measured. The next one waits until it is alone, so that its time is its own.
    is_measuring: bool,
}

impl StreamSender {
    pub(super) fn new(
        connection: &Connection,
        waiting: mpsc::Receiver<PublishCall>,
        choice: BatchChoice,
    ) -> Self {
        Self {
            client: connection.client.clone(),
            connected: connection.connected(),
            denials: denials::subscribe(),
            waiting,
            postponed: None,
            inbox: connection.client.new_inbox(),
            next_number: 0,
            groups: VecDeque::new(),
            choice,
            is_measuring: false,
        }
    }

    /// Serves calls until every caller is gone.
    pub(super) async fn run(mut self) {
        let mut acks = match self.client.subscribe(format!("{}.*", self.inbox)).await {
            Ok(acks) => acks,
            // The client is closed, and so the callers get an error.
            Err(error) => return debug!(%error, "cannot subscribe to acknowledgements of publishes"),
        };
        let mut has_callers = true;
        while has_callers || !self.groups.is_empty() {
            let wake = self.wake_at();
            // Messages that are sent without a connection may arrive over the next one, long after their caller gave
            // up.
            let may_send = self.has_room() && self.is_connected();
            tokio::select! { biased;
                Ok(()) = self.connected.changed() => self.fail_all(),
                Ok(()) = self.denials.changed() => self.fail_denied(),
                ack = acks.next() => match ack {
                    Some(ack) => self.record_acks(ack, &mut acks).await,
                    None => return, // the client is closed
                },
                call = next(&mut self.postponed, &mut self.waiting), if has_callers && may_send => match call {
                    Some(call) => self.send_group(call).await,
                    None => has_callers = false,
                },
                () = until(wake) => self.send_due().await,
            }
        }
    }

    fn has_room(&self) -> bool {
        let limit = if self.is_measuring { 1 } else { GROUPS_IN_FLIGHT };
        self.groups.len() < limit
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Returns the time of the next step that no acknowledgement causes.
    fn wake_at(&self) -> Option<Instant> {
        let groups = self.groups.iter().map(MessageGroup::wake_at).min();
        let check = (!self.is_connected()).then(|| Instant::now() + CONNECTION_CHECK);
        groups.into_iter().chain(check).min()
    }

    /// Fails the groups in flight after a reconnect, because their acknowledgements are lost.
    fn fail_all(&mut self) {
        for group in &mut self.groups {
            group.fail(&PublishFailure::ConnectionLost);
        }
        self.finish_groups();
        self.choice.reset();
    }

    /// Fails the messages in flight that the server denied.
    fn fail_denied(&mut self) {
        self.groups.iter_mut().for_each(MessageGroup::fail_denied);
        self.finish_groups();
    }

    /// Records an acknowledgement and those that have arrived behind it.
    async fn record_acks(&mut self, first: Message, acks: &mut Subscriber) {
        let mut next_ack = Some(first);
        while let Some(message) = next_ack {
            let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
            let group = number.and_then(|number: u64| {
                let index = self.groups.iter().position(|group| group.numbers().contains(&number))?;
                Some((number, index))
            });
            // The group may be gone: its messages were given up.
            if let Some((number, index)) = group
                && let Some(group) = self.groups.get_mut(index)
                && group.record_ack(number, ack::read(&message)) == FollowUp::SendAll
            {
                self.send(index, None).await;
            }
            next_ack = acks.next().now_or_never().flatten();
        }
        self.finish_groups();
    }

    /// Sends a call, together with those that wait behind it.
    async fn send_group(&mut self, first: PublishCall) {
        let calls = self.gather(first);
        let mut messages = Vec::new();
        let mut replies = Vec::with_capacity(calls.len());
        // A caller that stopped waiting will ask again, and then its messages should not be stored twice.
        for call in calls.into_iter().filter(|call| !call.reply.is_closed()) {
            replies.push(PendingReply { count: call.messages.len(), reply: call.reply });
            messages.extend(call.messages);
        }
        let merged = merge(messages, self.client.max_payload());
        let count = merged.messages.len();
        self.is_measuring = self.choice.needs_sample(count);
        let is_sample = self.is_measuring && self.groups.is_empty();
        let mode = if is_sample { self.choice.sample_mode() } else { self.choice.mode(count) };
        let mut group = MessageGroup::new(self.next_number, mode, merged, replies);
        group.is_sample = is_sample;
        self.next_number = group.numbers().end;
        self.groups.push_back(group);
        self.send(self.groups.len() - 1, None).await;
        self.finish_groups();
    }

    /// Returns the calls of the next group: `first`, and the waiting calls that fit. The first one that does not fit is postponed.
    fn gather(&mut self, first: PublishCall) -> Vec<PublishCall> {
        let (mut count, mut bytes) = (first.messages.len(), first.bytes());
        let mut calls = vec![first];
        while let Ok(call) = self.waiting.try_recv() {
            count += call.messages.len();
            bytes += call.bytes();
            if count > GROUP_MESSAGES || bytes > GROUP_BYTES {
                self.postponed = Some(call);
                break;
            }
            calls.push(call);
        }
        calls
    }

    /// Sends the messages of a group, or those at `indexes` once more.
    async fn send(&mut self, group_index: usize, indexes: Option<Vec<usize>>) {
        let Some(group) = self.groups.get_mut(group_index) else { return };
        let first = group.numbers().start;
        let count = group.messages.len();
        let batch_id = format!("{}-{first}", self.inbox);
        let mut not_sent = Vec::new();
        for index in indexes.unwrap_or_else(|| (0..count).collect()) {
            let Some(message) = group.messages.get(index) else { continue };
            let reply = format!("{}.{}", self.inbox, first + index as u64);
            let sent = match group.mode {
                PublishMode::Pipelined => send_single(&self.client, message, reply).await,
                PublishMode::AtomicBatch => {
                    let part = BatchPart { id: &batch_id, number: index + 1, is_last: index + 1 == count };
                    send_in_batch(&self.client, message, reply, part).await
                }
            };
            if let Err(error) = sent {
                not_sent.push((index, PublishFailure::not_sent(&error)));
            }
        }
        match (group.mode, not_sent.pop()) {
            (_, None) => {}
            // A batch without one of its messages is never committed.
            (PublishMode::AtomicBatch, Some((_, failure))) => group.fail(&failure),
            (PublishMode::Pipelined, Some(last)) => {
                not_sent.push(last);
                not_sent.into_iter().for_each(|(index, failure)| group.record(index, Err(failure)));
            }
        }
    }

    /// Sends messages again that are due, and fails groups whose acknowledgements are overdue.
    async fn send_due(&mut self) {
        for index in 0..self.groups.len() {
            let Some(group) = self.groups.get_mut(index) else { continue };
            if group.sent_at.elapsed() >= ANSWER_TIMEOUT {
                group.fail(&PublishFailure::TimedOut);
                continue;
            }
            let due = group.take_due();
            if !due.is_empty() {
                self.send(index, Some(due)).await;
            }
        }
        self.finish_groups();
    }

    /// Removes the groups whose messages all have an outcome, and replies to their callers.
    fn finish_groups(&mut self) {
        let mut unfinished = VecDeque::with_capacity(GROUPS_IN_FLIGHT);
        for group in std::mem::take(&mut self.groups) {
            if !group.is_answered() {
                unfinished.push_back(group);
                continue;
            }
            if group.is_sample {
                self.choice.record(group.mode, group.messages.len(), group.store_time());
            }
            group.reply();
        }
        self.groups = unfinished;
    }
}

async fn next(
    postponed: &mut Option<PublishCall>,
    waiting: &mut mpsc::Receiver<PublishCall>,
) -> Option<PublishCall> {
    match postponed.take() {
        Some(call) => Some(call),
        None => waiting.recv().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => sleep_until(wake).await,
        None => pending().await,
    }
}

async fn send_single(client: &Client, message: &OutgoingMessage, reply: String) -> Result<(), PublishError> {
    let OutgoingMessage { subject, body, store } = message;
    if *store == StoreMode::IfAbsent {
        let headers = IF_ABSENT.clone();
        client.publish_with_reply_and_headers(subject.clone(), reply, headers, body.clone()).await
    } else {
        client.publish_with_reply(subject.clone(), reply, body.clone()).await
    }
}

/// The position of a message in an atomic batch.
struct BatchPart<'a> {
    id: &'a str,
    /// Starting at one.
    number: usize,
    is_last: bool,
}

/// Sends a message of a batch. The last one commits the batch, and is acknowledged for all.
async fn send_in_batch(
    client: &Client,
    message: &OutgoingMessage,
    reply: String,
    part: BatchPart<'_>,
) -> Result<(), PublishError> {
    let OutgoingMessage { subject, body, store } = message;
    let mut headers = if *store == StoreMode::IfAbsent { IF_ABSENT.clone() } else { HeaderMap::new() };
    headers.insert(NATS_BATCH_ID, part.id);
    headers.insert(NATS_BATCH_SEQUENCE, part.number.to_string());
    if !part.is_last {
        return client.publish_with_headers(subject.clone(), headers, body.clone()).await;
    }
    headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
    client.publish_with_reply_and_headers(subject.clone(), reply, headers, body.clone()).await
}
