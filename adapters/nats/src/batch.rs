//! The choice between single messages and atomic batches for large groups of messages.
//!
//! Which of them costs less depends on `sync_interval` of the server, which a client cannot read. Measured on two busy
//! cores with nats-server 2.15.1 and messages of 512 bytes, in messages a second:
//!
//! | | single, 32 in flight | 1,000 in flight | batches of 32 | of 100 | of 1,000 |
//! |---|---|---|---|---|---|
//! | `sync_interval` by default | 100,800 | 144,800 | 1,900 | 4,900 | 33,900 |
//! | `sync_interval: always` | 700 | 600 | 1,200 | 6,300 | 30,400 |
//!
//! A batch always costs a commit with an fsync. A single message costs an fsync only with `always` on a stream of one
//! replica. With [`BatchSetting::Auto`] the first large groups of a connection go in turns as single messages and as
//! batches, until there are [`SAMPLES`] of each; then the kind with the lower median is used until the connection is
//! lost. Nothing is published for the measurement alone, because no user of `deploy/nats` may remove what it would
//! leave behind.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tracing::info;

/// Messages of the smallest group that may go as a batch, and that is measured. The time of a smaller one is mostly
/// that of the way to the server.
const LEAST_MESSAGES: usize = 32;

/// Measured groups of each kind. The median counts, so that one stall decides nothing.
const SAMPLES: usize = 3;

/// Measured groups that may fail, because the server refuses a message or a batch, before single messages are chosen.
const MOST_FAILED: usize = 8;

/// The setting `nats.batch`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchSetting {
    /// A measurement of the first large groups decides.
    #[default]
    Auto,
    /// Large groups go as atomic batches.
    Always,
    /// All messages go one by one.
    Never,
}

/// The use of atomic batches by a process.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BatchStatus {
    /// The setting of the process.
    pub setting: BatchSetting,
    /// True if large groups of jobs go as atomic batches. `None` while the measurement is not complete.
    pub used: Option<bool>,
}

/// The form in which a group of messages goes to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PublishMode {
    /// Single messages, pipelined.
    Pipelined,
    /// One atomic batch.
    AtomicBatch,
}

/// The choice of one sender, and the measurements that it follows from.
pub(crate) struct BatchChoice {
    setting: BatchSetting,
    /// The value of [`BatchStatus::used`].
    used: watch::Sender<Option<bool>>,
    /// Time for each message of the measured groups that went as single messages.
    pipelined: Vec<Duration>,
    /// Time for each message of the measured groups that went as batches.
    batched: Vec<Duration>,
    failed: usize,
}

impl BatchChoice {
    /// Returns the choice that follows from a setting alone.
    pub(crate) fn new(setting: BatchSetting) -> Self {
        let used = watch::Sender::new(fixed(setting));
        Self { setting, used, pipelined: Vec::new(), batched: Vec::new(), failed: 0 }
    }

    /// Returns a receiver of [`BatchStatus::used`].
    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<bool>> {
        self.used.subscribe()
    }

    /// Returns true if a group of `count` messages should be measured.
    pub(crate) fn needs_sample(&self, count: usize) -> bool {
        count >= LEAST_MESSAGES && self.used.borrow().is_none()
    }

    /// Returns the mode of a group that is measured.
    pub(crate) const fn sample_mode(&self) -> PublishMode {
        if self.pipelined.len() <= self.batched.len() {
            PublishMode::Pipelined
        } else {
            PublishMode::AtomicBatch
        }
    }

    /// Returns the mode of a group of `count` messages that is not measured.
    pub(crate) fn mode(&self, count: usize) -> PublishMode {
        match *self.used.borrow() {
            Some(true) if count >= LEAST_MESSAGES => PublishMode::AtomicBatch,
            _ => PublishMode::Pipelined,
        }
    }

    /// Records the time that the server took for a measured group. `None` if it did not store all of it at once.
    pub(crate) fn record(&mut self, mode: PublishMode, count: usize, elapsed: Option<Duration>) {
        let per_message = elapsed.map(|elapsed| elapsed / u32::try_from(count).unwrap_or(u32::MAX));
        match (per_message, mode) {
            (None, _) => self.failed += 1,
            (Some(time), PublishMode::Pipelined) => self.pipelined.push(time),
            (Some(time), PublishMode::AtomicBatch) => self.batched.push(time),
        }
        let is_complete = self.pipelined.len() >= SAMPLES && self.batched.len() >= SAMPLES;
        if self.used.borrow().is_none() && (is_complete || self.failed >= MOST_FAILED) {
            self.decide();
        }
    }

