//! Sends what calls bring, group by group, and hears the answers.
//!
//! ```text
//! calls ──gather──► Group ──numbered messages──► server
//!                     ▲                            │
//!         told ◄──────┴──── answers, one inbox ◄───┘
//! ```
//!
//! One task for each stream, so that nothing here is shared: the client library's own way has a channel, a timer and a
//! place in a table for every message, which costs more than the message.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
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

use super::answer::{self, Refusal};
use super::call::{PublishCall, TOGETHER};
use super::group::{FollowUp, Group};
use super::joined::joined;
use super::message::{Manner, Outgoing};
use crate::connection::{ANSWER_TIMEOUT, Connection};
use crate::publish_costs::{Costs, Way};

/// The most bytes that go together, unless one call alone has more.
const TOGETHER_BYTES: usize = 4 * 1024 * 1024;

/// How many groups are on their way at once. Two keep the server busy while an answer travels; the server allows 50
/// open batches for a stream, whoever publishes, and keeps 10,000 messages that it has not stored yet.
const GROUPS: usize = 2;

/// How long to wait before the state of the connection is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The headers of a message that may be stored only if its subject has none.
static ONCE: LazyLock<HeaderMap> = LazyLock::new(|| {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
    headers
});

/// A stream's side of the connection.
pub(super) struct Sender {
    client: Client,
    connected: watch::Receiver<u64>,
    waiting: mpsc::Receiver<PublishCall>,
    /// The first call that had no room in the last group.
    left: Option<PublishCall>,
    inbox: String,
    /// The number of the next message.
    next: u64,
    groups: VecDeque<Group>,
    /// Shared by everything that publishes over the connection.
    costs: Arc<Mutex<Costs>>,
}

impl Sender {
    pub(super) fn new(connection: &Connection, waiting: mpsc::Receiver<PublishCall>) -> Self {
        Self {
            client: connection.client.clone(),
            connected: connection.connected(),
            waiting,
            left: None,
            inbox: connection.client.new_inbox(),
            next: 0,
            groups: VecDeque::new(),
            costs: Arc::clone(&connection.costs),
        }
    }

    /// Serves calls until nobody can make any more.
    pub(super) async fn run(mut self) {
        let mut answers = match self.client.subscribe(format!("{}.*", self.inbox)).await {
            Ok(answers) => answers,
            // The client is gone, and whoever publishes is told.
            Err(error) => return debug!(%error, "answers to publishes cannot be heard"),
        };
        let mut open = true;
        while open || !self.groups.is_empty() {
            let wake = self.wake_at();
            // What is sent while there is no connection may arrive with the next one, long after its sender has given up.
            let may_send = self.groups.len() < GROUPS && self.is_connected();
            tokio::select! { biased;
                Ok(()) = self.connected.changed() => self.lose(),
                answer = answers.next() => match answer {
                    Some(answer) => self.hear(answer, &mut answers).await,
                    None => return, // the client is gone
                },
                call = next(&mut self.left, &mut self.waiting), if open && may_send => match call {
                    Some(call) => self.begin(call).await,
                    None => open = false,
                },
                () = until(wake) => self.look_after().await,
            }
        }
    }

    fn costs(&self) -> MutexGuard<'_, Costs> {
        // No code that holds the lock can panic half-way.
        self.costs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// When there is something to do though nothing is heard.
    fn wake_at(&self) -> Option<Instant> {
        let groups = self.groups.iter().map(Group::wake_at).min();
        let look = (!self.is_connected()).then(|| Instant::now() + LOOK_AGAIN);
        groups.into_iter().chain(look).min()
    }

    /// What was sent over a connection that is gone may or may not have been stored, and nobody will say.
    fn lose(&mut self) {
        for group in &mut self.groups {
            group.fail(&Refusal::Lost);
        }
        self.finish();
        // Another server may have other settings.
        *self.costs() = Costs::default();
    }

    /// Takes in an answer, and those that have come with it.
    async fn hear(&mut self, first: Message, answers: &mut Subscriber) {
        let mut heard = Some(first);
        while let Some(message) = heard {
            let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
            let group = number.and_then(|number: u64| {
                let index = self.groups.iter().position(|group| group.numbers().contains(&number))?;
                Some((number, index))
            });
            // Answers for what was given up are nobody's.
            if let Some((number, index)) = group
                && let Some(group) = self.groups.get_mut(index)
                && group.take(number, answer::read(&message)) == FollowUp::SendAll
            {
                self.send(index, None).await;
            }
            heard = answers.next().now_or_never().flatten();
        }
        self.finish();
    }

