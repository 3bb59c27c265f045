//! A scheduler among others: which partitions it leads, and for how long.
//!
//! ```text
//!   every beat:  attend ──► live schedulers ──► share ──► hold leases ──► take over, lead │ stop, release
//! ```
//!
//! The lease only says who should try; who leads is what the log says, and [`Driver`] keeps to that. So a lease that is
//! held twice for a moment, or a list of schedulers that is out of date, costs double work and nothing else. And so whoever
//! leads goes on when the store of leases is away, until the log names somebody else; only to begin takes a lease that is
//! fresh. Each partition is led by a task of its own: one that breaks is tried again, and takes no other down.

mod assignment;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use longshore_machine::Retention;
use longshore_ports::{Backend, Lease, outage};
use longshore_proto::{NodeId, Partition};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::driver::{Driver, Ended};
use crate::fold::DriverError;
use crate::observer::Observer;
use crate::pace::Pace;
use place::Place;

/// Beats in a lifetime: one that is late or lost changes nothing.
const BEATS: u32 = 3;

/// How often a lease is asked for that somebody else still holds: what a partition waits when it changes hands in order.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// How long drivers may take to end with a last checkpoint. Shorter than the leases last.
const DRAIN: Duration = Duration::from_secs(5);

/// What fails while the store of leases is away, for the log.
const LIST_SCHEDULERS: &str = "list live schedulers";

/// How partitions are shared.
#[derive(Clone, Copy, Debug)]
pub struct NodeConfig {
    /// How many partitions there are, the same for everybody.
    pub partitions: u16,
    /// How long a lease, and the word that a scheduler is there, last without being renewed. Both are renewed three
    /// times as often. Whoever takes over from a scheduler that was killed begins within this and a third more.
    pub ttl: Duration,
    /// Which finished runs are kept in all partitions together, the same for everybody.
    pub retention: Retention,
}

impl Default for NodeConfig {
    /// 8 partitions: enough for as many schedulers, and few enough streams for a small broker. 6 seconds: longer than
    /// a pause of a busy machine, short enough for whoever waits for a run.
    fn default() -> Self {
        Self { partitions: 8, ttl: Duration::from_secs(6), retention: Retention::default() }
    }
}

/// The core of a scheduler process.
pub struct Node {
    shared: Arc<Shared>,
    lease: Arc<dyn Lease>,
    config: NodeConfig,
    wanted: BTreeSet<Partition>,
    places: BTreeMap<Partition, Place>,
    tasks: JoinSet<Result<Ended, DriverError>>,
    next_beat: Instant,
    /// Whether the store of leases answered at the last beat.
    answered: bool,
}

/// What every task that leads needs.
struct Shared {
    backend: Backend,
    id: NodeId,
    observer: Arc<dyn Observer>,
    led: watch::Sender<BTreeSet<Partition>>,
    /// Which finished runs are kept in each partition.
    retention: Retention,
    pace: Pace,
}

impl Node {
    /// A scheduler called `id`, for its share of the partitions.
    pub fn new(
        backend: Backend,
        lease: Arc<dyn Lease>,
        id: NodeId,
        config: NodeConfig,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let led = watch::Sender::default();
        let retention = config.retention.share(config.partitions);
        Self {
            shared: Arc::new(Shared { backend, id, observer, led, retention, pace: Pace::default() }),
            lease,
            config,
            wanted: BTreeSet::new(),
            places: (0..config.partitions).map(|number| (Partition(number), Place::new())).collect(),
            tasks: JoinSet::new(),
            next_beat: Instant::now(),
            answered: false,
        }
    }

    /// How fast submits may be taken in by this process.
    pub fn pace(&self) -> Pace {
        self.shared.pace.clone()
    }

    /// The partitions that are led right now.
    pub fn led(&self) -> watch::Receiver<BTreeSet<Partition>> {
        self.shared.led.subscribe()
    }

