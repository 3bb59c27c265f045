//! The jobs that wait, by the server that they are for: how many, and since when.
//!
//! Each server has a consumer, which knows how many of its jobs wait or are out. Jobs of a server without a consumer are
//! known only from the jobs themselves, so the oldest ones are looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::Info;
use futures::TryStreamExt;
use longshore_ports::{Error, clock};
use longshore_proto::{Timestamp, subject};
use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::api::{ApiError, ask};
use super::connection::Connection;
use super::failure::failed;
use super::streams;

/// Servers that are listed, those with the most jobs first. Each costs a request for its oldest job.
const MOST_SERVERS: usize = 50;

/// Jobs that are looked at to find servers without a consumer, oldest first. Each costs a request.
const MOST_JOBS: usize = 100;

/// The jobs of the whole cluster.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// At most 50 servers that have jobs, those with the most first.
    pub servers: Vec<ServerBacklog>,
    /// Jobs of servers that are not listed.
    pub unlisted: u64,
}

/// The jobs of one server, waiting or out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerBacklog {
    /// The server.
    pub server: String,
    /// Its jobs; a lower bound if it has no consumer.
    pub jobs: u64,
    /// Jobs that are out: delivered to a worker, and not acknowledged.
    pub out: u64,
    /// Requests for jobs that wait: zero if no worker asks.
    pub pulls: u64,
    /// Whether a worker has ever made its consumer.
    pub has_consumer: bool,
    /// How long its oldest job has been in the queue, by this machine's clock.
    pub oldest: Duration,
}

/// The answer to a request for a message.
#[derive(Deserialize)]
struct Found {
    message: Stored,
}

/// A message, without its body.
#[derive(Deserialize)]
struct Stored {
    seq: u64,
    subject: String,
    time: String,
}

/// Asks the server for the jobs that wait.
pub(super) async fn look(connection: &Connection) -> Result<Backlog, Error> {
    const DOING: &str = "look at the jobs that wait";
    let info = streams::look(&connection.context, subject::JOBS_STREAM).await;
    let state = info.map_err(|error| failed(DOING, error))?.state;
    if state.messages == 0 {
        return Ok(Backlog::default());
    }
    let stream = connection.context.get_stream_no_info(subject::JOBS_STREAM).await;
    let stream = stream.map_err(|error| failed(DOING, error))?;
    let consumers: Vec<Info> =
        stream.consumers().try_collect().await.map_err(|error| failed(DOING, error))?;
    let known: BTreeSet<String> = consumers.iter().map(|info| server(&info.name).to_owned()).collect();
    let mut servers: Vec<_> = consumers.iter().map(counted).filter(|backlog| backlog.jobs > 0).collect();
    let counted: u64 = servers.iter().map(|backlog| backlog.jobs).sum();
    let uncounted = state.messages.saturating_sub(counted);
    if uncounted > 0 {
        servers.extend(without_consumer(connection, state.first_sequence, &known).await?);
    }
    servers.sort_by(|one, other| other.jobs.cmp(&one.jobs).then_with(|| one.server.cmp(&other.server)));
    servers.truncate(MOST_SERVERS);
    for backlog in &mut servers {
        let filter = format!("{}.jobs.*.{}.>", subject::ROOT, backlog.server);
        if let Some(stored) = next(connection, 0, &filter).await? {
            backlog.oldest = age(&stored.time);
        }
    }
    let listed: u64 = servers.iter().map(|backlog| backlog.jobs).sum();
    Ok(Backlog { servers, unlisted: state.messages.saturating_sub(listed) })
}

fn counted(info: &Info) -> ServerBacklog {
    let out = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
    ServerBacklog {
        server: server(&info.name).to_owned(),
        jobs: info.num_pending.saturating_add(out),
        out,
        pulls: u64::try_from(info.num_waiting).unwrap_or(u64::MAX),
        has_consumer: true,
        oldest: Duration::ZERO,
    }
}

/// Returns the server of a consumer, whose name is the class and the server: `std-crm`.
fn server(consumer: &str) -> &str {
    consumer.split_once('-').map_or(consumer, |(_, server)| server)
}

/// Returns the server of a job's subject: `longshore.v1.jobs.std.crm.…`.
fn server_of_job(subject: &str) -> Option<&str> {
    subject.split('.').nth(4)
}

/// Returns the servers without a consumer among the oldest jobs.
async fn without_consumer(
    connection: &Connection,
    first: u64,
    known: &BTreeSet<String>,
) -> Result<Vec<ServerBacklog>, Error> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut from = first;
    for _ in 0..MOST_JOBS {
        let Some(stored) = next(connection, from, subject::JOBS).await? else { break };
        from = stored.seq.saturating_add(1);
        if let Some(server) = server_of_job(&stored.subject).filter(|server| !known.contains(*server)) {
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

/// Returns the first message at or behind a place whose subject matches.
async fn next(connection: &Connection, from: u64, filter: &str) -> Result<Option<Stored>, Error> {
    let request = json!({ "seq": from.max(1), "next_by_subj": filter });
    let get = format!("STREAM.MSG.GET.{}", subject::JOBS_STREAM);
    let found: Result<Found, ApiError> = ask(&connection.context, get, &request).await;
    match found {
        Ok(found) => Ok(Some(found.message)),
        Err(error) if error.code() == Some(ErrorCode::NO_MESSAGE_FOUND) => Ok(None),
        Err(error) => Err(failed("look at the oldest jobs", error)),
    }
}

/// Returns how long ago a moment was that the server wrote; zero if it cannot be read.
fn age(moment: &str) -> Duration {
    let Ok(moment) = OffsetDateTime::parse(moment, &Rfc3339) else { return Duration::ZERO };
    let millis = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    clock::now().since(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_stands_in_the_names_of_consumers_and_jobs() {
        assert_eq!(server("std-crm-eu"), "crm-eu");
        assert_eq!(server_of_job("longshore.v1.jobs.std.crm.run_00_x:a:1"), Some("crm"));
        assert_eq!(server_of_job("longshore.v1"), None);
    }
}
