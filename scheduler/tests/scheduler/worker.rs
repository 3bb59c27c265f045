//! The part of a worker: takes jobs of the server `s` from the queue, and reports their outcomes.

use std::num::NonZeroUsize;
use std::time::Duration;

use longshore_ports::{Backend, Delivery};
use longshore_proto::{AttemptRecord, Event, JobId, Outcome, Output, Payload, Sent, Settlement, Timestamp};

/// Far longer than any step of a test takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

/// Takes a job.
pub(crate) async fn pull(backend: &Backend) -> Delivery {
    let server = "s".parse().expect("a server");
    let pulled = backend.jobs.pull(&server, NonZeroUsize::MIN, LIMIT).await.expect("pulls");
    pulled.into_iter().next().expect("a job within the limit")
}

/// Returns the report on a job that was called once.
pub(crate) fn settled(job: JobId, settlement: Settlement) -> Event {
    let attempt = AttemptRecord {
        number: job.attempt,
        started_at: Timestamp::from_millis(1),
        took: Duration::from_millis(1),
        fault: None,
        sent: Sent::Answered,
        worker: None,
        process: None,
        masked: Vec::new(),
        rounded: None,
    };
    Event::Settled {
        job,
        settlement,
        attempts: vec![attempt],
        worker: "worker".parse().expect("a node"),
        unreported: false,
        unreported_worker: None,
    }
}

/// Returns the settlement of a call that succeeded.
pub(crate) fn output(value: impl Into<Payload>) -> Settlement {
    Settlement::Done(Outcome::Output(Output { value: value.into(), content: None }))
}