    fn decide(&mut self) {
        let (single, batch) = (median(&mut self.pipelined), median(&mut self.batched));
        let is_cheaper = single.zip(batch).is_some_and(|(single, batch)| batch < single);
        let micros = |time: Option<Duration>| time.map(|time| time.as_micros());
        info!(
            used = is_cheaper,
            single_us = micros(single),
            batch_us = micros(batch),
            failed = self.failed,
            "decided by measurement whether large groups of jobs go to NATS as atomic batches; times are for each message"
        );
        self.used.send_replace(Some(is_cheaper));
    }

    /// Forgets a measured choice after a reconnect, because the server may have other settings now.
    pub(crate) fn reset(&mut self) {
        let Self { setting, used, pipelined, batched, failed } = self;
        used.send_replace(fixed(*setting));
        pipelined.clear();
        batched.clear();
        *failed = 0;
    }
}

const fn fixed(setting: BatchSetting) -> Option<bool> {
    match setting {
        BatchSetting::Auto => None,
        BatchSetting::Always => Some(true),
        BatchSetting::Never => Some(false),
    }
}

fn median(times: &mut [Duration]) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Publishes groups of 200 until the choice is made, each of which takes `factor` times its cost. Returns the
    /// number of groups and the decision.
    fn measure(single: u64, batch: u64, factor: impl Fn(usize) -> u32) -> (usize, Option<bool>) {
        let mut choice = BatchChoice::new(BatchSetting::Auto);
        let mut groups = 0;
        while choice.needs_sample(200) && groups < 100 {
            let mode = choice.sample_mode();
            let elapsed = match mode {
                PublishMode::Pipelined => Duration::from_micros(single) * 200,
                PublishMode::AtomicBatch => Duration::from_micros(batch),
            };
            choice.record(mode, 200, Some(elapsed * factor(groups)));
            groups += 1;
        }
        let used = *choice.subscribe().borrow();
        (groups, used)
    }

    #[test]
    fn cheaper_kind_is_chosen_after_six_groups() {
        assert_eq!(measure(10, 8_000, |_| 1), (6, Some(false)), "`sync_interval` by default");
        assert_eq!(measure(1_000, 10_000, |_| 1), (6, Some(true)), "`sync_interval: always`");
    }

    #[test]
    fn one_stall_of_the_server_decides_nothing() {
        for slow in 0..6 {
            let factor = |group| if group == slow { 50 } else { 1 };
            assert_eq!(measure(10, 8_000, factor), (6, Some(false)), "group {slow} is slow");
            assert_eq!(measure(1_000, 10_000, factor), (6, Some(true)), "group {slow} is slow");
        }
    }

    #[test]
    fn small_groups_are_neither_measured_nor_batched() {
        assert!(!BatchChoice::new(BatchSetting::Auto).needs_sample(LEAST_MESSAGES - 1));
        let choice = BatchChoice::new(BatchSetting::Always);
        assert_eq!(choice.mode(LEAST_MESSAGES - 1), PublishMode::Pipelined);
        assert_eq!(choice.mode(LEAST_MESSAGES), PublishMode::AtomicBatch);
        assert_eq!(BatchChoice::new(BatchSetting::Never).mode(1_000), PublishMode::Pipelined);
    }

    #[test]
    fn server_that_refuses_batches_gets_single_messages() {
        let mut choice = BatchChoice::new(BatchSetting::Auto);
        choice.record(PublishMode::Pipelined, 200, Some(Duration::from_millis(200)));
        for _ in 0..MOST_FAILED {
            assert!(choice.needs_sample(200));
            assert_eq!(choice.sample_mode(), PublishMode::AtomicBatch);
            choice.record(PublishMode::AtomicBatch, 200, None);
        }
        assert_eq!((choice.needs_sample(200), *choice.subscribe().borrow()), (false, Some(false)));
    }

    #[test]
    fn reconnect_measures_again_unless_the_setting_decides() {
        let mut auto = BatchChoice::new(BatchSetting::Auto);
        (0..MOST_FAILED).for_each(|_| auto.record(PublishMode::AtomicBatch, 200, None));
        auto.reset();
        assert!(auto.needs_sample(200));
        let mut always = BatchChoice::new(BatchSetting::Always);
        always.reset();
        assert_eq!((always.needs_sample(200), always.mode(200)), (false, PublishMode::AtomicBatch));
    }
}
