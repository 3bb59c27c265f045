//! Recalled jobs: jobs whose outcome is no longer wanted.
//!
//! A recall is a plain publish that reaches every process. A job that this process has gets a token that its recall
//! cancels. A recall that arrives before its job is remembered for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use longshore_ports::Error;
use longshore_proto::{JobId, subject};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::failure::failed;

/// Recalls that are remembered: those of a run of 10,000 steps, at 100 bytes each.
const REMEMBERED: usize = 10_000;

/// The recalls that a process has received.
#[derive(Default)]
pub(super) struct Recalls(Mutex<RecallState>);

#[derive(Default)]
struct RecallState {
    /// Tokens of the jobs that this process has, by the subjects of their recalls, with the number of deliveries: a job may be
    /// delivered again before its first delivery ends.
    watched: BTreeMap<String, (CancellationToken, usize)>,
    recalled: BTreeSet<String>,
    /// The elements of `recalled`, oldest first.
    oldest_first: VecDeque<String>,
}

impl Recalls {
    /// Subscribes to recalls.
    pub(super) async fn subscribe(connection: &Connection) -> Result<Arc<Self>, Error> {
        let all = format!("{}.recall.>", subject::ROOT);
        let subscribed = connection.client.subscribe(all).await;
        let mut messages = subscribed.map_err(|error| failed("subscribe to recalls", error))?;
        let recalls = Arc::new(Self::default());
        let received = Arc::clone(&recalls);
        connection.spawn(async move {
            while let Some(message) = messages.next().await {
                received.record(message.subject.as_str());
            }
        });
        Ok(recalls)
    }

    /// Returns a token that is cancelled when the job is recalled. It is cancelled at once if the job was recalled
    /// before.
    pub(super) fn watch(&self, job: &JobId) -> CancellationToken {
        let subject = subject::recall(job);
        let mut state = self.state();
        let is_recalled = state.recalled.contains(&subject);
        let (token, deliveries) = state.watched.entry(subject).or_default();
        *deliveries += 1;
        let token = token.clone();
        if is_recalled {
            token.cancel();
        }
        token
    }

    /// Counts a delivery that has ended, and drops the token with the last one.
    pub(super) fn forget(&self, job: &JobId) {
        let mut state = self.state();
        let subject = subject::recall(job);
        if let Some((_, deliveries)) = state.watched.get_mut(&subject) {
            *deliveries -= 1;
            if *deliveries == 0 {
                state.watched.remove(&subject);
            }
        }
    }

    fn record(&self, subject: &str) {
        let mut state = self.state();
        if let Some((token, _)) = state.watched.get(subject) {
            token.cancel();
        }
        if state.recalled.insert(subject.to_owned()) {
            state.oldest_first.push_back(subject.to_owned());
        }
        if state.oldest_first.len() > REMEMBERED
            && let Some(oldest) = state.oldest_first.pop_front()
        {
            state.recalled.remove(&oldest);
        }
    }

    fn state(&self) -> MutexGuard<'_, RecallState> {
        // No code that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
