//! Periodic probes of the stores of a process, so that failures are known even without traffic.
//!
//! Each round writes one key to Redis that expires, requests the settings and the identity of Redis, and requests the state of each stream
//! and the limits of the account from NATS. No message is published: a log is judged by its room, its leader, and the
//! results of the last real appends.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use longshore_nats::{AccountStatus, Nats, StreamStatus};
use longshore_ports::{Error, ErrorCause};
use longshore_proto::subject;
use longshore_redis::Redis;
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::dependencies::Dependencies;
use super::dependency::{Dependency, ProbeFailure};
use super::redis_settings::{LoggedSettings, require_no_eviction};

/// Interval of the probes. Two failures in a row decide, and the probes of orchestrators come every few seconds.
const PROBE_INTERVAL: Duration = Duration::from_secs(3);

/// Deadline of an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Number of streams that are requested at once.
const STREAMS_AT_ONCE: usize = 8;

/// Room that a log and an account must have: one entry of the largest size.
const ROOM_BYTES: u64 = 1024 * 1024;

/// Divisor for limits below 20 MiB: the room that they must have is the limit divided by this number.
const ROOM_PART: u64 = 20;

/// Sends probes for as long as it is polled.
pub(super) async fn run(nats: Nats, redis: Redis, dependencies: Arc<Dependencies>) {
    let mut ticks = interval(PROBE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged = LoggedSettings::default();
    loop {
        ticks.tick().await;
        tokio::join!(probe_redis(&redis, &dependencies, &mut logged), probe_nats(&nats, &dependencies));
    }
}

async fn probe_redis(redis: &Redis, dependencies: &Dependencies, logged: &mut LoggedSettings) {
    let write = record_answer(&dependencies.redis, redis.probe_write(dependencies.redis_probe), |()| Ok(()));
    let settings = record_answer(&dependencies.redis_settings, redis.settings(), |settings| {
        logged.log_changes(&settings);
        require_no_eviction(&settings).map_err(|reason| ProbeFailure::new(ErrorCause::Other, reason))
    });
    tokio::join!(write, settings, dependencies.redis_identity.read(redis));
}

async fn probe_nats(nats: &Nats, dependencies: &Dependencies) {
    dependencies.permissions.record(&nats.check_permissions());
    if let Err(error) = nats.check() {
        let failure = ProbeFailure::unreachable(error.cause(), error.to_string());
        dependencies.account.probe_failed(&failure);
        return dependencies.streams.iter().for_each(|stream| stream.failed(&failure.reason));
    }
    let each =
        dependencies.streams.clone().into_iter().map(|dependency| probe_stream(nats.clone(), dependency));
    let streams = stream::iter(each).buffer_unordered(STREAMS_AT_ONCE).collect::<Vec<Option<StreamStatus>>>();
    let account = record_answer(&dependencies.account, nats.account(), judge_account);
    let (streams, (), all_logs) = tokio::join!(streams, account, probe_logs(nats, dependencies));
    if let (Some(room), Some(all_logs)) = (&dependencies.logs_room, all_logs)
        && let Some(percent) = fullest_log(all_logs, &streams)
    {
        room.record(percent);
    }
}

async fn probe_stream(nats: Nats, dependency: Arc<Dependency>) -> Option<StreamStatus> {
    let mut seen = None;
    let judge = |stream| judge_stream(seen.insert(stream));
    record_answer(&dependency, nats.stream(dependency.name()), judge).await;
    seen
}

/// Requests the fullness of all logs together, if this process measures it. Failures are not recorded here, because the
/// probes of streams and account record them.
async fn probe_logs(nats: &Nats, dependencies: &Dependencies) -> Option<u64> {
    dependencies.logs_room.as_ref()?;
    timeout(ANSWER_LIMIT, nats.fullness_of_logs()).await.ok()?.ok()
}

/// Returns the fullness of the fullest log, in per cent, if all streams answered.
fn fullest_log(all_logs: u64, streams: &[Option<StreamStatus>]) -> Option<u64> {
    let mut fullest = all_logs;
    for stream in streams {
        let StreamStatus { name, bytes, max_bytes, .. } = stream.as_ref()?;
        if let Some(limit) = max_bytes.filter(|_| name.starts_with(subject::LOG_STREAM_PREFIX)) {
            fullest = fullest.max(bytes.saturating_mul(100).checked_div(limit).unwrap_or_default());
        }
    }
    Some(fullest)
}

/// Awaits an answer, judges it, and records the result.
async fn record_answer<T>(
    dependency: &Dependency,
    request: impl Future<Output = Result<T, Error>>,
    judge: impl FnOnce(T) -> Result<(), ProbeFailure>,
) {
    let verdict = match timeout(ANSWER_LIMIT, request).await {
        Ok(Ok(answer)) => judge(answer),
        Ok(Err(error)) => Err(ProbeFailure::of_request(&error)),
        Err(_elapsed) => {
            let reason = format!("no answer within {ANSWER_LIMIT:?}");
            Err(ProbeFailure::unreachable(ErrorCause::Unavailable, reason))
        }
    };
    match verdict {
        Ok(()) => dependency.succeeded(),
        Err(failure) => dependency.probe_failed(&failure),
    }
}

/// Checks a stream. The error is the reason why it cannot be used. Streams whose messages are removed when they are read may
/// be full, because reading makes room.
fn judge_stream(stream: &StreamStatus) -> Result<(), ProbeFailure> {
    let fullness = fullness(stream.bytes, stream.max_bytes);
    gauge!("longshore_stream_fullness_ratio", "stream" => stream.name.clone()).set(fullness);
    if !stream.has_leader {
        let reason = "it has no leader: too few of its servers are available";
        return Err(ProbeFailure::new(ErrorCause::Unavailable, reason));
    }
    let is_emptied = [subject::JOBS_STREAM, subject::SUBMIT_STREAM].contains(&stream.name.as_str());
    match stream.max_bytes {
        Some(limit) if stream.refuses_when_full && !is_emptied && is_full(stream.bytes, limit) => {
            Err(full(stream.bytes, limit))
        }
        _ => Ok(()),
    }
}

/// Checks the account. The error is the reason why nothing can be stored.
fn judge_account(account: AccountStatus) -> Result<(), ProbeFailure> {
    gauge!("longshore_account_fullness_ratio").set(fullness(account.bytes, account.max_bytes));
    match account.max_bytes {
        Some(limit) if is_full(account.bytes, limit) => Err(full(account.bytes, limit)),
        _ => Ok(()),
    }
}

fn full(bytes: u64, limit: u64) -> ProbeFailure {
    ProbeFailure::new(ErrorCause::Full, format!("full: {bytes} of {limit} bytes are stored"))
}

/// Returns true if there is too little room for the next entry.
pub(super) fn is_full(bytes: u64, limit: u64) -> bool {
    limit.saturating_sub(bytes) < ROOM_BYTES.min(limit / ROOM_PART)
}

/// Returns the fullness, from 0 to 1; 0 without a limit.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn fullness(bytes: u64, limit: Option<u64>) -> f64 {
    limit.filter(|limit| *limit > 0).map_or(0.0, |limit| bytes as f64 / limit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str, bytes: u64) -> StreamStatus {
        StreamStatus {
            name: name.to_owned(),
            messages: 1,
            bytes,
            max_bytes: Some(10_000),
            max_messages: None,
            refuses_when_full: true,
            has_leader: true,
            replicas_away: Vec::new(),
            settings: String::new(),
            consumers: Vec::new(),
        }
    }

    #[test]
    fn stream_is_judged_by_its_leader_and_its_room() {
        assert_eq!(judge_stream(&stream("LS_LOG_00", 9_499)), Ok(()));
        let full = judge_stream(&stream("LS_LOG_00", 9_501));
        assert_eq!(full, Err(super::full(9_501, 10_000)));
        assert_eq!(judge_stream(&stream("LS_SUBMIT", 10_000)), Ok(()), "taking submits in makes room");
        let dropping = StreamStatus { refuses_when_full: false, ..stream("LS_DLQ", 10_000) };
        assert_eq!(judge_stream(&dropping), Ok(()), "it drops the oldest");
        let leaderless = StreamStatus { has_leader: false, ..stream("LS_LOG_00", 0) };
        assert!(judge_stream(&leaderless).is_err_and(|failure| failure.reason.contains("no leader")));
    }

    #[test]
    fn fullness_is_that_of_the_fullest_log() {
        let seen = |name, bytes| Some(stream(name, bytes));
        assert_eq!(fullest_log(40, &[seen("LS_LOG_00", 100), seen("LS_SUBMIT", 9_900)]), Some(40));
        assert_eq!(fullest_log(40, &[seen("LS_LOG_00", 100), seen("LS_LOG_01", 7_050)]), Some(70));
        assert_eq!(fullest_log(40, &[None, seen("LS_LOG_01", 7_050)]), None, "one log did not answer");
    }

    #[test]
    fn account_needs_room_for_one_entry() {
        let of = |bytes, max_bytes| judge_account(AccountStatus { bytes, max_bytes });
        assert_eq!(of(u64::MAX, None), Ok(()));
        assert_eq!(of(298_000_000, Some(300_000_000)), Ok(()));
        assert!(of(299_500_000, Some(300_000_000)).is_err());
        assert!(of(400_000_000, Some(300_000_000)).is_err());
    }
}
