//! Which jobs are no longer wanted.
//!
//! Recalls are told to every process, by plain publishes. A job that is here has a token that its recall cancels; a
//! recall that comes before its job is remembered for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use longshore_ports::Error;
use longshore_proto::{JobId, subject};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::failure::failed;

/// How many recalls are remembered: those of a run of 10,000 steps, at 100 bytes each.
const REMEMBERED: usize = 10_000;

/// The recalls a process has heard.
#[derive(Default)]
pub(super) struct Recalls(Mutex<State>);

#[derive(Default)]
struct State {
    /// Jobs that are here, by the subjects of their recalls.
    here: BTreeMap<String, CancellationToken>,
    recalled: BTreeSet<String>,
    /// The recalled ones, oldest first.
    order: VecDeque<String>,
}

impl Recalls {
    /// Begins to listen.
    pub(super) async fn listen(connection: &Connection) -> Result<Arc<Self>, Error> {
        let all = format!("{}.recall.>", subject::ROOT);
        let heard = connection.client.subscribe(all).await;
        let mut heard = heard.map_err(|error| failed("listen to recalls", error))?;
        let recalls = Arc::new(Self::default());
        let hearing = Arc::clone(&recalls);
        connection.spawn(async move {
            while let Some(message) = heard.next().await {
                hearing.hear(message.subject.as_str());
            }
        });
        Ok(recalls)
    }

    /// A token that is cancelled when the job is recalled, or was.
    pub(super) fn watch(&self, job: &JobId) -> CancellationToken {
        let name = subject::recall(job);
        let mut state = self.state();
        let recalled = state.recalled.contains(&name);
        let token = state.here.entry(name).or_default().clone();
        if recalled {
            token.cancel();
        }
        token
    }

    /// A job has left our hands.
    pub(super) fn forget(&self, job: &JobId) {
        self.state().here.remove(&subject::recall(job));
    }

    fn hear(&self, name: &str) {
        let mut state = self.state();
        if let Some(token) = state.here.get(name) {
            token.cancel();
        }
        if state.recalled.insert(name.to_owned()) {
            state.order.push_back(name.to_owned());
        }
        if state.order.len() > REMEMBERED
            && let Some(oldest) = state.order.pop_front()
        {
            state.recalled.remove(&oldest);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
