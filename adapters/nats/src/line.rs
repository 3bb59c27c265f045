//! One line of a work queue: a durable consumer, and the messages this process has pulled from it.
//!
//! A pull asks the server for what it lacks and takes what has come; what comes when nobody waits any more is kept for
//! the next pull, and given back when there is none. Messages are taken in the same step in which they are returned,
//! so giving up on a pull loses none.

mod consumer;

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
use super::pull::{Arrived, GRACE, Pull, Puller, Pulls, arrived};
use super::receipt::Reply;

/// How long a pull is kept by the server; a longer wait takes several. It cannot be taken back, so a process that ends
/// waits for as long, to give back what still comes.
const LONGEST_PULL: Duration = Duration::from_secs(1);

/// How long to wait for the answer to a pull that is not to wait: a round trip, on a busy machine.
const NO_WAIT: Duration = Duration::from_millis(500);

/// How long a message is kept for a pull that may come, before it is given back. Far below
/// [`ACK_WAIT`](super::receipt::ACK_WAIT).
const HELD: Duration = Duration::from_secs(1);

/// How long the server's last word on a pull may take beyond its end.
const LAST_WORD: Duration = Duration::from_millis(200);

/// How long to wait before a consumer that could not be pulled is tried again.
const BROKEN_PAUSE: Duration = Duration::from_millis(100);

/// What the server counts beside the largest message that it takes: its subject, and where it is acknowledged.
const AROUND_MESSAGE_BYTES: usize = 4 * 1024;

/// A line.
pub(super) struct Line {
    connection: Connection,
    stream: String,
    needed: Config,
    /// How many bytes are pulled, and handed out, at once, unless one message alone has more.
    most_bytes: usize,
    puller: OnceCell<Puller>,
    /// Held while the consumer is looked for.
    ensuring: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Something came, or will not come.
    news: Notify,
}

#[derive(Default)]
struct State {
    ensured: bool,
    ready: VecDeque<(Message, Instant)>,
    /// What the ready messages have in all.
    ready_bytes: usize,
    pulls: Pulls,
    /// How many messages all waiting pulls want together.
    wanted: usize,
}

