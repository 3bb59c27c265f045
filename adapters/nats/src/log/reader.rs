//! A reader of the log of one partition.
//!
//! It pulls from a consumer of its own, which is in the server's memory and may vanish with the server, or with a
//! change of leaders. So the reader keeps the next sequence, checks that every entry has it, and creates another
//! consumer after any error. A log that was trimmed, was replaced, or lost its end is an error for the caller.
//!
//! A server whose disk was full can come back without single messages of a stream. The consumer passes over them. The
//! reader does so too if the stream itself says that it does not have them; otherwise the gap is an error.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::{Info, State};
use async_nats::jetstream::{self, Context};
use async_nats::{Message, PublishError, SubscribeError, Subscriber};
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use longshore_ports::retry::RetryPauses;
use longshore_ports::{Error, ErrorCause, LogEntry, LogReader};
use longshore_proto::{Incarnation, Partition, Seq, Timestamp, WriterRole, decode_events_of, subject};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::api::{ApiError, request};
use crate::connection::Connection;
use crate::failure::failed;
use crate::pull::{GRACE, InboxMessage, OutstandingPulls, PullClient, PullRequest};
use crate::streams::definitions::incarnation;
use crate::streams::{state_with_deleted, stream_info};

/// Entries that are requested in advance: some milliseconds of reading, so that the reader never waits for the network.
const READ_AHEAD: usize = 1_000;

/// Maximum number of bytes of one pull request, so that large entries do not fill the memory: a scheduler that leads
/// eight partitions has as many readers.
const PULL_BYTES: usize = 4 * 1024 * 1024;

/// Time that the server keeps a pull request. A consumer that sends nothing for longer than this and [`GRACE`] is
/// considered gone.
const PULL_EXPIRES: Duration = Duration::from_secs(5);

/// Time that the server keeps a consumer without pull requests.
const CONSUMER_IDLE: Duration = Duration::from_secs(60);

/// Pauses before another consumer is created. A stream has room for a thousand consumers, and each stays for
/// [`CONSUMER_IDLE`].
const REOPEN_PAUSES: RetryPauses =
    RetryPauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) };

/// A position in the log of a partition, and the consumer that delivers the entries from there.
pub(super) struct PartitionReader {
    connection: Connection,
    partition: Partition,
    next: Seq,
    incarnation: Incarnation,
    /// `None` after an error, until another consumer is created.
    consumer: Option<LogConsumer>,
    /// An entry that was delivered although entries before it were not.
    ahead: Option<LogEntry>,
    /// Number of consumers since the last entry that did not deliver the next one.
    failed_consumers: u32,
}

impl PartitionReader {
    pub(super) async fn open(connection: Connection, partition: Partition, from: Seq) -> Result<Self, Error> {
        let doing = format!("read the log of partition {partition} from {from}");
        let info = stream_info(&connection.context, &subject::log_stream(partition)).await;
        let info = info.map_err(|error| failed(doing.as_str(), error))?;
        check_extent(from, &info.state).map_err(|refusal| damaged(doing, refusal))?;
        let incarnation = incarnation(&info);
        Ok(Self {
            connection,
            partition,
            next: from,
            incarnation,
            consumer: None,
            ahead: None,
            failed_consumers: 0,
        })
    }

    /// Creates a consumer that begins at the next entry. Fails if the log does not have that entry any more.
    async fn create_consumer(&self) -> Result<LogConsumer, Error> {
        let doing = || self.doing();
        let stream = subject::log_stream(self.partition);
        let info =
            stream_info(&self.connection.context, &stream).await.map_err(|error| failed(doing(), error))?;
        self.require_incarnation(&info)?;
        check_extent(self.next, &info.state).map_err(|refusal| damaged(doing(), refusal))?;
        LogConsumer::open(&self.connection, stream, self.next).await.map_err(|error| failed(doing(), error))
    }

    fn doing(&self) -> String {
        format!("read the log of partition {} from {}", self.partition, self.next)
    }

    /// Fails if the log was replaced since the reader was opened.
    fn require_incarnation(&self, info: &Info) -> Result<(), Error> {
        let found = incarnation(info);
        if found == self.incarnation {
            return Ok(());
        }
        let refusal =
            format!("the log was replaced: its incarnation is {found}, and was {}", self.incarnation);
        Err(Error::permanent(self.doing(), refusal))
    }

