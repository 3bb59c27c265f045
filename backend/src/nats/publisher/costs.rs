//! Which way is cheaper: one by one, or as an atomic batch.
//!
//! That depends on a setting that a client cannot see. Measured on two busy cores with nats-server 2.15.1 and messages
//! of 512 bytes, in messages a second:
//!
//! | | one by one, 32 in flight | 1,000 in flight | batches of 32 | of 100 | of 1,000 |
//! |---|---|---|---|---|---|
//! | `sync_interval` by default | 100,800 | 144,800 | 1,900 | 4,900 | 33,900 |
//! | `sync_interval: always` | 700 | 600 | 1,200 | 6,300 | 30,400 |
//!
//! A batch always costs a commit and its fsync, whatever the setting; a single message costs one only with `always` on
//! a stream of one replica. So both costs are watched, and each group goes the way that was cheaper of late.

use std::collections::VecDeque;
use std::time::Duration;

/// How many measurements are remembered of each way. The least of them counts: one slow answer means that the machine
/// was busy, and eight mean that this is what it costs.
const REMEMBERED: usize = 8;

/// Smaller groups tell more of the way to the server than of its work.
const TELLING: usize = 8;

/// What a batch is taken to cost until one was measured.
const BATCH_GUESS: Duration = Duration::from_millis(20);

/// By how much the cost of single messages fades with every batch, in thousandths, so that they are tried again now
/// and then: after some thousand batches.
const FADING: u32 = 2;

/// How messages go to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Singly,
    AsBatch,
}

/// What publishing has cost of late.
#[derive(Debug, Default)]
pub(super) struct Costs {
    /// For each message.
    single: VecDeque<Duration>,
    /// For each batch.
    batch: VecDeque<Duration>,
}

impl Costs {
    /// The way for a group of messages.
    pub(super) fn way(&self, count: usize) -> Way {
        let single = self.single.iter().min().copied().unwrap_or_default();
        let batch = self.batch.iter().min().copied().unwrap_or(BATCH_GUESS);
        let singly = single.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
        if count >= TELLING && singly > batch { Way::AsBatch } else { Way::Singly }
    }

    /// A group was stored.
    pub(super) fn learn(&mut self, way: Way, count: usize, took: Duration) {
        match way {
            Way::Singly if count < TELLING => {}
            Way::Singly => remember(&mut self.single, took / u32::try_from(count).unwrap_or(u32::MAX)),
            Way::AsBatch => {
                remember(&mut self.batch, took);
                for cost in &mut self.single {
                    *cost = *cost * (1_000 - FADING) / 1_000;
                }
            }
        }
    }
}

fn remember(costs: &mut VecDeque<Duration>, cost: Duration) {
    costs.truncate(REMEMBERED - 1);
    costs.push_front(cost);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);
    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_not_known_goes_singly() {
        assert_eq!(Costs::default().way(1_000), Way::Singly);
    }

    #[test]
    fn cheap_messages_go_singly_even_after_a_stall() {
        let mut costs = Costs::default();
        costs.learn(Way::Singly, 100, 100 * 10 * MICRO);
        costs.learn(Way::Singly, 100, 900 * MILLI);
        assert_eq!(costs.way(1_000), Way::Singly);
    }

    #[test]
    fn when_every_message_costs_an_fsync_many_go_as_a_batch_and_few_do_not() {
        let mut costs = Costs::default();
        costs.learn(Way::Singly, 100, 100 * MILLI);
        costs.learn(Way::AsBatch, 100, 15 * MILLI);
        assert_eq!(costs.way(100), Way::AsBatch);
        assert_eq!(costs.way(10), Way::Singly);
    }

    #[test]
    fn single_messages_are_tried_again_some_day() {
        let mut costs = Costs::default();
        costs.learn(Way::Singly, 100, 100 * MILLI);
        let batches = (1..10_000).find(|_| {
            costs.learn(Way::AsBatch, 100, 15 * MILLI);
            costs.way(100) == Way::Singly
        });
        assert!(batches.is_some_and(|count| count > 500), "{batches:?}");
    }

    #[test]
    fn small_groups_teach_nothing() {
        let mut costs = Costs::default();
        costs.learn(Way::Singly, 1, 90 * MILLI);
        assert_eq!(costs.way(1_000), Way::Singly);
    }
}
