//! What a scheduler measures of what is not its own doing: the partitions it leads, what waits in the queues of the
//! cluster, and news that it had to drop.
//!
//! Counting of runs and calls happens where they happen. Queues are asked for on a beat, so that a scrape waits for
//! nothing; every scheduler shows the same of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use longshore_nats::Nats;
use longshore_proto::Partition;
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::dependencies::Dependencies;
use super::report::checkpoint_age;

/// How often: as often as metrics are usually collected.
const BEAT: Duration = Duration::from_secs(15);

/// Keeps the partitions that are led in the metrics.
pub(super) async fn led(
    partitions: u16,
    mut led: watch::Receiver<BTreeSet<Partition>>,
    stop: CancellationToken,
) {
    gauge!("longshore_partitions").set(partitions);
    let counting = async {
        let mut before = BTreeSet::new();
        // It is shown from the start, so that its rate is known for the first change.
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
                // Not a number is left out of what is exported: another scheduler knows the age.
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

/// Keeps what waits and what was dropped in the metrics.
pub(super) async fn waiting(
    nats: Nats,
    led: watch::Receiver<BTreeSet<Partition>>,
    dependencies: Arc<Dependencies>,
    stop: CancellationToken,
) {
    let events = nats.events();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let measuring = async {
        let (mut shown, mut since) = (BTreeSet::new(), BTreeMap::new());
        loop {
            beat.tick().await;
            counter!("longshore_news_dropped_total").absolute(events.dropped());
            measure_checkpoints(&led.borrow().clone(), &mut since, &dependencies);
            measure_queues(&nats).await;
            measure_backlog(&nats, &mut shown).await;
        }
    };
    let counting = count_restored(nats.streams_restored());
    let _ = stop.run_until_cancelled(async { tokio::join!(measuring, counting) }).await;
}

/// Counts streams that were made again as soon as they are: an alert rests on it.
async fn count_restored(mut restored: watch::Receiver<u64>) {
    loop {
        counter!("longshore_streams_restored_total").absolute(*restored.borrow_and_update());
        if restored.changed().await.is_err() {
            return;
        }
    }
}

/// Measures the age of the checkpoints of the partitions that are led, whose leaderships began at these times.
///
/// A leader that could store nothing yet shows the time since it began to lead: otherwise the checkpoints of a store that
/// refuses all of them would have no age, and no alert would fire.
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

/// Measures the queues. One that cannot be seen keeps what it showed last.
async fn measure_queues(nats: &Nats) {
    match nats.queues().await {
        Ok(queues) => {
            for queue in queues {
                let labels = [("queue", queue.name)];
                let messages = u32::try_from(queue.messages).unwrap_or(u32::MAX);
                gauge!("longshore_queue_messages", &labels).set(messages);
                gauge!("longshore_queue_oldest_age_seconds", &labels).set(queue.oldest.as_secs_f64());
            }
        }
        Err(error) => debug!(%error, "queues not measured"),
    }
}

/// Measures the jobs of each server. A server that was shown and has no jobs any more is shown with zero.
async fn measure_backlog(nats: &Nats, shown: &mut BTreeSet<String>) {
    let backlog = match nats.backlog().await {
        Ok(backlog) => backlog,
        Err(error) => return debug!(%error, "the jobs of servers are not measured"),
    };
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
}
