//! Waiting jobs by MCP server: their number and the age of the oldest.
//!
//! The consumer of a server counts the waiting and the delivered jobs of that server. Jobs of a server without a
//! consumer are found only by reading the stream, so the oldest jobs are read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::consumer::Info;
use futures::TryStreamExt;
use longshore_ports::{Error, clock};
use longshore_proto::{Timestamp, subject};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::{MessageInfo, find_message};
use super::connection::Connection;
use super::failure::failed;
use super::streams::stream_info;

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
    let with_consumer: BTreeSet<String> =
        consumers.iter().map(|info| server_of_consumer(&info.name).to_owned()).collect();
    let mut servers: Vec<_> =
        consumers.iter().map(consumer_backlog).filter(|backlog| backlog.jobs > 0).collect();
    let counted: u64 = servers.iter().map(|backlog| backlog.jobs).sum();
    let uncounted = state.messages.saturating_sub(counted);
    if uncounted > 0 {
        servers.extend(servers_without_consumer(connection, state.first_sequence, &with_consumer).await?);
    }
    servers.sort_by(|one, other| other.jobs.cmp(&one.jobs).then_with(|| one.server.cmp(&other.server)));
    servers.truncate(LISTED_SERVERS);
    for backlog in &mut servers {
        let filter = format!("{}.jobs.*.{}.>", subject::ROOT, backlog.server);
        if let Some(oldest) = next_message(connection, 0, &filter).await? {
            backlog.oldest = age(&oldest.time);
        }
    }
    let listed: u64 = servers.iter().map(|backlog| backlog.jobs).sum();
    Ok(Backlog { servers, unlisted: state.messages.saturating_sub(listed) })
}

/// Returns the backlog of a server, from the counts of its consumer.
fn consumer_backlog(info: &Info) -> ServerBacklog {
    let out = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    ServerBacklog {
        server: server_of_consumer(&info.name).to_owned(),
        jobs: info.num_pending.saturating_add(out),
        out,
        pulls: u64::try_from(info.num_waiting).unwrap_or(u64::MAX),
        has_consumer: true,
        oldest: Duration::ZERO,
    }
}

/// Returns the server of a consumer, whose name is the class and the server: `std-crm`.
fn server_of_consumer(consumer: &str) -> &str {
    consumer.split_once('-').map_or(consumer, |(_, server)| server)
}

/// Returns the server of a job's subject: `longshore.v1.jobs.std.crm.…`.
fn server_of_job(subject: &str) -> Option<&str> {
    subject.split('.').nth(4)
}

/// Returns the servers without a consumer to which at least one of the oldest jobs belongs.
async fn servers_without_consumer(
    connection: &Connection,
    first: u64,
    with_consumer: &BTreeSet<String>,
) -> Result<Vec<ServerBacklog>, Error> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut from = first;
    for _ in 0..READ_JOBS {
        let Some(message) = next_message(connection, from, subject::JOBS).await? else { break };
        from = message.seq.saturating_add(1);
        if let Some(server) =
            server_of_job(&message.subject).filter(|server| !with_consumer.contains(*server))
        {
            *found.entry(server.to_owned()).or_default() += 1;
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
    Ok(found.into_iter().map(backlog).collect())
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
