//! A reader of one partition's log.
//!
//! It pulls from a consumer of its own, which lives in the server's memory and may vanish with the server, or with a
//! change of leaders. So the reader keeps what matters, the next sequence, checks that every entry is the next one, and
//! makes another consumer whenever anything is not as it should be. What cannot be mended that way is said: a log that
//! was trimmed, replaced, or that lost its end.

use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::State;
use async_nats::jetstream::{self, Context};
use async_nats::{Message, PublishError, SubscribeError, Subscriber};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use longshore_ports::{Error, LogEntry, LogReader};
use longshore_proto::{Incarnation, Partition, Seq, Timestamp, decode_all, subject};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use super::incarnation;
use crate::api::{ApiError, ask};
use crate::connection::Connection;
use crate::failure::failed;
use crate::pull::{Arrived, GRACE, Pull, Puller, Pulls, arrived};
use crate::streams::look;

/// How many entries are asked for in advance: some milliseconds of reading, so that it never waits for the network.
const AHEAD: usize = 1_000;

/// How much one pull may bring, so that large entries do not fill the memory: a scheduler that leads eight partitions has
/// as many readers.
const PULL_BYTES: usize = 4 * 1024 * 1024;

/// How long a pull waits at the server. When nothing is heard for that long and a bit, the consumer is taken for dead.
const PULL_EXPIRES: Duration = Duration::from_secs(5);

/// How long the server keeps a consumer that nobody pulls from.
const CONSUMER_IDLE: Duration = Duration::from_secs(60);

/// How long to wait before another consumer is made.
const REOPEN_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct Reader {
    connection: Connection,
    partition: Partition,
    next: Seq,
    incarnation: Incarnation,
    /// Nothing while it has to be made anew.
    feed: Option<Feed>,
}

impl Reader {
    pub(super) async fn open(connection: Connection, partition: Partition, from: Seq) -> Result<Self, Error> {
        let doing = format!("read the log of partition {partition} from {from}");
        let info = look(&connection.context, &subject::log_stream(partition)).await;
        let info = info.map_err(|error| failed(doing.as_str(), error))?;
        check_extent(from, &info.state).map_err(|refusal| Error::permanent(doing, refusal))?;
        Ok(Self { connection, partition, next: from, incarnation: incarnation(&info), feed: None })
    }

    /// Makes a consumer that begins at the next entry, if that one is still to be had.
    async fn begin(&self) -> Result<Feed, Error> {
        let doing = || format!("read the log of partition {} from {}", self.partition, self.next);
        let stream = subject::log_stream(self.partition);
        let info = look(&self.connection.context, &stream).await.map_err(|error| failed(doing(), error))?;
        let found = incarnation(&info);
        if found != self.incarnation {
            let refusal = format!("the log was replaced: it is {found} now, and was {}", self.incarnation);
            return Err(Error::permanent(doing(), refusal));
        }
        check_extent(self.next, &info.state).map_err(|refusal| Error::permanent(doing(), refusal))?;
        Feed::open(&self.connection, stream, self.next).await.map_err(|error| failed(doing(), error))
    }

    /// Turns messages into entries until one is not the next; whatever is wrong then shows with another consumer.
    fn take(&mut self, first: Message, max: usize) -> Vec<LogEntry> {
        let (mut entries, mut events) = (Vec::new(), 0);
        let mut message = Some(first);
        while let Some(found) = message.take() {
            match entry(&self.connection.context, found) {
                Some(entry) if entry.seq == self.next => {
                    self.next = entry.seq.next();
                    events += entry.events.len();
                    entries.push(entry);
                }
                _ => {
                    self.feed = None;
                    break;
                }
            }
            // Whoever asks for so many is not given many times more to do at once.
            if events < max {
                message = self.feed.as_mut().and_then(Feed::ready);
            }
        }
        entries
    }
}

#[async_trait]
impl LogReader for Reader {
    async fn next(&mut self, max: usize) -> Result<Vec<LogEntry>, Error> {
        loop {
            // A message that was taken out of the feed is handed on in the same step, so giving up here loses none.
            let feed = match self.feed.take() {
                Some(feed) => feed,
                None => self.begin().await?,
            };
            match self.feed.insert(feed).message().await {
                Ok(message) => {
                    let entries = self.take(message, max.clamp(1, AHEAD));
                    if !entries.is_empty() {
                        return Ok(entries);
                    }
                }
                Err(reason) => {
                    debug!(partition = %self.partition, next = %self.next, reason, "reading the log anew");
                    self.feed = None;
                }
            }
            if self.feed.is_none() {
                sleep(REOPEN_PAUSE).await;
            }
        }
    }
}

