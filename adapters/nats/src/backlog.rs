//! Waiting jobs by MCP server: their number and the age of the oldest.
//!
//! The consumer of a server counts the waiting and the delivered jobs of that server. Jobs of a server without a
//! consumer are found only by reading the stream, so the oldest jobs are read.
//!
//! A server whose disk was full can come back with messages that were acknowledged before. They are below the
//! acknowledgement floor of their consumer, which does not deliver them again. They are no waiting jobs, and as the queue holds
//! one message for each job, such a job could not be queued again. So schedulers remove them.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use futures::TryStreamExt;
use futures::future::try_join_all;
use longshore_ports::{Error, clock};
use longshore_proto::{Timestamp, subject};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::{ApiError, MessageInfo, find_message, remove_message};
use super::connection::Connection;
use super::failure::failed;
use super::streams::stream_info;
use super::submit_queue::CONSUMER as SUBMITS_CONSUMER;

/// Maximum number of servers in a report, those with the most jobs first. Each costs a request for its oldest job.
const LISTED_SERVERS: usize = 50;

/// Maximum number of jobs that are read to find servers without a consumer, oldest first. Each costs a request.
const READ_JOBS: usize = 100;

/// The jobs of the whole cluster.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// At most 50 servers that have jobs, those with the most first.
    pub servers: Vec<ServerBacklog>,
    /// Jobs of servers that are not listed.
    pub unlisted: u64,
    /// Sequences of messages of jobs that were acknowledged before, which NATS has kept. The oldest hundred at most.
    pub acknowledged: Vec<u64>,
}

impl Backlog {
    /// Returns the number of jobs, waiting or delivered.
    pub fn jobs(&self) -> u64 {
        self.servers.iter().map(|server| server.jobs).fold(self.unlisted, u64::saturating_add)
    }

    /// Returns the age of the oldest job. Zero if there is none.
    pub fn oldest(&self) -> Duration {
        self.servers.iter().map(|server| server.oldest).max().unwrap_or_default()
    }
}

/// The jobs of one server, waiting or delivered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerBacklog {
    /// Name of the server.
    pub server: String,
    /// Number of its jobs, waiting or delivered. A lower bound if the server has no consumer.
    pub jobs: u64,
    /// Number of jobs that are delivered to a worker and not acknowledged.
    pub out: u64,
    /// Number of pull requests that wait. Zero if no worker pulls.
    pub pulls: u64,
    /// True if a worker has created its consumer.
    pub has_consumer: bool,
    /// Time that its oldest job has been in the queue, by this machine's clock.
    pub oldest: Duration,
}

/// The published submits that wait, or are delivered and not acknowledged.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WaitingSubmits {
    /// Their number.
    pub count: u64,
    /// Time that the oldest of them has been in the queue, by this machine's clock. Zero if there is none.
    pub oldest: Duration,
}

/// Reads the backlog of the cluster.
pub(super) async fn read(connection: &Connection) -> Result<Backlog, Error> {
    const DOING: &str = "read the backlog of jobs";
    let info = stream_info(&connection.context, subject::JOBS_STREAM).await;
    let state = info.map_err(|error| failed(DOING, error))?.state;
    if state.messages == 0 {
        return Ok(Backlog::default());
    }
    let stream = connection.context.get_stream_no_info(subject::JOBS_STREAM).await;
    let stream = stream.map_err(|error| failed(DOING, error))?;
    let consumers: Vec<Info> =
        stream.consumers().try_collect().await.map_err(|error| failed(DOING, error))?;
    let floors: BTreeMap<String, u64> = consumers
        .iter()
        .map(|info| (server_of_consumer(&info.name).to_owned(), info.ack_floor.stream_sequence))
        .collect();
    let mut servers: Vec<_> =
        consumers.iter().map(consumer_backlog).filter(|backlog| backlog.jobs > 0).collect();
    let counted: u64 = servers.iter().map(|backlog| backlog.jobs).sum();
    let mut acknowledged = Vec::new();
    if state.messages > counted {
        let read = read_oldest(connection, state.first_sequence, &floors).await?;
        servers.extend(read.without_consumer);
        acknowledged = read.acknowledged;
    }
    servers.sort_by(|one, other| other.jobs.cmp(&one.jobs).then_with(|| one.server.cmp(&other.server)));
    servers.truncate(LISTED_SERVERS);
    for backlog in &mut servers {
        let filter = format!("{}.jobs.*.{}.>", subject::ROOT, backlog.server);
        let from = floors.get(&backlog.server).map_or(0, |floor| floor.saturating_add(1));
        if let Some(oldest) = next_message(connection, from, &filter).await? {
            backlog.oldest = age(&oldest.time);
        }
    }
    let kept = u64::try_from(acknowledged.len()).unwrap_or(u64::MAX);
    let listed = servers.iter().map(|backlog| backlog.jobs).fold(kept, u64::saturating_add);
    Ok(Backlog { servers, unlisted: state.messages.saturating_sub(listed), acknowledged })
}

