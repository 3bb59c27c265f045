//! The request for a grant of calls that are not safe to repeat.
//!
//! The request is an event of the log, and the leader answers with a message that may be lost. So the request is repeated until
//! an answer arrives; a repeated one has the same answer.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::Duration;

use longshore_attempt::Input;
use longshore_ports::Error;
use longshore_proto::{Event, GrantDecision};
use tokio::time::timeout;
use tracing::warn;

use super::job_task::JobTask;
use super::retry::retry;

/// First wait for an answer. It takes some milliseconds if the partition has a leader.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// Longest wait for an answer. A partition without a leader costs each waiting job an event of 130 bytes in this time, so a hundred
/// of them a second at most; an answer that was lost is missed for no longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

impl JobTask<'_> {
    /// Asks for a grant until it is decided.
    pub(super) async fn request_grant(&self) -> Result<Input, Error> {
        let jobs = &self.context.backend.jobs;
        let mut waiter = retry("wait for grants", || jobs.grant_waiter(self.id)).await?;
        let mut wait = FIRST_WAIT;
        loop {
            self.append_starting().await?;
            match timeout(wait, waiter.decision()).await {
                Ok(decision) => {
                    self.is_granted.store(decision == GrantDecision::Granted, Ordering::Relaxed);
                    if decision == GrantDecision::Denied {
                        warn!(
                            run = %self.job.id.run, step = %self.job.id.step,
                            "the leader denied a call: another delivery of the job was granted, or the step has ended; not making the call"
                        );
                    }
                    return Ok(Input::Decided(decision));
                }
                Err(_elapsed) => {
                    warn!(run = %self.job.id.run, step = %self.job.id.step, "no leader has decided about a call yet; asking again");
                    wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// Shows that this worker lives, whenever the queue may have delivered the job to another one, which would put the granted
    /// call in doubt. A failed append shows nothing, and the next late beat repeats it.
    pub(super) async fn keep_grant(&self) -> Infallible {
        loop {
            self.heartbeat.late_beat().await;
            if self.is_granted.load(Ordering::Relaxed)
                && let Err(error) = self.append_starting().await
            {
                warn!(%error, "cannot keep the grant of a call; its outcome may become indeterminate");
            }
        }
    }

    /// Appends that this delivery is about to make the calls, or still makes them.
    pub(super) async fn append_starting(&self) -> Result<(), Error> {
        let event = Event::Starting { job: self.job.id.clone(), delivery: self.id.clone() };
        self.append("ask for a grant", event).await
    }

    /// Appends that this delivery made no call.
    pub(super) async fn return_grant(&self) -> Result<Input, Error> {
        self.is_granted.store(false, Ordering::Relaxed);
        let event = Event::Returned { job: self.job.id.clone(), delivery: self.id.clone() };
        self.append("return a grant", event).await?;
        Ok(Input::GrantReturned)
    }

    async fn append(&self, action: &str, event: Event) -> Result<(), Error> {
        let (log, partition) = (&self.context.backend.log, self.job.id.run.partition());
        retry(action, || log.append(partition, std::slice::from_ref(&event))).await?;
        Ok(())
    }
}
