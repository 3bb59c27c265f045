//! Reads the state of everything that a cluster needs, for `longshore doctor`. It changes nothing, except for one key in
//! Redis that expires.
//!
//! The states are collected here, and judged in `judge`.

use std::time::Duration;

use async_nats::Client;
use longshore_nats as nats;
use longshore_nats::{Backlog, NatsClient};
use longshore_ports::{Error, WorkerEntry, clock};
use longshore_proto::{Timestamp, subject};
use longshore_redis::{Probe, Redis};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{sleep, timeout};

use super::connect;
use super::judge;
use super::partitions::{self, PartitionSnapshot};
use super::redis_data::RedisIdentity;
use super::snapshot::{
    BacklogSnapshot, ConsumerSnapshot, NatsSnapshot, RedisSnapshot, SchedulerSnapshot, StreamSnapshot,
};
use super::{statistics, worker_entries};
use crate::config::{Config, SettingKey, SettingOrigin};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding::Finding;

/// Deadline of connections, unless the configuration sets one. It is short, because an operator waits for the result.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Time that schedulers get to answer a request for statistics. They all answer at once.
const STATISTICS_TIMEOUT: Duration = Duration::from_millis(500);

/// Deadline of a request.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Time after which processes have written to a Redis that was emptied: they read its identity every three seconds, and
/// renew their entries every five.
const EMPTIED_REDIS_WAIT: Duration = Duration::from_secs(6);

/// Time after its start in which a worker is listed in Redis.
const LISTED: Duration = Duration::from_secs(10);

/// The state of a cluster, with findings.
pub(crate) struct ClusterExamination {
    /// The results of the checks.
    pub(crate) findings: Vec<Finding>,
    /// The partitions, with their leaders and the ages of their checkpoints.
    pub(crate) partitions: Vec<PartitionSnapshot>,
    /// The jobs in the queue, by server.
    pub(crate) backlog: Vec<BacklogSnapshot>,
    /// The streams, sorted by name.
    pub(crate) streams: Vec<StreamSnapshot>,
    /// The schedulers that answer.
    pub(crate) schedulers: Vec<SchedulerSnapshot>,
    /// The workers that are listed in Redis, and those that only answer over NATS.
    pub(crate) workers: Vec<WorkerEntry>,
    /// The exit code if NATS or Redis cannot be reached, or refuses the user.
    pub(crate) unreachable: Option<Exit>,
}

/// Reads and judges the state of a cluster. All requests are sent at the same time.
pub(crate) async fn examine(config: &Config) -> ClusterExamination {
    let (mut nats, mut redis) = tokio::join!(nats(config), redis(config));
    if let (Ok(of_nats), Ok(of_redis)) = (&nats, &redis)
        && (judge::may_be_just_emptied(of_redis, &of_nats.schedulers, pulls(of_nats))
            || !unlisted(Some(of_nats), Some(of_redis)).is_empty())
    {
        sleep(EMPTIED_REDIS_WAIT).await;
        (nats, redis) = tokio::join!(self::nats(config), self::redis(config));
    }
    let unlisted = unlisted(nats.as_ref().ok(), redis.as_ref().ok());
    let workers = redis.as_ref().ok().map(|seen| [&seen.workers[..], &unlisted].concat());
    let partitions = partitions::partitions(nats.as_ref().ok(), redis.as_ref().ok(), config.partitions);
    let mut findings = match &nats {
        Ok(seen) => judge::nats(seen, workers.as_deref(), &partitions, config.partitions),
        Err(failure) => vec![judge::unreachable_server("NATS", failure)],
    };
    findings.extend(match &redis {
        Ok(seen) => judge::redis(seen, nats.as_ref().ok().map(pulls), &unlisted),
        Err(failure) => vec![judge::unreachable_server("Redis", failure)],
    });
    let schedulers = nats.as_ref().map_or(&[][..], |seen| &seen.schedulers);
    findings
        .extend(judge::same_redis(redis.as_ref().ok().and_then(|seen| seen.identity.as_ref()), schedulers));
    findings.extend(judge::stores(schedulers, workers.as_deref().unwrap_or(&unlisted)));
    let unreachable = judge::unreachable([nats.as_ref().err(), redis.as_ref().err()]);
    let seen = nats.ok();
    let backlog = seen.as_ref().and_then(|seen| seen.backlog.as_ref().ok()).map(backlog).unwrap_or_default();
    let (streams, schedulers) = seen.map(|seen| (seen.status.streams, seen.schedulers)).unwrap_or_default();
    ClusterExamination {
        findings,
        partitions,
        backlog,
        streams: streams.into_iter().map(stream).collect(),
        schedulers,
        workers: workers.unwrap_or(unlisted),
        unreachable,
    }
}

/// Returns the workers that answer over NATS and are not listed in Redis, although they had the time for it.
fn unlisted(nats: Option<&NatsSnapshot>, redis: Option<&RedisSnapshot>) -> Vec<WorkerEntry> {
    let answering = nats.map_or(&[][..], |seen| &seen.workers);
    let listed = redis.map_or(&[][..], |seen| &seen.workers);
    let is_unlisted = |entry: &&WorkerEntry| {
        listed.iter().all(|one| one.worker != entry.worker) && clock::now().since(entry.started_at) >= LISTED
    };
    answering.iter().filter(is_unlisted).cloned().collect()
}

