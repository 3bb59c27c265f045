//! Questions that a process asks its stores all the time, so that their faults are known where there is no traffic.
//!
//! Each beat writes one key to Redis that expires, asks Redis for its settings, and asks NATS for each stream and for the limits of the account. No
//! message is published: a log is judged by its room, its leader, and how the last real appends ended.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use longshore_nats::{AccountStatus, Nats, StreamStatus};
use longshore_ports::Error;
use longshore_proto::subject;
use longshore_redis::Redis;
use metrics::gauge;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::dependencies::Dependencies;
use super::dependency::Dependency;
use super::redis_settings::{LoggedSettings, evicting};

/// How often: two answers in a row decide, and probes of orchestrators look every few seconds.
const BEAT: Duration = Duration::from_secs(3);

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Streams that are asked for at once.
const TOGETHER: usize = 8;

/// Room that a log and an account must have: one entry of the largest size.
const ROOM_BYTES: u64 = 1024 * 1024;

/// Where a limit is small, the room that it must have is this part of it.
const ROOM_PART: u64 = 20;

/// Asks for as long as it is polled.
pub(super) async fn run(nats: Nats, redis: Redis, dependencies: Arc<Dependencies>) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut logged = LoggedSettings::default();
    loop {
        beat.tick().await;
        tokio::join!(ask_redis(&redis, &dependencies, &mut logged), ask_nats(&nats, &dependencies));
    }
}

async fn ask_redis(redis: &Redis, dependencies: &Dependencies, logged: &mut LoggedSettings) {
    let write = answer(&dependencies.redis, redis.probe_write(dependencies.redis_probe), |()| Ok(()));
    let settings = answer(&dependencies.redis_settings, redis.settings(), |settings| {
        logged.log_changes(&settings);
        evicting(&settings)
    });
    tokio::join!(write, settings);
}

async fn ask_nats(nats: &Nats, dependencies: &Dependencies) {
    let each =
        dependencies.streams.clone().into_iter().map(|dependency| ask_stream(nats.clone(), dependency));
    let streams = stream::iter(each).buffer_unordered(TOGETHER).collect::<Vec<Option<StreamStatus>>>();
    let account = answer(&dependencies.account, nats.account(), judge_account);
    let (streams, (), all_logs) = tokio::join!(streams, account, ask_logs(nats, dependencies));
    if let (Some(room), Some(all_logs)) = (&dependencies.logs_room, all_logs)
        && let Some(percent) = fullest_log(all_logs, &streams)
    {
        room.note(percent);
    }
}

async fn ask_stream(nats: Nats, dependency: Arc<Dependency>) -> Option<StreamStatus> {
    let mut seen = None;
    let judge = |stream| judge_stream(seen.insert(stream));
    answer(&dependency, nats.stream(dependency.name()), judge).await;
    seen
}

/// Asks how full all logs are together, where that is measured. A failure is one of the streams or of the account, which note it
/// themselves.
async fn ask_logs(nats: &Nats, dependencies: &Dependencies) -> Option<u64> {
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

/// Asks, and notes what the answer means.
async fn answer<T>(
    dependency: &Dependency,
    asking: impl Future<Output = Result<T, Error>>,
    judge: impl FnOnce(T) -> Result<(), String>,
) {
    let verdict = match timeout(ANSWER_LIMIT, asking).await {
        Ok(Ok(answer)) => judge(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("no answer within {ANSWER_LIMIT:?}")),
    };
    match verdict {
        Ok(()) => dependency.succeeded(),
        Err(reason) => dependency.failed(&reason),
    }
}

/// Whether a stream can be used. Streams that are emptied by reading may be full: they make room by themselves.
fn judge_stream(stream: &StreamStatus) -> Result<(), String> {
    let fullness = share(stream.bytes, stream.max_bytes);
    gauge!("longshore_stream_fullness_ratio", "stream" => stream.name.clone()).set(fullness);
    if !stream.has_leader {
        return Err("it has no leader: too few of its servers are there".to_owned());
    }
    let is_emptied = [subject::JOBS_STREAM, subject::SUBMIT_STREAM].contains(&stream.name.as_str());
    match stream.max_bytes {
        Some(limit) if stream.refuses_when_full && !is_emptied && is_full(stream.bytes, limit) => {
            Err(format!("full: {} of {limit} bytes are stored", stream.bytes))
        }
        _ => Ok(()),
    }
}

fn judge_account(account: AccountStatus) -> Result<(), String> {
    gauge!("longshore_account_fullness_ratio").set(share(account.bytes, account.max_bytes));
    match account.max_bytes {
        Some(limit) if is_full(account.bytes, limit) => {
            Err(format!("full: {} of {limit} bytes are stored", account.bytes))
        }
        _ => Ok(()),
    }
}

/// Whether there is too little room for the next entry.
pub(super) fn is_full(bytes: u64, limit: u64) -> bool {
    limit.saturating_sub(bytes) < ROOM_BYTES.min(limit / ROOM_PART)
}

/// Returns how full something is, from 0 to 1; 0 without a limit.
#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn share(bytes: u64, limit: Option<u64>) -> f64 {
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
    fn a_stream_is_judged_by_its_leader_and_its_room() {
        assert_eq!(judge_stream(&stream("LS_LOG_00", 9_499)), Ok(()));
        let full = judge_stream(&stream("LS_LOG_00", 9_501));
        assert_eq!(full, Err("full: 9501 of 10000 bytes are stored".to_owned()));
        assert_eq!(judge_stream(&stream("LS_SUBMIT", 10_000)), Ok(()), "taking submits in makes room");
        let dropping = StreamStatus { refuses_when_full: false, ..stream("LS_DLQ", 10_000) };
        assert_eq!(judge_stream(&dropping), Ok(()), "it drops the oldest");
        let leaderless = StreamStatus { has_leader: false, ..stream("LS_LOG_00", 0) };
        assert!(judge_stream(&leaderless).is_err_and(|reason| reason.contains("no leader")));
    }

    #[test]
    fn the_fullest_log_counts_and_no_other_stream() {
        let seen = |name, bytes| Some(stream(name, bytes));
        assert_eq!(fullest_log(40, &[seen("LS_LOG_00", 100), seen("LS_SUBMIT", 9_900)]), Some(40));
        assert_eq!(fullest_log(40, &[seen("LS_LOG_00", 100), seen("LS_LOG_01", 7_050)]), Some(70));
        assert_eq!(fullest_log(40, &[None, seen("LS_LOG_01", 7_050)]), None, "one of them is not known");
    }

    #[test]
    fn an_account_needs_room_for_an_entry() {
        let of = |bytes, max_bytes| judge_account(AccountStatus { bytes, max_bytes });
        assert_eq!(of(u64::MAX, None), Ok(()));
        assert_eq!(of(298_000_000, Some(300_000_000)), Ok(()));
        assert!(of(299_500_000, Some(300_000_000)).is_err());
        assert!(of(400_000_000, Some(300_000_000)).is_err());
    }
}
