//! What a scheduler measures of what is not its own doing: the partitions it leads, what waits in the queues of the
//! cluster, and news that it had to drop.
//!
//! Counting of runs and calls happens where they happen. Queues are asked for on a beat, one short request each, so that
//! a scrape waits for nobody; every scheduler shows the same of them.

use std::collections::BTreeSet;
use std::time::Duration;

use longshore_backend::nats::Nats;
use longshore_proto::Partition;
use metrics::{counter, gauge};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How often: as often as metrics are usually collected.
const BEAT: Duration = Duration::from_secs(15);

/// Keeps the number of partitions that are led in the metrics.
pub(super) async fn led(mut led: watch::Receiver<BTreeSet<Partition>>, stop: CancellationToken) {
    let counting = async {
        loop {
            let count = led.borrow_and_update().len();
            gauge!("longshore_partitions_led").set(u32::try_from(count).unwrap_or(u32::MAX));
            if led.changed().await.is_err() {
                return stop.cancelled().await;
            }
        }
    };
    let _ = stop.run_until_cancelled(counting).await;
}

/// Keeps what waits and what was dropped in the metrics.
pub(super) async fn waiting(nats: Nats, stop: CancellationToken) {
    let events = nats.events();
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let measuring = async {
        loop {
            beat.tick().await;
            counter!("longshore_news_dropped_total").absolute(events.dropped());
            measure(&nats).await;
        }
    };
    let _ = stop.run_until_cancelled(measuring).await;
}

/// Measures the queues. One that cannot be seen keeps what it showed last.
async fn measure(nats: &Nats) {
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
