//! Looks at everything a cluster stands on, for `longshore doctor`. It changes nothing and creates nothing.
//!
//! What the findings mean is for `judge` to say; here they are only brought together.

use std::time::Duration;

use async_nats::{Client, Message};
use futures::StreamExt;
use longshore_backend::nats;
use longshore_backend::redis::{self, Redis};
use longshore_backend::{WorkerEntry, clock};
use longshore_proto::{Timestamp, subject};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::timeout;

use super::judge;
use super::reach;
use crate::config::{Config, Key, Origin};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::Finding;

/// How long a doctor waits where nobody said how long to wait: somebody sits in front of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long schedulers have to say that they are there. They all answer at once.
const ROLL_CALL: Duration = Duration::from_millis(500);

/// More schedulers than this are not listed.
const LISTED: usize = 100;

/// How long one question may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A cluster as a doctor sees it.
pub(crate) struct Examination {
    /// What was found, and what it means.
    pub(crate) findings: Vec<Finding>,
    /// The streams, in the order of their names.
    pub(crate) streams: Vec<StreamSeen>,
    /// The schedulers that answer.
    pub(crate) schedulers: Vec<SchedulerSeen>,
    /// The workers that present themselves.
    pub(crate) workers: Vec<WorkerEntry>,
    /// What all of it comes to.
    pub(crate) exit: Exit,
}

/// A stream, or a consumer of one.
#[derive(Debug, Serialize)]
pub(crate) struct StreamSeen {
    /// Its name.
    pub(crate) name: String,
    /// How many messages it holds.
    pub(crate) messages: u64,
    /// How many bytes they take.
    pub(crate) bytes: u64,
    /// Its settings in one line.
    pub(crate) settings: String,
    /// Its consumers.
    pub(crate) consumers: Vec<ConsumerSeen>,
}

/// A consumer of a stream.
#[derive(Debug, Serialize)]
pub(crate) struct ConsumerSeen {
    /// Its name.
    pub(crate) name: String,
    /// How many messages wait.
    pub(crate) pending: u64,
    /// How many are out.
    pub(crate) ack_pending: usize,
    /// How many pulls wait.
    pub(crate) waiting: usize,
}

/// What was found in NATS.
pub(super) struct NatsSeen {
    pub(super) status: nats::Status,
    /// How far its clock is ahead of ours, in milliseconds; nothing if it did not say.
    pub(super) clock_ahead: Option<i64>,
    /// The schedulers that answer requests.
    pub(super) schedulers: Vec<SchedulerSeen>,
}

/// A scheduler, by its answer.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub(crate) struct SchedulerSeen {
    /// Its id as a service.
    pub(crate) id: String,
    /// The version of its code.
    pub(crate) version: String,
}

/// What was found in Redis.
pub(super) struct RedisSeen {
    pub(super) status: redis::Status,
    /// How far its clock is ahead of ours, in milliseconds.
    pub(super) clock_ahead: i64,
    pub(super) workers: Vec<WorkerEntry>,
}

/// Looks at everything, at the same time.
pub(crate) async fn examine(config: &Config) -> Examination {
    let (nats, redis) = tokio::join!(nats(config), redis(config));
    let mut findings = match &nats {
        Ok(seen) => judge::nats(seen, config.partitions),
        Err(failure) => vec![judge::away("NATS", failure)],
    };
    findings.extend(match &redis {
        Ok(seen) => judge::redis(seen, config.partitions),
        Err(failure) => vec![judge::away("Redis", failure)],
    });
    let exit = judge::exit([nats.as_ref().err(), redis.as_ref().err()], &findings);
    let (streams, schedulers) = nats.map(|seen| (seen.status.streams, seen.schedulers)).unwrap_or_default();
    Examination {
        findings,
        streams: streams.into_iter().map(stream).collect(),
        schedulers,
        workers: redis.map(|seen| seen.workers).unwrap_or_default(),
        exit,
    }
}

fn stream(status: nats::StreamStatus) -> StreamSeen {
    let nats::StreamStatus { name, messages, bytes, settings, consumers, .. } = status;
    let consumer = |consumer: nats::ConsumerStatus| ConsumerSeen {
        name: consumer.name,
        pending: consumer.pending,
        ack_pending: consumer.ack_pending,
        waiting: consumer.waiting,
    };
    StreamSeen { name, messages, bytes, settings, consumers: consumers.into_iter().map(consumer).collect() }
}

/// NATS as it is.
async fn nats(config: &Config) -> Result<NatsSeen, Failure> {
    let nats = reach::client(config, "longshore-doctor", deadline(config)).await?;
    let status = nats.status().await?;
    let client = nats.client();
    let schedulers = schedulers(&client).await;
    let clock_ahead = nats_clock(&client).await;
    nats.close().await;
    Ok(NatsSeen { status, clock_ahead, schedulers })
}

/// Redis as it is.
async fn redis(config: &Config) -> Result<RedisSeen, Failure> {
    let redis: Redis = reach::redis(config, deadline(config)).await?;
    let workers = redis.catalog().workers().await?;
    let before = clock::now();
    let status = redis.status().await?;
    let clock_ahead = ahead(status.clock, before, clock::now());
    Ok(RedisSeen { status, clock_ahead, workers })
}

fn deadline(config: &Config) -> Duration {
    match config.origin(Key::ConnectDeadline) {
        Origin::Default => PATIENCE,
        _ => config.connect_deadline,
    }
}

/// The schedulers that answer a ping to the service (ADR-32).
async fn schedulers(client: &Client) -> Vec<SchedulerSeen> {
    let inbox = client.new_inbox();
    let Ok(answers) = client.subscribe(inbox.clone()).await else { return Vec::new() };
    if client.publish_with_reply("$SRV.PING.longshore", inbox, "".into()).await.is_err() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut answers = answers.take(LISTED);
    let collecting = async {
        while let Some(Message { payload, .. }) = answers.next().await {
            found.extend(serde_json::from_slice::<SchedulerSeen>(&payload));
        }
    };
    // It ends with its time: nobody knows how many there are.
    let _ = timeout(ROLL_CALL, collecting).await;
    found.sort();
    found
}

/// How far the clock of the server is ahead of ours, by the moment it writes into an answer.
async fn nats_clock(client: &Client) -> Option<i64> {
    #[derive(Deserialize)]
    struct Answer {
        ts: String,
    }
    let before = clock::now();
    let question = format!("$JS.API.STREAM.INFO.{}", subject::JOBS_STREAM);
    let answer = timeout(ANSWER_LIMIT, client.request(question, "".into())).await.ok()?.ok()?;
    let after = clock::now();
    let Answer { ts } = serde_json::from_slice(&answer.payload).ok()?;
    let moment = OffsetDateTime::parse(&ts, &Rfc3339).ok()?;
    let millis = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(ahead(Timestamp::from_millis(millis), before, after))
}

/// How far a clock is ahead that was read between two moments of ours.
fn ahead(clock: Timestamp, before: Timestamp, after: Timestamp) -> i64 {
    let middle = before.plus(after.since(before) / 2);
    let millis = |moment: Timestamp| i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    millis(clock).saturating_sub(millis(middle))
}
