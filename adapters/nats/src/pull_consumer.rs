//! A durable pull consumer of a work queue, and the messages that this process has pulled from it.
//!
//! A call of [`PullConsumer::pull`] requests the messages that are missing and takes those that have arrived. Messages
//! that arrive after the call are kept for the next one, and given back to the queue if there is none. Messages are
//! taken in the same step in which they are returned, so a cancelled call loses none.

mod config;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::jetstream::consumer::Config;
use async_nats::{Message, Subscriber};
use futures::{FutureExt, StreamExt};
use longshore_ports::Error;
use tokio::sync::{Notify, OnceCell};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tracing::debug;

use super::connection::Connection;
use super::failure::failed;
use super::pull::{GRACE, InboxMessage, OutstandingPulls, PullClient, PullRequest};
use super::receipt::DeliveryReply;

/// Longest time that the server keeps a pull request. A longer wait takes several requests. A request cannot be taken
/// back, so a process that ends waits for as long, to give back messages that still arrive.
const LONGEST_PULL: Duration = Duration::from_secs(1);

/// Time limit for the answer to a request that does not wait: a round trip, on a busy machine.
const NO_WAIT_LIMIT: Duration = Duration::from_millis(500);

/// Time that an arrived message is kept for the next call before it is given back. Far below
/// [`ACK_WAIT`](super::receipt::ACK_WAIT).
const KEEP_READY: Duration = Duration::from_secs(1);

/// Time that the server's last status message about a request may take after its end.
const LAST_STATUS_LIMIT: Duration = Duration::from_millis(200);

/// Pause before a failed consumer is tried again.
const FAILED_CONSUMER_PAUSE: Duration = Duration::from_millis(100);

/// Bytes that the server counts beside the largest message: its subject and the subject of its acknowledgement.
const AROUND_MESSAGE_BYTES: usize = 4 * 1024;

/// A durable pull consumer.
pub(super) struct PullConsumer {
    connection: Connection,
    stream: String,
    config: Config,
    /// Maximum number of bytes that are pulled, and returned, at once, unless one message alone has more.
    limit_bytes: usize,
    client: OnceCell<PullClient>,
    /// Held while the consumer is created or verified.
    ensuring: tokio::sync::Mutex<()>,
    state: Mutex<PullState>,
    /// Notified when a message arrived, or a request ended.
    changed: Notify,
}

#[derive(Default)]
struct PullState {
    /// True if the consumer exists with the needed configuration.
    is_ensured: bool,
    /// Arrived messages with the time of their arrival, oldest first.
    ready: VecDeque<(Message, Instant)>,
    /// Bytes of the ready messages.
    ready_bytes: usize,
    pulls: OutstandingPulls,
    /// Messages that all waiting calls together want.
    wanted: usize,
}