/// Removes the messages of jobs that were acknowledged before a backlog was read. Returns their number.
pub(super) async fn remove_acknowledged(connection: &Connection, backlog: &Backlog) -> Result<usize, Error> {
    let remove = async |seq: &u64| match remove_message(&connection.context, subject::JOBS_STREAM, *seq).await
    {
        // The server refuses only what is not there: another scheduler was faster.
        Ok(()) | Err(ApiError::Refused(_)) => Ok(()),
        Err(error) => Err(failed("remove acknowledged jobs", error)),
    };
    try_join_all(backlog.acknowledged.iter().map(remove)).await?;
    Ok(backlog.acknowledged.len())
}

/// Returns the backlog of a server, from the counts of its consumer.
fn consumer_backlog(info: &Info) -> ServerBacklog {
    let out = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    ServerBacklog {
        server: server_of_consumer(&info.name).to_owned(),
        jobs: waiting_or_delivered(info),
        out,
        pulls: u64::try_from(info.num_waiting).unwrap_or(u64::MAX),
        has_consumer: true,
        oldest: Duration::ZERO,
    }
}

/// Returns the number of messages that a consumer has yet to deliver, or that are not acknowledged.
fn waiting_or_delivered(info: &Info) -> u64 {
    info.num_pending.saturating_add(u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX))
}

/// Returns the server of a consumer, whose name is the class and the server: `std-crm`.
fn server_of_consumer(consumer: &str) -> &str {
    consumer.split_once('-').map_or(consumer, |(_, server)| server)
}

/// Returns the server of a job's subject: `longshore.v1.jobs.std.crm.…`.
fn server_of_job(subject: &str) -> Option<&str> {
    subject.split('.').nth(4)
}

/// Jobs among the oldest that the counts of consumers do not have.
struct OldestJobs {
    /// Servers without a consumer to which at least one of them belongs.
    without_consumer: Vec<ServerBacklog>,
    /// Sequences of messages that were acknowledged before.
    acknowledged: Vec<u64>,
}

/// Reads the oldest jobs. `floors` has the acknowledgement floor of each server's consumer.
async fn read_oldest(
    connection: &Connection,
    first: u64,
    floors: &BTreeMap<String, u64>,
) -> Result<OldestJobs, Error> {
    let (mut found, mut acknowledged) = (BTreeMap::<String, u64>::new(), Vec::new());
    let mut from = first;
    for _ in 0..READ_JOBS {
        let Some(message) = next_message(connection, from, subject::JOBS).await? else { break };
        from = message.seq.saturating_add(1);
        let Some(server) = server_of_job(&message.subject) else { continue };
        match floors.get(server) {
            None => *found.entry(server.to_owned()).or_default() += 1,
            Some(floor) if message.seq <= *floor => acknowledged.push(message.seq),
            Some(_) => {}
        }
    }
    let backlog = |(server, jobs)| ServerBacklog {
        server,
        jobs,
        out: 0,
        pulls: 0,
        has_consumer: false,
        oldest: Duration::ZERO,
    };
    Ok(OldestJobs { without_consumer: found.into_iter().map(backlog).collect(), acknowledged })
}

/// Reads the submits that wait, or are delivered and not acknowledged. Without a consumer, because no scheduler has pulled
/// yet, these are all messages.
pub(super) async fn submits(connection: &Connection) -> Result<WaitingSubmits, Error> {
    const DOING: &str = "read the queue of submits";
    let stream = connection.context.get_stream_no_info(subject::SUBMIT_STREAM).await;
    let stream = stream.map_err(|error| failed(DOING, error))?;
    let consumers: Vec<Info> =
        stream.consumers().try_collect().await.map_err(|error| failed(DOING, error))?;
    let (count, from) = match consumers.into_iter().find(|info| info.name == SUBMITS_CONSUMER) {
        Some(info) => (waiting_or_delivered(&info), info.ack_floor.stream_sequence.saturating_add(1)),
        None => {
            let info = stream_info(&connection.context, subject::SUBMIT_STREAM).await;
            (info.map_err(|error| failed(DOING, error))?.state.messages, 0)
        }
    };
    if count == 0 {
        return Ok(WaitingSubmits::default());
    }
    let query = json!({ "seq": from.max(1), "next_by_subj": subject::SUBMITS });
    let oldest = find_message(&connection.context, subject::SUBMIT_STREAM, &query).await;
    let oldest = oldest.map_err(|error| failed(DOING, error))?;
    Ok(WaitingSubmits { count, oldest: oldest.map(|oldest| age(&oldest.time)).unwrap_or_default() })
}

/// Returns the first message at or after a sequence whose subject matches.
async fn next_message(
    connection: &Connection,
    from: u64,
    filter: &str,
) -> Result<Option<MessageInfo>, Error> {
    let query = json!({ "seq": from.max(1), "next_by_subj": filter });
    let found = find_message(&connection.context, subject::JOBS_STREAM, &query).await;
    found.map_err(|error| failed("read the oldest jobs", error))
}

/// Returns the time since a timestamp of the server. Zero if it cannot be parsed.
fn age(timestamp: &str) -> Duration {
    let Ok(timestamp) = OffsetDateTime::parse(timestamp, &Rfc3339) else { return Duration::ZERO };
    let millis = u64::try_from(timestamp.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    clock::now().since(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_consumers_and_jobs_contain_the_server() {
        assert_eq!(server_of_consumer("std-crm-eu"), "crm-eu");
        assert_eq!(server_of_job("longshore.v1.jobs.std.crm.run_00_x:a:1"), Some("crm"));
        assert_eq!(server_of_job("longshore.v1"), None);
    }
}
