//! Grants: answers of the leader to workers that are about to make a call that is not safe to repeat.

use serde::{Deserialize, Serialize};

use crate::{DeliveryId, JobId};

/// The decision about one [`Event::Starting`](crate::Event::Starting). It follows from the log alone: a leader that repeats it
/// repeats the same answer.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grant {
    /// The job.
    pub job: JobId,
    /// The delivery that asked.
    pub delivery: DeliveryId,
    /// The answer.
    pub decision: GrantDecision,
}

/// The answer to a delivery that asked for a grant.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantDecision {
    /// The delivery makes the calls of the job, and no other one does.
    Granted,
    /// The delivery makes no call, and the job needs no report from it: the job was settled or cancelled, or another delivery
    /// was granted.
    Denied,
}