    /// Leads its share until `stop`, then ends in order: last checkpoints, leases released. That takes a few seconds at
    /// most.
    pub async fn run(mut self, stop: CancellationToken) {
        info!(node = %self.shared.id, partitions = self.config.partitions, "scheduler started");
        loop {
            let wake = self.wake_at();
            tokio::select! { biased;
                () = stop.cancelled() => break,
                Some(ended) = self.tasks.join_next_with_id() => self.note(ended),
                // Being stopped in between loses nothing: what was asked for ends with its time.
                () = sleep_until(wake) => drop(stop.run_until_cancelled(self.go_on()).await),
            }
        }
        self.end().await;
    }

    fn beat(&self) -> Duration {
        self.config.ttl / BEATS
    }

    /// When there is something to do: sooner than the next beat if a partition waits.
    fn wake_at(&self) -> Instant {
        let waits =
            self.wanted.iter().any(|partition| self.places.get(partition).is_some_and(|p| !p.is_led()));
        let leaves = self.places.iter().any(|(partition, place)| self.is_over(*partition, place));
        if self.answered && (waits || leaves) {
            self.next_beat.min(Instant::now() + ASK_AGAIN)
        } else {
            self.next_beat
        }
    }

    /// Whether a lease is still held for nothing.
    fn is_over(&self, partition: Partition, place: &Place) -> bool {
        place.renewed.is_some() && !place.is_led() && !self.wanted.contains(&partition)
    }

    /// Brings every partition nearer to where it should be.
    async fn go_on(&mut self) {
        let is_beat = Instant::now() >= self.next_beat;
        if is_beat {
            self.next_beat = Instant::now() + self.beat();
            self.attend().await;
        }
        self.hold(is_beat).await;
        self.let_go().await;
        self.begin();
    }

    /// Says that it is there, and learns who else is.
    async fn attend(&mut self) {
        let Shared { id, .. } = &*self.shared;
        let live = asked(self.beat(), self.lease.announce_scheduler(id, self.config.ttl)).await;
        let was_away = !std::mem::replace(&mut self.answered, live.is_ok()) && !self.wanted.is_empty();
        match live {
            Ok(_) if was_away => {
                outage::record_success(LIST_SCHEDULERS);
                info!("the list of schedulers is back; within a beat all are on it again");
            }
            Ok(live) => {
                let share = assignment::share(&live, id, self.config.partitions);
                if share != self.wanted {
                    info!(node = %id, live = live.len(), share = share.len(), "its share has changed");
                    self.wanted = share;
                }
            }
            Err(error) if outage::record_failure(LIST_SCHEDULERS) => {
                warn!(%error, "cannot list live schedulers; keeping the current share");
            }
            Err(error) => debug!(%error, "cannot list live schedulers"),
        }
    }

    /// Asks for the leases that are wanted, and at a beat renews those that are held.
    async fn hold(&mut self, is_beat: bool) {
        let is_due = |partition: &Partition, place: &Place| match place.renewed {
            None => self.wanted.contains(partition),
            Some(_) => is_beat && !self.is_over(*partition, place),
        };
        let due: Vec<Partition> = self
            .places
            .iter()
            .filter(|(partition, place)| is_due(partition, place))
            .map(|(p, _)| *p)
            .collect();
        let (lease, id, ttl, beat) = (&self.lease, &self.shared.id, self.config.ttl, self.beat());
        let asked_at = Instant::now();
        let answers =
            join_all(due.iter().map(|partition| asked(beat, lease.hold(*partition, id, ttl)))).await;
        for (partition, answer) in due.into_iter().zip(answers) {
            let Some(place) = self.places.get_mut(&partition) else { continue };
            match answer {
                Ok(true) => place.renewed = Some(asked_at),
                Ok(false) if place.renewed.is_some() => {
                    warn!(%partition, "its lease is somebody else's now");
                    place.lose();
                }
                Ok(false) => {}
                Err(error) if place.turns_stale(ttl) => {
                    warn!(%partition, %error, "its lease has run out; leading on until the log names another leader");
                }
                Err(error) => debug!(%partition, %error, "lease not renewed"),
            }
        }
    }

