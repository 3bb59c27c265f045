//! Takeovers of partitions that fail, as failures of a dependency: readiness, metrics and `longshore doctor` show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_proto::Partition;
use longshore_scheduler::PendingTakeovers;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::dependencies::Dependencies;
use super::dependency::Dependency;

/// Records the takeovers that fail, until `stop`.
pub(super) async fn record(
    mut takeovers: watch::Receiver<PendingTakeovers>,
    dependencies: Arc<Dependencies>,
    stop: CancellationToken,
) {
    let recording = async {
        let mut failures = BTreeMap::new();
        loop {
            let pending = takeovers.borrow_and_update().clone();
            for (number, dependency) in (0..).zip(&dependencies.takeovers) {
                record_one(dependency, Partition(number), &pending, &mut failures);
            }
            if takeovers.changed().await.is_err() {
                return stop.cancelled().await;
            }
        }
    };
    let _ = stop.run_until_cancelled(recording).await;
}

/// Records the state of one takeover. `failures` has the number of its failures that are recorded.
fn record_one(
    dependency: &Dependency,
    partition: Partition,
    pending: &PendingTakeovers,
    failures: &mut BTreeMap<Partition, u32>,
) {
    let Some(takeover) = pending.get(&partition) else {
        failures.remove(&partition);
        return dependency.succeeded();
    };
    let recorded = failures.insert(partition, takeover.failures).unwrap_or_default();
    if let Some((reason, cause)) = &takeover.failure
        && takeover.failures > recorded
    {
        dependency.count_failure(cause.as_str());
        dependency.failed(reason);
    }
}