impl PullConsumer {
    pub(super) fn new(
        connection: &Connection,
        stream: &str,
        name: &str,
        filter: &str,
        limit_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            connection: connection.clone(),
            stream: stream.to_owned(),
            config: config::consumer(name, filter),
            limit_bytes,
            client: OnceCell::new(),
            ensuring: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Takes up to `max` messages and waits up to `wait` for the first. Without a wait, all available messages come
    /// together: many messages at once cost less than the same ones one after the other.
    pub(super) async fn pull(self: &Arc<Self>, max: usize, wait: Duration) -> Result<Vec<Message>, Error> {
        let _demand = PullDemand::add(self, max);
        let began = Instant::now();
        let deadline = began + if wait.is_zero() { NO_WAIT_LIMIT } else { wait };
        let mut requested = None;
        loop {
            // Registered before the check, so that a message that arrives in between is noticed.
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.has_enough(max, wait, requested) || Instant::now() >= deadline {
                return Ok(self.take(max));
            }
            let client = self.ensured_client().await?;
            if !wait.is_zero() {
                self.request_missing(client, deadline).await?;
            } else if requested.is_none() {
                requested = Some(self.request_available(client, max).await?);
            }
            // A request whose end the server does not report is repeated.
            let check_again = deadline.min(Instant::now() + LONGEST_PULL + GRACE);
            tokio::select! {
                () = changed => {}
                () = sleep_until(check_again) => {}
                denied = client.denied(began) => {
                    self.state().pulls.clear();
                    return Err(failed(format!("pull from stream {}", self.stream), denied));
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, PullState> {
        // No code that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a call should not wait any longer. `requested` is the number of its request without a wait.
    fn has_enough(&self, max: usize, wait: Duration, requested: Option<u64>) -> bool {
        let state = self.state();
        match (state.ready.len(), requested) {
            (ready, _) if ready >= max || state.ready_bytes >= self.limit_bytes => true,
            (ready, _) if !wait.is_zero() => ready > 0,
            (_, Some(number)) => !state.pulls.is_open(number),
            (_, None) => false,
        }
    }

    fn take(&self, max: usize) -> Vec<Message> {
        let mut state = self.state();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max && bytes < self.limit_bytes {
            let Some((message, _)) = state.ready.pop_front() else { break };
            bytes += message.length;
            taken.push(message);
        }
        state.ready_bytes = state.ready_bytes.saturating_sub(bytes);
        taken
    }

    /// Requests what all waiting calls lack, unless more than half of it is outstanding or ready.
    async fn request_missing(&self, client: &PullClient, deadline: Instant) -> Result<(), Error> {
        let now = Instant::now();
        let expires = deadline.saturating_duration_since(now).clamp(Duration::from_millis(1), LONGEST_PULL);
        let (number, count) = {
            let mut state = self.state();
            let coming = state.pulls.outstanding(now) + state.ready.len();
            // A request for every single message would cost as much as the message.
            if coming > state.wanted / 2 || state.ready_bytes >= self.limit_bytes {
                return Ok(());
            }
            let count = state.wanted - coming;
            let number = state.pulls.next_number();
            // Counted before it is sent, so that no other call requests the same.
            state.pulls.add(number, count, now + expires);
            (number, count)
        };
        let request = PullRequest { count, bytes: self.byte_limit(count), expires: Some(expires) };
        self.send(client, number, request).await
    }

    /// Requests what is available at once, and returns the number of the request.
    async fn request_available(&self, client: &PullClient, max: usize) -> Result<u64, Error> {
        let (number, count) = {
            let mut state = self.state();
            let number = state.pulls.next_number();
            // More than the call can take would wait here until a slot is free.
            let count = max.saturating_sub(state.ready.len()).max(1);
            state.pulls.add(number, count, Instant::now());
            (number, count)
        };
        let request = PullRequest { count, bytes: self.byte_limit(count), expires: None };
        self.send(client, number, request).await?;
        Ok(number)
    }

    /// Returns the limit in bytes of a request, if `count` messages could exceed it. It is never below the largest
    /// message, which the server would not deliver otherwise.
    fn byte_limit(&self, count: usize) -> Option<usize> {
        let largest = self.connection.client.max_payload() + AROUND_MESSAGE_BYTES;
        (count.saturating_mul(largest) > self.limit_bytes).then_some(self.limit_bytes.max(largest))
    }

    async fn send(&self, client: &PullClient, number: u64, request: PullRequest) -> Result<(), Error> {
        let sent = client.pull(number, request).await;
        sent.map_err(|error| failed(format!("pull from stream {}", self.stream), error))
    }

    /// Makes sure that the consumer exists and that its inbox is read.
    async fn ensured_client(self: &Arc<Self>) -> Result<&PullClient, Error> {
        if !self.state().is_ensured {
            let _ensuring = self.ensuring.lock().await;
            if !self.state().is_ensured {
                config::ensure(&self.connection.context, &self.stream, &self.config).await?;
                self.state().is_ensured = true;
            }
        }
        self.client.get_or_try_init(|| self.open()).await
    }

    async fn open(self: &Arc<Self>) -> Result<PullClient, Error> {
        let name = self.config.name.as_deref().unwrap_or_default();
        let opened = PullClient::open(&self.connection.client, &self.stream, name).await;
        let (client, inbox) =
            opened.map_err(|error| failed(format!("pull from stream {}", self.stream), error))?;
        self.connection.tasks.spawn(Arc::clone(self).read_inbox(inbox));
        Ok(client)
    }

    /// Receives messages until the connection is closed, and gives back those that no call took.
    async fn read_inbox(self: Arc<Self>, mut inbox: Subscriber) {
        let mut connected = self.connection.connected();
        let mut sweep = interval(KEEP_READY / 2);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.connection.stop.cancelled() => break,
                Some(message) = inbox.next() => self.receive(message, &mut inbox).await,
                Ok(()) = connected.changed() => self.state().pulls.clear(),
                _ = sweep.tick() => self.give_back_older_than(KEEP_READY).await,
                else => break,
            }
            self.changed.notify_waiters();
        }
        // Requested messages may still arrive. The queue would count them as delivered until their acknowledgement is
        // overdue.
        let _ = timeout(LONGEST_PULL + LAST_STATUS_LIMIT, self.give_back_outstanding(&mut inbox)).await;
        self.give_back_older_than(Duration::ZERO).await;
    }

    /// Gives every message back until the server has ended all requests.
    async fn give_back_outstanding(&self, inbox: &mut Subscriber) {
        self.give_back_older_than(Duration::ZERO).await;
        while !self.state().pulls.is_empty() {
            let Some(message) = inbox.next().await else { return };
            self.receive(message, inbox).await;
            self.give_back_older_than(Duration::ZERO).await;
        }
    }

    /// Records a message and those that have arrived behind it.
    async fn receive(&self, first: Message, inbox: &mut Subscriber) {
        let mut consumer_error = None;
        let mut next = Some(first);
        while let Some(message) = next {
            let mut state = self.state();
            match InboxMessage::from_nats(message) {
                InboxMessage::Message(message) => {
                    state.pulls.count_message();
                    state.ready_bytes += message.length;
                    state.ready.push_back((message, Instant::now()));
                }
                InboxMessage::PullEnded(number) => state.pulls.remove(number),
                InboxMessage::ConsumerError(reason) => consumer_error = Some(reason),
            }
            drop(state);
            next = inbox.next().now_or_never().flatten();
        }
        if let Some(reason) = consumer_error {
            debug!(consumer = ?self.config.name, reason, "cannot pull from the consumer; looking for it again");
            sleep(FAILED_CONSUMER_PAUSE).await;
            let mut state = self.state();
            state.pulls.clear();
            state.is_ensured = false;
        }
    }

    /// Gives messages back to the queue that no call took, so that other processes get them.
    async fn give_back_older_than(&self, age: Duration) {
        let now = Instant::now();
        let mut old = Vec::new();
        {
            let mut state = self.state();
            while state.ready.front().is_some_and(|(_, since)| now.duration_since(*since) >= age) {
                old.extend(state.ready.pop_front());
            }
            let removed_bytes = old.iter().map(|(message, _)| message.length).sum();
            state.ready_bytes = state.ready_bytes.saturating_sub(removed_bytes);
        }
        for (message, _) in old {
            DeliveryReply::to(&self.connection, &message).give_back(None).await.ok();
        }
    }
}

/// The messages that one call wants, counted until it ends or is cancelled.
struct PullDemand<'a> {
    consumer: &'a PullConsumer,
    count: usize,
}

impl<'a> PullDemand<'a> {
    fn add(consumer: &'a PullConsumer, count: usize) -> Self {
        consumer.state().wanted += count;
        Self { consumer, count }
    }
}

impl Drop for PullDemand<'_> {
    fn drop(&mut self) {
        self.consumer.state().wanted -= self.count;
    }
}