/// Returns the number of pull requests for jobs that wait in NATS.
fn pulls(seen: &NatsSnapshot) -> usize {
    let queues = seen.status.streams.iter().filter(|stream| stream.name == subject::JOBS_STREAM);
    queues.flat_map(|queue| &queue.consumers).map(|consumer| consumer.waiting).sum()
}

fn backlog(backlog: &Backlog) -> Vec<BacklogSnapshot> {
    let seen = |server: &nats::ServerBacklog| BacklogSnapshot {
        server: server.server.clone(),
        jobs: server.jobs,
        out: server.out,
        oldest_ms: u64::try_from(server.oldest.as_millis()).unwrap_or(u64::MAX),
    };
    backlog.servers.iter().map(seen).collect()
}

fn stream(status: nats::StreamStatus) -> StreamSnapshot {
    let nats::StreamStatus { name, messages, bytes, max_bytes, settings, consumers, .. } = status;
    let consumer = |consumer: nats::ConsumerStatus| ConsumerSnapshot {
        name: consumer.name,
        pending: consumer.pending,
        ack_pending: consumer.ack_pending,
        waiting: consumer.waiting,
    };
    let consumers = consumers.into_iter().map(consumer).collect();
    StreamSnapshot { name, messages, bytes, max_bytes, settings, consumers }
}

/// Reads the state of NATS.
async fn nats(config: &Config) -> Result<NatsSnapshot, Failure> {
    let nats = connect::client(config, "longshore-doctor", deadline(config)).await?;
    // NATS reports a missing permission only on the connection, and the request gets no answer.
    let seen = tokio::select! { biased;
        cause = nats.denied() => {
            let message = format!("NATS at {} refuses a request of this user: {cause}", config.nats());
            Err(Failure::new(Exit::Denied, message))
        }
        seen = answers_of_nats(&nats) => seen.map_err(|error| unanswered(&error)),
    };
    nats.close().await;
    seen.map_err(|failure| advised(failure, judge::DOCTORS_NATS_USER))
}

async fn answers_of_nats(nats: &NatsClient) -> Result<NatsSnapshot, Error> {
    let status = nats.status().await?;
    let client = nats.client();
    let (schedulers, workers) = tokio::join!(
        statistics::schedulers(&client, STATISTICS_TIMEOUT),
        worker_entries::request(&client, STATISTICS_TIMEOUT),
    );
    let clock_ahead = nats_clock(&client).await;
    let backlog = nats.backlog().await.map_err(|error| error.to_string());
    let without_text = nats.workflows_without_text().await.map_err(|error| error.to_string());
    Ok(NatsSnapshot { status, clock_ahead, schedulers, workers, backlog, without_text })
}

/// Adds advice to a failure that is a missing permission.
fn advised(failure: Failure, advice: &str) -> Failure {
    if failure.exit == Exit::Denied && failure.help.is_none() { failure.help(advice) } else { failure }
}

/// Reads the state of Redis.
async fn redis(config: &Config) -> Result<RedisSnapshot, Failure> {
    let redis: Redis = connect::redis(config, deadline(config)).await?;
    answers_of_redis(config, &redis)
        .await
        .map_err(|error| advised(unanswered(&error), judge::DOCTORS_REDIS_USER))
}

/// Returns the failure of a request to a server that was connected.
fn unanswered(error: &Error) -> Failure {
    Failure::new(connect::exit_of(error), error.to_string())
}

async fn answers_of_redis(config: &Config, redis: &Redis) -> Result<RedisSnapshot, Error> {
    let workers = redis.catalog().workers().await?;
    let before = clock::now();
    let status = redis.status().await?;
    let clock_ahead = ahead(status.clock, before, clock::now());
    let leases = redis.lease_holders(config.partitions).await?;
    let data = redis.data_id().await.ok();
    let identity = data.map(|data| RedisIdentity { data, address: redis.address().to_owned() });
    let write = redis.probe_write(Probe::OneKey).await;
    Ok(RedisSnapshot { status, clock_ahead, identity, workers, leases, write })
}

fn deadline(config: &Config) -> Duration {
    match config.origin(SettingKey::ConnectDeadline) {
        SettingOrigin::Default => CONNECT_DEADLINE,
        _ => config.connect_deadline,
    }
}

/// Returns the difference of the server's clock from the local one in milliseconds, by the time in an answer. Positive means
/// ahead.
async fn nats_clock(client: &Client) -> Option<i64> {
    #[derive(Deserialize)]
    struct StreamInfo {
        ts: String,
    }
    let before = clock::now();
    let request = format!("$JS.API.STREAM.INFO.{}", subject::JOBS_STREAM);
    let answer = timeout(ANSWER_LIMIT, client.request(request, "".into())).await.ok()?.ok()?;
    let after = clock::now();
    let StreamInfo { ts } = serde_json::from_slice(&answer.payload).ok()?;
    let moment = OffsetDateTime::parse(&ts, &Rfc3339).ok()?;
    let millis = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()?;
    Some(ahead(Timestamp::from_millis(millis), before, after))
}

/// Returns the difference of a clock that was read between two local times, in milliseconds. Positive means ahead.
fn ahead(clock: Timestamp, before: Timestamp, after: Timestamp) -> i64 {
    let middle = before.plus(after.since(before) / 2);
    let millis = |moment: Timestamp| i64::try_from(moment.as_millis()).unwrap_or(i64::MAX);
    millis(clock).saturating_sub(millis(middle))
}
