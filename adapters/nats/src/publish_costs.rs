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
//! a stream of one replica. What either costs at a moment depends even more on how busy the server is, so a cost is
//! compared only with one of the same moment: now and then some groups in a row go the other way, and if they do much
//! better than those right before them, it becomes the way. Each try that changes nothing makes the next one rarer. What
//! is found out about a server holds for all its streams, so a process has one of these.

use std::time::Duration;

/// Smaller groups go one by one: a batch costs as much as some of them do. Nor do they tell anything of the server's
/// work, because most of what they take is the way to the server.
const TELLING: usize = 16;

/// Groups in a row that go the other way for a try; the one in the middle counts, so that no stall decides.
const TRY: usize = 3;

/// How much better the other way has to be, in percent of the cost of the present one. The ways are at least three
/// times apart wherever it matters.
const BETTER_PERCENT: u128 = 60;

/// Telling groups between two tries: at first, and at most. With `always`, a try of messages one by one takes some
/// tenths of a second; once in ten thousand groups that is nothing.
const BETWEEN: (u32, u32) = (16, 65_536);

/// How messages go to the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Way {
    #[default]
    Singly,
    AsBatch,
}

impl Way {
    const fn other(self) -> Self {
        match self {
            Self::Singly => Self::AsBatch,
            Self::AsBatch => Self::Singly,
        }
    }
}

/// What publishing costs, as far as is known of this connection.
#[derive(Debug)]
pub(crate) struct Costs {
    way: Way,
    /// For each message of the last groups that went the present way, the newest last.
    present: Vec<Duration>,
    /// The same of the groups that go the other way for a try.
    tried: Vec<Duration>,
    /// How many telling groups are left before the next try, and how many there were before this one.
    until_try: u32,
    between: u32,
}

impl Default for Costs {
    fn default() -> Self {
        let (first, _) = BETWEEN;
        Self { way: Way::default(), present: Vec::new(), tried: Vec::new(), until_try: first, between: first }
    }
}

impl Costs {
    /// The way for a group of messages.
    pub(crate) const fn way(&self, count: usize) -> Way {
        match (count < TELLING, self.until_try) {
            (true, _) => Way::Singly,
            (false, 0) => self.way.other(),
            (false, _) => self.way,
        }
    }

    /// A group was stored.
    pub(crate) fn learn(&mut self, way: Way, count: usize, took: Duration) {
        if count < TELLING {
            return;
        }
        let cost = took / u32::try_from(count).unwrap_or(u32::MAX);
        if way == self.way {
            self.present.drain(..self.present.len().saturating_sub(TRY - 1));
            self.present.push(cost);
            self.until_try = self.until_try.saturating_sub(1);
        } else {
            self.tried.push(cost);
            if self.tried.len() >= TRY {
                self.judge();
            }
        }
    }

    /// Ends a try.
    fn judge(&mut self) {
        let (first, most) = BETWEEN;
        let better = middle(&self.tried).as_nanos() * 100 < middle(&self.present).as_nanos() * BETTER_PERCENT;
        if better {
            self.way = self.way.other();
            self.between = first;
            std::mem::swap(&mut self.present, &mut self.tried);
        } else {
            self.between = self.between.saturating_mul(4).min(most);
        }
        self.until_try = self.between;
        self.tried.clear();
    }
}

fn middle(costs: &[Duration]) -> Duration {
    let mut costs = costs.to_vec();
    costs.sort_unstable();
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server as the table has it, with what each kind of group takes.
    struct Server {
        single: Duration,
        batch: Duration,
    }

    const RELAXED: Server = Server { single: Duration::from_micros(10), batch: Duration::from_millis(8) };
    const ALWAYS: Server = Server { single: Duration::from_millis(1), batch: Duration::from_millis(10) };

    impl Server {
        /// How many of so many groups went one by one; each takes as many times longer as the server is busy then.
        fn serve(&self, costs: &mut Costs, groups: u32, busy: impl Fn(u32) -> u32) -> u32 {
            let mut singly = 0;
            for number in 0..groups {
                let way = costs.way(200);
                let took = match way {
                    Way::Singly => self.single * 200,
                    Way::AsBatch => self.batch,
                };
                singly += u32::from(way == Way::Singly);
                costs.learn(way, 200, took * busy(number));
            }
            singly
        }
    }

    #[test]
    fn cheap_messages_go_singly_however_busy_the_server_is() {
        for busy in [1, 30] {
            let mut costs = Costs::default();
            let singly = RELAXED.serve(&mut costs, 1_000, |_| busy);
            assert!(singly > 970, "{singly} of 1000");
        }
        let singly =
            RELAXED.serve(&mut Costs::default(), 1_000, |number| if number % 10 == 7 { 50 } else { 1 });
        assert!(singly > 970, "{singly} of 1000, with a stall now and then");
    }

    #[test]
    fn messages_that_cost_an_fsync_each_soon_go_as_batches_and_stay_so() {
        let mut costs = Costs::default();
        let singly = ALWAYS.serve(&mut costs, 1_000, |number| 1 + number % 3);
        assert!(singly < 55, "{singly} of 1000");
        assert_eq!((costs.way(200), costs.way(8)), (Way::AsBatch, Way::Singly));
    }

    #[test]
    fn a_server_that_was_changed_is_found_out() {
        let mut costs = Costs::default();
        ALWAYS.serve(&mut costs, 100, |_| 1);
        assert_eq!(costs.way(200), Way::AsBatch);
        RELAXED.serve(&mut costs, 600, |_| 1);
        assert_eq!(costs.way(200), Way::Singly);
    }

    #[test]
    fn small_groups_teach_nothing() {
        let mut costs = Costs::default();
        for _ in 0..1_000 {
            costs.learn(Way::Singly, TELLING - 1, Duration::from_secs(1));
        }
        assert_eq!(costs.way(1_000), Way::Singly);
        assert!(costs.present.is_empty());
    }
}
