//! Gauges of a scheduler: the partitions that it leads, the queues of the cluster, and dropped run updates.
//!
//! Runs and calls are counted where they happen. Queues are measured periodically, so that a scrape does not wait for them.
//! Every scheduler measures the same queues.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use longshore_nats::{Backlog, Nats, RestoredStreams, StreamKind};
use longshore_proto::Partition;
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::dependencies::Dependencies;
use super::report::checkpoint_age;

/// Interval of the measurements, the usual interval of metrics collection.
const MEASURE_INTERVAL: Duration = Duration::from_secs(15);

/// Exports the partitions that this scheduler leads.
pub(super) async fn led(
    partitions: u16,
    mut led: watch::Receiver<BTreeSet<Partition>>,
    stop: CancellationToken,
) {
    gauge!("longshore_partitions").set(partitions);
    let counting = async {
        let mut before = BTreeSet::new();
        // The counter is exported from the start, so that the rate of the first change is known.
        counter!("longshore_leader_changes_total").increment(0);
        loop {
            let now = led.borrow_and_update().clone();
            gauge!("longshore_partitions_led").set(u32::try_from(now.len()).unwrap_or(u32::MAX));
            for partition in now.difference(&before) {
                counter!("longshore_leader_changes_total").increment(1);
                gauge!("longshore_partition_led", "partition" => partition.to_string()).set(1);
            }
            for partition in before.difference(&now) {
                gauge!("longshore_partition_led", "partition" => partition.to_string()).set(0);
                // NaN is not exported: another scheduler leads the partition and exports the age.
                let labels = [("partition", partition.to_string())];
                gauge!("longshore_checkpoint_age_seconds", &labels).set(f64::NAN);
            }
            before = now;
            if led.changed().await.is_err() {
                return stop.cancelled().await;
            }
        }
    };
    let _ = stop.run_until_cancelled(counting).await;
}

/// Exports the queues, the ages of checkpoints, and the number of dropped run updates.
pub(super) async fn waiting(
    nats: Nats,
    led: watch::Receiver<BTreeSet<Partition>>,
    dependencies: Arc<Dependencies>,
    stop: CancellationToken,
) {
    let events = nats.events();
    let mut ticks = interval(MEASURE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let measuring = async {
        let (mut shown, mut since) = (BTreeSet::new(), BTreeMap::new());
        loop {
            ticks.tick().await;
            counter!("longshore_run_updates_dropped_total").absolute(events.dropped());
            measure_checkpoints(&led.borrow().clone(), &mut since, &dependencies);
            measure_submits(&nats).await;
            measure_jobs(&nats, &mut shown).await;
        }
    };
    let counting = count_restored(nats.streams_restored());
    let forgetting = forget_checkpoints(led.clone(), &dependencies);
    let _ = stop.run_until_cancelled(async { tokio::join!(measuring, counting, forgetting) }).await;
}

/// Forgets the failed checkpoints of partitions that this process no longer leads: their new leaders store them.
async fn forget_checkpoints(mut led: watch::Receiver<BTreeSet<Partition>>, dependencies: &Dependencies) {
    let mut before = led.borrow_and_update().clone();
    while led.changed().await.is_ok() {
        let now = led.borrow_and_update().clone();
        for partition in before.difference(&now) {
            if let Some(checkpoints) = dependencies.checkpoints.get(usize::from(partition.0)) {
                checkpoints.forget_failures();
            }
        }
        before = now;
    }
}

/// Counts restored streams immediately, because an alert depends on it.
async fn count_restored(mut restored: watch::Receiver<RestoredStreams>) {
    loop {
        let counts = restored.borrow_and_update().clone();
        for kind in StreamKind::ALL {
            let count = counts.get(&kind).copied().unwrap_or_default();
            counter!("longshore_streams_restored_total", "stream" => kind.as_str()).absolute(count);
        }
        if restored.changed().await.is_err() {
            return;
        }
    }
}

/// Measures the age of the checkpoints of led partitions. `since` has the start of each leadership.
///
/// Without a stored checkpoint, the age is the time since the leadership began. Otherwise a store that refuses all
/// checkpoints would cause no alert.
fn measure_checkpoints(
    led: &BTreeSet<Partition>,
    since: &mut BTreeMap<Partition, Instant>,
    dependencies: &Dependencies,
) {
    since.retain(|partition, _| led.contains(partition));
    for partition in led {
        let began = *since.entry(*partition).or_insert_with(Instant::now);
        let leading = Instant::now().duration_since(began);
        let age = checkpoint_age(dependencies, *partition).map_or(leading, |age| age.min(leading));
        let labels = [("partition", partition.to_string())];
        gauge!("longshore_checkpoint_age_seconds", &labels).set(age.as_secs_f64());
    }
}

/// Measures the published submits. If they cannot be read, they keep their last values.
async fn measure_submits(nats: &Nats) {
    match nats.waiting_submits().await {
        Ok(submits) => show_queue("submits", submits.count, submits.oldest),
        Err(error) => debug!(%error, "cannot measure submits; keeping their last values"),
    }
}

fn show_queue(name: &'static str, messages: u64, oldest: Duration) {
    let labels = [("queue", name)];
    gauge!("longshore_queue_messages", &labels).set(u32::try_from(messages).unwrap_or(u32::MAX));
    gauge!("longshore_queue_oldest_age_seconds", &labels).set(oldest.as_secs_f64());
}

/// Measures the jobs, of all servers and of each. A server without jobs is exported with zero if it had jobs before.
async fn measure_jobs(nats: &Nats, shown: &mut BTreeSet<String>) {
    let backlog = match nats.backlog().await {
        Ok(backlog) => backlog,
        Err(error) => return debug!(%error, "cannot measure jobs; keeping their last values"),
    };
    show_queue("jobs", backlog.jobs(), backlog.oldest());
    let show = |server: &str, jobs: u64, oldest: Duration| {
        let labels = [("server", server.to_owned())];
        gauge!("longshore_server_jobs", &labels).set(u32::try_from(jobs).unwrap_or(u32::MAX));
        gauge!("longshore_server_oldest_job_age_seconds", &labels).set(oldest.as_secs_f64());
    };
    let now: BTreeSet<String> = backlog.servers.iter().map(|server| server.server.clone()).collect();
    for server in shown.difference(&now) {
        show(server, 0, Duration::ZERO);
    }
    for server in &backlog.servers {
        show(&server.server, server.jobs, server.oldest);
    }
    *shown = now;
    remove_acknowledged(nats, &backlog).await;
}

/// Removes the messages of jobs that a nats-server has kept although they were acknowledged. Such a job could not be queued again.
async fn remove_acknowledged(nats: &Nats, backlog: &Backlog) {
    match nats.remove_acknowledged_jobs(backlog).await {
        Ok(0) => {}
        Ok(removed) => info!(removed, "removed messages of acknowledged jobs that NATS had kept"),
        Err(error) => {
            warn!(%error, "cannot remove messages of acknowledged jobs that NATS has kept; trying again")
        }
    }
}