/// Whether a log holds, or will hold next, an entry.
fn check_extent(next: Seq, state: &State) -> Result<(), String> {
    let (first, last) = (state.first_sequence, state.last_sequence);
    if next.0 < first {
        return Err(format!("it was trimmed and begins at {first}: start from a snapshot"));
    }
    if next.0 > last.saturating_add(1) {
        return Err(format!(
            "it ends at {last}: it lost its end, or is another log than the one that was read"
        ));
    }
    Ok(())
}

/// An entry as it was stored; nothing if the message does not say where it stands.
fn entry(context: &Context, message: Message) -> Option<LogEntry> {
    let message = jetstream::Message { message, context: context.clone() };
    let info = message.info().ok()?;
    let seq = Seq(info.stream_sequence);
    let millis = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let body = message.message.payload.to_vec();
    Some(LogEntry { seq, at: Timestamp::from_millis(millis), events: decode_all(&body), body })
}

/// Messages on their way from a consumer.
struct Feed {
    puller: Puller,
    inbox: Subscriber,
    pulls: Pulls,
    heard: Instant,
    connected: watch::Receiver<u64>,
}

impl Feed {
    async fn open(connection: &Connection, stream: String, next: Seq) -> Result<Self, FeedError> {
        let connected = connection.connected();
        let name = format!("read-{:032x}", rand::random::<u128>());
        let config = consumer::Config {
            name: Some(name.clone()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: next.0 },
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_IDLE,
            memory_storage: true,
            num_replicas: 1,
            ..consumer::Config::default()
        };
        let request = json!({ "stream_name": stream, "config": config });
        let (puller, inbox) = Puller::open(&connection.client, &stream, &name).await?;
        let create = format!("CONSUMER.CREATE.{stream}.{name}");
        ask::<consumer::Info>(&connection.context, create, &request).await?;
        Ok(Self { puller, inbox, pulls: Pulls::default(), heard: Instant::now(), connected })
    }

    /// The next message, or why there will be none.
    async fn message(&mut self) -> Result<Message, String> {
        loop {
            self.pull().await.map_err(|error| error.to_string())?;
            let word = tokio::select! {
                word = timeout_at(self.heard + PULL_EXPIRES + GRACE, self.inbox.next()) => word,
                _ = self.connected.changed() => return Err("the connection was made again".to_owned()),
            };
            self.heard = Instant::now();
            match word.map_err(|_| "nothing was heard of the consumer")?.map(arrived) {
                Some(Arrived::Message(message)) => {
                    self.pulls.arrived();
                    return Ok(message);
                }
                Some(Arrived::Over(number)) => self.pulls.over(number),
                Some(Arrived::Broken(reason)) => return Err(reason),
                None => return Err("the inbox was closed".to_owned()),
            }
        }
    }

    /// A message that is there already.
    fn ready(&mut self) -> Option<Message> {
        match self.inbox.next().now_or_never()?.map(arrived)? {
            Arrived::Message(message) => {
                self.pulls.arrived();
                Some(message)
            }
            Arrived::Over(number) => {
                self.pulls.over(number);
                None
            }
            // The next pull hears of it.
            Arrived::Broken(_) => None,
        }
    }

    /// Asks for more while there is less than half of [`AHEAD`] to come.
    async fn pull(&mut self) -> Result<(), PublishError> {
        let now = Instant::now();
        let outstanding = self.pulls.outstanding(now);
        if outstanding > AHEAD / 2 {
            return Ok(());
        }
        let (number, count) = (self.pulls.number(), AHEAD - outstanding);
        self.puller
            .pull(number, Pull { count, bytes: Some(PULL_BYTES), expires: Some(PULL_EXPIRES) })
            .await?;
        // Whoever was busy elsewhere has heard nothing for a long time, and that means nothing.
        self.heard = now;
        self.pulls.sent(number, count, now + PULL_EXPIRES);
        Ok(())
    }
}

/// Why there is no consumer.
#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_log_any_more_or_not_yet_next_is_refused() {
        let mut state: State = serde_json::from_value(json!({
            "messages": 0, "bytes": 0, "first_seq": 5, "first_ts": "1970-01-01T00:00:00Z",
            "last_seq": 9, "last_ts": "1970-01-01T00:00:00Z", "consumer_count": 0
        }))
        .expect("a state");
        for (next, good) in [(4, false), (5, true), (9, true), (10, true), (11, false)] {
            assert_eq!(check_extent(Seq(next), &state).is_ok(), good, "{next}");
        }
        (state.first_sequence, state.last_sequence) = (0, 0);
        assert!(check_extent(Seq(1), &state).is_ok(), "an empty log");
    }
}