impl Line {
    pub(super) fn new(
        connection: &Connection,
        stream: &str,
        name: &str,
        filter: &str,
        most_bytes: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            connection: connection.clone(),
            stream: stream.to_owned(),
            needed: consumer::needed(name, filter),
            most_bytes,
            puller: OnceCell::new(),
            ensuring: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            news: Notify::new(),
        })
    }

    /// Takes up to `max` messages, waiting up to `wait` for the first. Without a wait, what is there comes together: many
    /// messages at once cost everybody less than the same ones one after the other.
    pub(super) async fn pull(self: &Arc<Self>, max: usize, wait: Duration) -> Result<Vec<Message>, Error> {
        let _wanted = Wanted::announce(self, max);
        let deadline = Instant::now() + if wait.is_zero() { NO_WAIT } else { wait };
        let mut asked = None;
        loop {
            // Registered before looking, so that nothing that comes in between is missed.
            let mut news = pin!(self.news.notified());
            news.as_mut().enable();
            if self.has_enough(max, wait, asked) || Instant::now() >= deadline {
                return Ok(self.take(max));
            }
            let puller = self.ready_to_pull().await?;
            if !wait.is_zero() {
                self.ask(puller, deadline).await?;
            } else if asked.is_none() {
                asked = Some(self.ask_at_once(puller, max).await?);
            }
            // A pull whose end nobody tells is sent again.
            let look_again = deadline.min(Instant::now() + LONGEST_PULL + GRACE);
            tokio::select! { () = news => {}, () = sleep_until(look_again) => {} }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is no point in waiting any longer.
    fn has_enough(&self, max: usize, wait: Duration, asked: Option<u64>) -> bool {
        let state = self.state();
        match (state.ready.len(), asked) {
            (ready, _) if ready >= max || state.ready_bytes >= self.most_bytes => true,
            (ready, _) if !wait.is_zero() => ready > 0,
            (_, Some(number)) => !state.pulls.is_open(number),
            (_, None) => false,
        }
    }

    fn take(&self, max: usize) -> Vec<Message> {
        let mut state = self.state();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < max && bytes < self.most_bytes {
            let Some((message, _)) = state.ready.pop_front() else { break };
            bytes += message.length;
            taken.push(message);
        }
        state.ready_bytes = state.ready_bytes.saturating_sub(bytes);
        taken
    }

    /// Asks for what all waiting pulls lack, unless more than half of it is on its way.
    async fn ask(&self, puller: &Puller, deadline: Instant) -> Result<(), Error> {
        let now = Instant::now();
        let expires = deadline.saturating_duration_since(now).clamp(Duration::from_millis(1), LONGEST_PULL);
        let (number, count) = {
            let mut state = self.state();
            let coming = state.pulls.outstanding(now) + state.ready.len();
            // That is enough to go on with: a question for every message would cost as much as the message.
            if coming > state.wanted / 2 || state.ready_bytes >= self.most_bytes {
                return Ok(());
            }
            let count = state.wanted - coming;
            let number = state.pulls.number();
            // Counted before it is sent, so that nobody else asks for the same.
            state.pulls.sent(number, count, now + expires);
            (number, count)
        };
        self.send(puller, number, Pull { count, bytes: self.bytes(count), expires: Some(expires) }).await
    }

    /// Asks for what is there; the answer comes at once.
    async fn ask_at_once(&self, puller: &Puller, most: usize) -> Result<u64, Error> {
        let (number, count) = {
            let mut state = self.state();
            let number = state.pulls.number();
            // What is there already need not come; more would lie here until somebody has a slot for it.
            let count = most.saturating_sub(state.ready.len()).max(1);
            state.pulls.sent(number, count, Instant::now());
            (number, count)
        };
        self.send(puller, number, Pull { count, bytes: self.bytes(count), expires: None }).await?;
        Ok(number)
    }

    /// The bound of a pull by bytes, where so many messages could have more. Never less than the largest message, which
    /// would not be delivered at all then.
    fn bytes(&self, count: usize) -> Option<usize> {
        let largest = self.connection.client.max_payload() + AROUND_MESSAGE_BYTES;
        (count.saturating_mul(largest) > self.most_bytes).then_some(self.most_bytes.max(largest))
    }

    async fn send(&self, puller: &Puller, number: u64, pull: Pull) -> Result<(), Error> {
        let sent = puller.pull(number, pull).await;
        sent.map_err(|error| failed(format!("pull from stream {}", self.stream), error))
    }

    /// Makes sure that there is a consumer, and somebody who takes in what it sends.
    async fn ready_to_pull(self: &Arc<Self>) -> Result<&Puller, Error> {
        if !self.state().ensured {
            let _ensuring = self.ensuring.lock().await;
            if !self.state().ensured {
                consumer::ensure(&self.connection.context, &self.stream, &self.needed).await?;
                self.state().ensured = true;
            }
        }
        self.puller.get_or_try_init(|| self.open()).await
    }

    async fn open(self: &Arc<Self>) -> Result<Puller, Error> {
        let name = self.needed.name.as_deref().unwrap_or_default();
        let opened = Puller::open(&self.connection.client, &self.stream, name).await;
        let (puller, inbox) =
            opened.map_err(|error| failed(format!("pull from stream {}", self.stream), error))?;
        self.connection.tasks.spawn(Arc::clone(self).take_in(inbox));
        Ok(puller)
    }

    /// Takes in what comes, until the connection is closed; then gives back what nobody took.
    async fn take_in(self: Arc<Self>, mut inbox: Subscriber) {
        let mut connected = self.connection.connected();
        let mut sweep = interval(HELD / 2);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.connection.stop.cancelled() => break,
                Some(message) = inbox.next() => self.sort_in(message, &mut inbox).await,
                Ok(()) = connected.changed() => self.state().pulls.forget(),
                _ = sweep.tick() => self.give_back_older_than(HELD).await,
                else => break,
            }
            self.news.notify_waiters();
        }
        // What was asked for may still come, and would be taken for delivered until their acknowledgement is overdue.
        let _ = timeout(LONGEST_PULL + LAST_WORD, self.give_back_the_rest(&mut inbox)).await;
        self.give_back_older_than(Duration::ZERO).await;
    }

    /// Gives everything back until the server has said of every pull that it is over.
    async fn give_back_the_rest(&self, inbox: &mut Subscriber) {
        self.give_back_older_than(Duration::ZERO).await;
        while !self.state().pulls.all_over() {
            let Some(message) = inbox.next().await else { return };
            self.sort_in(message, inbox).await;
            self.give_back_older_than(Duration::ZERO).await;
        }
    }

    async fn sort_in(&self, first: Message, inbox: &mut Subscriber) {
        let mut broken = None;
        let mut next = Some(first);
        while let Some(message) = next {
            let mut state = self.state();
            match arrived(message) {
                Arrived::Message(message) => {
                    state.pulls.arrived();
                    state.ready_bytes += message.length;
                    state.ready.push_back((message, Instant::now()));
                }
                Arrived::Over(number) => state.pulls.over(number),
                Arrived::Broken(reason) => broken = Some(reason),
            }
            drop(state);
            next = inbox.next().now_or_never().flatten();
        }
        if let Some(reason) = broken {
            debug!(consumer = ?self.needed.name, reason, "looking for the consumer again");
            sleep(BROKEN_PAUSE).await;
            let mut state = self.state();
            state.pulls.forget();
            state.ensured = false;
        }
    }

    /// Messages that nobody came for go to somebody else.
    async fn give_back_older_than(&self, age: Duration) {
        let now = Instant::now();
        let mut old = Vec::new();
        {
            let mut state = self.state();
            while state.ready.front().is_some_and(|(_, since)| now.duration_since(*since) >= age) {
                old.extend(state.ready.pop_front());
            }
            let gone = old.iter().map(|(message, _)| message.length).sum();
            state.ready_bytes = state.ready_bytes.saturating_sub(gone);
        }
        for (message, _) in old {
            Reply::to(&self.connection, &message).give_back(None).await.ok();
        }
    }
}

/// What a pull wants, until it ends in whichever way.
struct Wanted<'a> {
    line: &'a Line,
    count: usize,
}

impl<'a> Wanted<'a> {
    fn announce(line: &'a Line, count: usize) -> Self {
        line.state().wanted += count;
        Self { line, count }
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.line.state().wanted -= self.count;
    }
}