    /// Sends a first call, and those that wait behind it.
    async fn begin(&mut self, first: PublishCall) {
        let calls = self.gather(first);
        let mut messages = Vec::new();
        let mut replies = Vec::with_capacity(calls.len());
        // Whoever gave up will ask again, and then it should not be there twice.
        for call in calls.into_iter().filter(|call| !call.reply.is_closed()) {
            replies.push((call.messages.len(), call.reply));
            messages.extend(call.messages);
        }
        let messages = joined(messages, self.client.max_payload());
        let way = self.costs().way(messages.0.len());
        let group = Group::new(self.next, way, messages, replies);
        self.next = group.numbers().end;
        self.groups.push_back(group);
        self.send(self.groups.len() - 1, None).await;
        self.finish();
    }

    fn gather(&mut self, first: PublishCall) -> Vec<PublishCall> {
        let (mut count, mut bytes) = (first.messages.len(), first.bytes());
        let mut calls = vec![first];
        while let Ok(call) = self.waiting.try_recv() {
            count += call.messages.len();
            bytes += call.bytes();
            if count > TOGETHER || bytes > TOGETHER_BYTES {
                self.left = Some(call);
                break;
            }
            calls.push(call);
        }
        calls
    }

    /// Sends the messages of a group, or some of them once more.
    async fn send(&mut self, index: usize, some: Option<Vec<usize>>) {
        let Some(group) = self.groups.get_mut(index) else { return };
        let first = group.numbers().start;
        let batch = format!("{}-{first}", self.inbox);
        let count = group.messages.len();
        let mut unsent = Vec::new();
        for number in some.unwrap_or_else(|| (0..count).collect()) {
            let Some(message) = group.messages.get(number) else { continue };
            let reply = format!("{}.{}", self.inbox, first + number as u64);
            let sent = match group.way {
                Way::Singly => singly(&self.client, message, reply).await,
                Way::AsBatch => in_batch(&self.client, message, reply, &batch, (number + 1, count)).await,
            };
            if let Err(error) = sent {
                unsent.push((number, Refusal::unsent(&error)));
            }
        }
        match (group.way, unsent.pop()) {
            (_, None) => {}
            // The rest of a batch is nothing without this.
            (Way::AsBatch, Some((_, refusal))) => group.fail(&refusal),
            (Way::Singly, Some(last)) => {
                unsent.push(last);
                unsent.into_iter().for_each(|(number, refusal)| group.answer(number, Err(refusal)));
            }
        }
    }

    /// Sends again what it is time for, and gives up what has waited for too long.
    async fn look_after(&mut self) {
        for index in 0..self.groups.len() {
            let Some(group) = self.groups.get_mut(index) else { continue };
            if group.sent.elapsed() >= ANSWER_TIMEOUT {
                group.fail(&Refusal::Late);
                continue;
            }
            let due = group.due();
            if !due.is_empty() {
                self.send(index, Some(due)).await;
            }
        }
        self.finish();
    }

    /// Parts with groups of which everything is known.
    fn finish(&mut self) {
        let mut left = VecDeque::with_capacity(GROUPS);
        for group in std::mem::take(&mut self.groups) {
            if !group.is_answered() {
                left.push_back(group);
                continue;
            }
            if let Some(took) = group.took() {
                self.costs().learn(group.way, group.messages.len(), took);
            }
            group.tell();
        }
        self.groups = left;
    }
}

async fn next(
    left: &mut Option<PublishCall>,
    waiting: &mut mpsc::Receiver<PublishCall>,
) -> Option<PublishCall> {
    match left.take() {
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

async fn singly(client: &Client, message: &Outgoing, reply: String) -> Result<(), PublishError> {
    let Outgoing { subject, body, manner } = message;
    if *manner == Manner::Once {
        let headers = ONCE.clone();
        client.publish_with_reply_and_headers(subject.clone(), reply, headers, body.clone()).await
    } else {
        client.publish_with_reply(subject.clone(), reply, body.clone()).await
    }
}

/// Sends a message of a batch; the last one commits it and is the one that is answered.
async fn in_batch(
    client: &Client,
    message: &Outgoing,
    reply: String,
    batch: &str,
    (number, count): (usize, usize),
) -> Result<(), PublishError> {
    let Outgoing { subject, body, manner } = message;
    let mut headers = if *manner == Manner::Once { ONCE.clone() } else { HeaderMap::new() };
    headers.insert(NATS_BATCH_ID, batch);
    headers.insert(NATS_BATCH_SEQUENCE, number.to_string());
    if number < count {
        return client.publish_with_headers(subject.clone(), headers, body.clone()).await;
    }
    headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
    client.publish_with_reply_and_headers(subject.clone(), reply, headers, body.clone()).await
}