    /// Returns the entry that was delivered too early, if the stream does not have those before it. Safe to cancel.
    async fn pass_over_lost(&mut self, found: Seq) -> Result<Vec<LogEntry>, Error> {
        let stream = subject::log_stream(self.partition);
        let info = state_with_deleted(&self.connection.context, &stream).await;
        let info = info.map_err(|error| failed(self.doing(), error))?;
        self.require_incarnation(&info)?;
        let next = self.next.0;
        let ahead = self.ahead.take();
        if !are_lost(next..found.0, &info.state) {
            self.consumer = None;
            let refusal = format!(
                "NATS delivers entry {found} as the next one, although stream {stream} has entry {next}: restart nats-server, \
                 and look at its log"
            );
            return Err(damaged(self.doing(), refusal));
        }
        self.next = found.next();
        Ok(ahead.into_iter().map(|entry| LogEntry { lost: found.0 - next, ..entry }).collect())
    }

    /// Decodes messages until one does not have the next sequence. A later one is kept in `ahead`.
    fn decode(&mut self, first: Message, max: usize) -> Vec<LogEntry> {
        let (mut entries, mut events) = (Vec::new(), 0);
        let mut message = Some(first);
        while let Some(found) = message.take() {
            match entry(&self.connection.context, found) {
                Some(entry) if entry.seq == self.next => {
                    self.next = entry.seq.next();
                    events += entry.events.len();
                    entries.push(entry);
                }
                Some(entry) if entry.seq > self.next => {
                    self.ahead = Some(entry);
                    break;
                }
                _ => {
                    self.consumer = None;
                    break;
                }
            }
            // An entry may hold many events, and the caller should not get many times more than it asked for.
            if events < max {
                message = self.consumer.as_mut().and_then(LogConsumer::try_next);
            }
        }
        entries
    }
}

#[async_trait]
impl LogReader for PartitionReader {
    async fn next(&mut self, max: usize) -> Result<Vec<LogEntry>, Error> {
        loop {
            if let Some(found) = self.ahead.as_ref().map(|entry| entry.seq) {
                return self.pass_over_lost(found).await;
            }
            // A message that left the consumer is returned in the same step, so a cancelled call loses none.
            let consumer = match self.consumer.take() {
                Some(consumer) => consumer,
                None => self.create_consumer().await?,
            };
            match self.consumer.insert(consumer).next().await {
                Ok(message) => {
                    let entries = self.decode(message, max.clamp(1, READ_AHEAD));
                    if !entries.is_empty() {
                        self.failed_consumers = 0;
                        return Ok(entries);
                    }
                }
                Err(reason) => {
                    debug!(partition = %self.partition, next = %self.next, reason, "creating another consumer of the log");
                    self.consumer = None;
                }
            }
            if self.consumer.is_none() {
                sleep(REOPEN_PAUSES.after(self.failed_consumers)).await;
                self.failed_consumers = self.failed_consumers.saturating_add(1);
            }
        }
    }
}

/// Returns an error about entries that the log should have.
fn damaged(doing: String, refusal: String) -> Error {
    Error::permanent(doing, refusal).with_cause(ErrorCause::Damaged)
}

/// Returns true if a stream says that it has none of these sequences, although it has later ones.
fn are_lost(sequences: Range<u64>, state: &State) -> bool {
    let deleted: BTreeSet<u64> = state.deleted.iter().flatten().copied().collect();
    sequences.end <= state.last_sequence && sequences.into_iter().all(|seq| deleted.contains(&seq))
}

/// Fails unless a log holds the entry `next`, or that is the one after its last.
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