    /// Stops leading what is not wanted, and releases what is no longer led.
    async fn let_go(&mut self) {
        for (partition, place) in &self.places {
            if !self.wanted.contains(partition) {
                place.stop();
            }
        }
        let over: Vec<Partition> =
            self.places.iter().filter(|(p, place)| self.is_over(**p, place)).map(|(p, _)| *p).collect();
        self.release(&over).await;
    }

    /// Releases leases. One that is not, ends with its time.
    async fn release(&mut self, over: &[Partition]) {
        let (lease, id, beat) = (&self.lease, &self.shared.id, self.beat());
        let released =
            join_all(over.iter().map(|partition| asked(beat, lease.release(*partition, id)))).await;
        for (partition, released) in over.iter().zip(released) {
            if let Err(error) = released {
                warn!(%partition, %error, "lease not released");
            }
            if let Some(place) = self.places.get_mut(partition) {
                place.renewed = None;
            }
        }
    }

    /// Takes over what is wanted and free.
    fn begin(&mut self) {
        let ttl = self.config.ttl;
        for partition in &self.wanted {
            let Some(place) = self.places.get_mut(partition).filter(|place| place.is_free(ttl)) else {
                continue;
            };
            let stop = CancellationToken::new();
            let task = self.tasks.spawn(lead(Arc::clone(&self.shared), *partition, stop.clone()));
            place.led_by(task, stop);
        }
    }

    /// A task has ended.
    fn note(&mut self, ended: Result<(Id, Result<Ended, DriverError>), JoinError>) {
        let (id, how) = match ended {
            Ok((id, Ok(ended))) => (id, format!("{ended:?}")),
            Ok((id, Err(error))) => (id, error.to_string()),
            Err(error) => (error.id(), error.to_string()),
        };
        let Some((partition, place)) = self.places.iter_mut().find(|(_, place)| place.is_task(id)) else {
            return;
        };
        if let Some(pause) = place.ended() {
            warn!(%partition, how, ?pause, "no longer leading; trying again");
        }
    }

    /// Ends in order, within [`DRAIN`] and what the leases take.
    async fn end(mut self) {
        self.places.values().for_each(Place::stop);
        let drained = timeout(DRAIN, async { while self.tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            warn!("last checkpoints not written in time; whoever takes over replays a little more");
            self.tasks.shutdown().await;
        }
        let held: Vec<Partition> =
            self.places.iter().filter(|(_, place)| place.renewed.is_some()).map(|(p, _)| *p).collect();
        self.release(&held).await;
        if let Err(error) = asked(self.beat(), self.lease.withdraw_scheduler(&self.shared.id)).await {
            warn!(%error, "others are not told that this scheduler is going");
        }
        info!(node = %self.shared.id, "scheduler stopped");
    }
}

/// Takes a partition over and leads it.
async fn lead(
    shared: Arc<Shared>,
    partition: Partition,
    stop: CancellationToken,
) -> Result<Ended, DriverError> {
    let (backend, observer) = (shared.backend.clone(), Arc::clone(&shared.observer));
    let taking_over = Driver::take_over(backend, partition, shared.id.clone(), observer, shared.retention);
    let Some(driver) = stop.run_until_cancelled(taking_over).await else { return Ok(Ended::Stopped) };
    let mut driver = driver?;
    driver.count_in(&shared.pace);
    let _led = Led::new(&shared.led, partition);
    driver.lead(stop).await
}

/// Counts a partition as led for as long as it lives, however its task ends.
struct Led<'a> {
    led: &'a watch::Sender<BTreeSet<Partition>>,
    partition: Partition,
}

impl<'a> Led<'a> {
    fn new(led: &'a watch::Sender<BTreeSet<Partition>>, partition: Partition) -> Self {
        led.send_modify(|led| _ = led.insert(partition));
        Self { led, partition }
    }
}

impl Drop for Led<'_> {
    fn drop(&mut self) {
        self.led.send_modify(|led| _ = led.remove(&self.partition));
    }
}

/// Asks the store of leases, which answers within a beat or not at all.
async fn asked<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, longshore_ports::Error>>,
) -> Result<T, longshore_ports::Error> {
    let late = |error| Err(longshore_ports::Error::transient("ask for a lease", error));
    timeout(limit, answer).await.unwrap_or_else(late)
}
