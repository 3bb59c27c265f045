//! Progress updates of one job's calls for people who watch the run: the newest activity, at most once a second.

use std::convert::Infallible;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use longshore_ports::CallUpdates;
use longshore_proto::{Attempt, CallActivity, CallUpdate, Job};
use tokio::sync::Notify;
use tokio::time::sleep;

/// The pause after an update. A person reads no faster, and a worker with some hundred calls sends no more than some hundred
/// small messages a second.
const PAUSE: Duration = Duration::from_secs(1);

/// The activity of one job's calls.
pub(super) struct ActivityUpdates<'a> {
    job: &'a Job,
    updates: Option<&'a dyn CallUpdates>,
    newest: Mutex<NewestActivity>,
    changed: Notify,
}

#[derive(Default)]
struct NewestActivity {
    unpublished: Option<(Attempt, CallActivity)>,
    was_published: bool,
}

impl<'a> ActivityUpdates<'a> {
    /// Creates the updates of a job without any activity. Without `updates`, none are published.
    pub(super) fn new(job: &'a Job, updates: Option<&'a dyn CallUpdates>) -> Self {
        Self { job, updates, newest: Mutex::default(), changed: Notify::new() }
    }

    /// Replaces the newest activity.
    pub(super) fn note(&self, attempt: Attempt, activity: CallActivity) {
        if self.updates.is_none() {
            return;
        }
        let mut newest = self.newest();
        // A call is expected to be sent, so this activity is only published if it replaces a published one.
        let is_needed = newest.was_published || activity != CallActivity::Sent;
        newest.unpublished = is_needed.then_some((attempt, activity));
        if is_needed {
            self.changed.notify_one();
        }
    }

    /// Publishes activities until the future is dropped.
    pub(super) async fn run(&self) -> Infallible {
        let Some(updates) = self.updates else { return pending().await };
        loop {
            self.changed.notified().await;
            if let Some((attempt, activity)) = self.take() {
                let (run, step) = (self.job.id.run, self.job.id.step.clone());
                updates.publish(self.job, CallUpdate { run, step, attempt, activity });
                sleep(PAUSE).await;
            }
        }
    }

    fn take(&self) -> Option<(Attempt, CallActivity)> {
        let mut newest = self.newest();
        let unpublished = newest.unpublished.take();
        newest.was_published |= unpublished.is_some();
        unpublished
    }

    fn newest(&self) -> MutexGuard<'_, NewestActivity> {
        // No code that holds the lock can panic half-way.
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::{
        JobId, OnToolError, Partition, Payload, Progress, RepeatSafety, RetryPolicy, RunId, Timestamp,
    };
    use tokio::time::{Instant, timeout};

    use super::*;

    /// Records each published update with its time.
    #[derive(Default)]
    struct RecordedUpdates(Mutex<Vec<(Instant, CallUpdate)>>);

    impl CallUpdates for RecordedUpdates {
        fn publish(&self, _: &Job, update: CallUpdate) {
            self.0.lock().expect("no panic").push((Instant::now(), update));
        }
    }

    fn job() -> Job {
        let (retry, timeout) = (RetryPolicy::default(), Duration::from_secs(5));
        Job {
            id: JobId {
                run: RunId::new(Partition(0), Timestamp::from_millis(1), 1),
                step: "fetch".parse().expect("a path"),
                attempt: Attempt::FIRST,
            },
            submitted_at: Timestamp::default(),
            namespace: "default".parse().expect("a namespace"),
            workflow: "demo".parse().expect("a workflow name"),
            server: "tables".parse().expect("a server name"),
            tool: "sum".parse().expect("a tool name"),
            arguments: Payload::NULL,
            secrets: Vec::new(),
            timeout,
            max_timeout: timeout,
            retry,
            safety: RepeatSafety::Safe,
            idempotency_key: "key".into(),
            own_key: false,
            on_tool_error: OnToolError::Fail,
            keep_content: false,
            trace: None,
        }
    }

    fn progress(done: f64) -> CallActivity {
        CallActivity::Progress(Progress { done, total: None, message: None })
    }

    /// Notes activities of attempts at these times, in milliseconds. Returns the published ones with their times.
    async fn published(noted: &[(u64, u32, CallActivity)]) -> Vec<(u64, u32, CallActivity)> {
        let (job, recorded) = (job(), RecordedUpdates::default());
        let updates = ActivityUpdates::new(&job, Some(&recorded));
        let start = Instant::now();
        let mut running = std::pin::pin!(updates.run());
        for (millis, attempt, activity) in noted {
            let until = start + Duration::from_millis(*millis);
            let _ = timeout(until - Instant::now(), &mut running).await;
            updates.note(Attempt(*attempt), activity.clone());
        }
        let _ = timeout(Duration::from_secs(10), running).await;
        let recorded = std::mem::take(&mut *recorded.0.lock().expect("no panic")).into_iter();
        let millis = |at: Instant| u64::try_from((at - start).as_millis()).expect("soon");
        recorded.map(|(at, update)| (millis(at), update.attempt.0, update.activity)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn newest_activity_is_published_once_a_second() {
        let noted: Vec<_> =
            (1..=2_500).map(|n| (n, 1, progress(f64::from(u32::try_from(n).expect("small"))))).collect();
        let published: Vec<_> =
            published(&noted).await.into_iter().map(|(at, _, activity)| (at, activity)).collect();
        assert_eq!(
            published,
            [
                (1, progress(1.0)),
                (1_001, progress(1_000.0)),
                (2_001, progress(2_000.0)),
                (3_001, progress(2_500.0))
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn call_without_progress_publishes_nothing_and_a_new_attempt_replaces_an_old_one() {
        assert_eq!(published(&[(1, 1, CallActivity::Sent), (500, 2, CallActivity::Sent)]).await, []);
        let noted = [(1, 1, CallActivity::Sent), (2, 1, progress(1.0)), (3, 2, CallActivity::Sent)];
        let wanted = [(2, 1, progress(1.0)), (1_002, 2, CallActivity::Sent)];
        assert_eq!(published(&noted).await, wanted);
    }
}