/// Decodes an entry. Returns `None` if the message has no sequence.
fn entry(context: &Context, message: Message) -> Option<LogEntry> {
    let message = jetstream::Message { message, context: context.clone() };
    let info = message.info().ok()?;
    let seq = Seq(info.stream_sequence);
    let millis = u64::try_from(info.published.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let body = message.message.payload.to_vec();
    let events = decode_events_of(writer(&message.message), &body);
    Some(LogEntry { seq, lost: 0, at: Timestamp::from_millis(millis), events, body })
}

/// Returns the role of the process that appended an entry. `None` if it was not appended by a process of Longshore.
///
/// A user of JetStream can have an answer stored on any subject, by naming it as the reply subject, and so on the subject of another
/// role. An answer with a content of the user's choice (a message of another stream) has headers, and an append has none.
fn writer(message: &Message) -> Option<WriterRole> {
    let has_headers = message.headers.as_ref().is_some_and(|headers| !headers.is_empty());
    if has_headers || message.status.is_some() { None } else { subject::log_writer(&message.subject) }
}

/// An ephemeral consumer of a log.
struct LogConsumer {
    client: PullClient,
    inbox: Subscriber,
    pulls: OutstandingPulls,
    /// Time of the last message from the consumer, or of the last pull request.
    active_at: Instant,
    connected: watch::Receiver<u64>,
}

impl LogConsumer {
    async fn open(connection: &Connection, stream: String, next: Seq) -> Result<Self, LogConsumerError> {
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
        let body = json!({ "stream_name": stream, "config": config });
        let (client, inbox) = PullClient::open(&connection.client, &stream, &name).await?;
        let create = format!("CONSUMER.CREATE.{stream}.{name}");
        request::<consumer::Info>(&connection.context, create, &body).await?;
        Ok(Self { client, inbox, pulls: OutstandingPulls::default(), active_at: Instant::now(), connected })
    }

    /// Waits for the next message. Fails with a reason if the consumer will not deliver it.
    async fn next(&mut self) -> Result<Message, String> {
        loop {
            self.request_more().await.map_err(|error| error.to_string())?;
            let received = tokio::select! {
                received = timeout_at(self.active_at + PULL_EXPIRES + GRACE, self.inbox.next()) => received,
                _ = self.connected.changed() => return Err("the connection was lost and made again".to_owned()),
                denied = self.client.denied(self.active_at) => return Err(denied.to_string()),
            };
            self.active_at = Instant::now();
            match received.map_err(|_| "the consumer sends nothing")?.map(InboxMessage::from_nats) {
                Some(InboxMessage::Message(message)) => {
                    self.pulls.count_message();
                    return Ok(message);
                }
                Some(InboxMessage::PullEnded(number)) => self.pulls.remove(number),
                Some(InboxMessage::ConsumerError(reason)) => return Err(reason),
                None => return Err("the inbox was closed".to_owned()),
            }
        }
    }

    /// Returns a message that has arrived already.
    fn try_next(&mut self) -> Option<Message> {
        match self.inbox.next().now_or_never()?.map(InboxMessage::from_nats)? {
            InboxMessage::Message(message) => {
                self.pulls.count_message();
                Some(message)
            }
            InboxMessage::PullEnded(number) => {
                self.pulls.remove(number);
                None
            }
            // The next pull request gets the same error.
            InboxMessage::ConsumerError(_) => None,
        }
    }

    /// Requests more entries if less than half of [`READ_AHEAD`] is outstanding.
    async fn request_more(&mut self) -> Result<(), PublishError> {
        let now = Instant::now();
        let outstanding = self.pulls.outstanding(now);
        if outstanding > READ_AHEAD / 2 {
            return Ok(());
        }
        let (number, count) = (self.pulls.next_number(), READ_AHEAD - outstanding);
        let request = PullRequest { count, bytes: Some(PULL_BYTES), expires: Some(PULL_EXPIRES) };
        self.client.pull(number, request).await?;
        // A caller that was busy elsewhere has not read the inbox for a long time, which does not mean that the
        // consumer is gone.
        self.active_at = now;
        self.pulls.add(number, count, now + PULL_EXPIRES);
        Ok(())
    }
}

/// The reason why a consumer cannot be created.
#[derive(Debug, thiserror::Error)]
enum LogConsumerError {
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_that_was_trimmed_or_is_beyond_the_end_is_refused() {
        let mut state: State = serde_json::from_value(json!({
            "messages": 0, "bytes": 0, "first_seq": 5, "first_ts": "1970-01-01T00:00:00Z",
            "last_seq": 9, "last_ts": "1970-01-01T00:00:00Z", "consumer_count": 0
        }))
        .expect("a state");
        for (next, good) in [(4, false), (5, true), (9, true), (10, true), (11, false)] {
            assert_eq!(check_extent(Seq(next), &state).is_ok(), good, "{next}");
        }
        state.deleted = Some(vec![6, 7]);
        for (range, lost) in [(6..8, true), (6..7, true), (5..7, false), (7..9, false), (6..10, false)] {
            assert_eq!(are_lost(range.clone(), &state), lost, "{range:?}");
        }
        (state.first_sequence, state.last_sequence) = (0, 0);
        assert!(check_extent(Seq(1), &state).is_ok(), "an empty log");
    }
}
