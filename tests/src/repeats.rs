//! Which repeated calls are in order: the judge of the kill test.
//!
//! A call that is safe to repeat is made again if nobody can know that it was done. So each repetition of a step must
//! have a kill of its own that explains it, before the repetition began:
//!
//! - of the worker that had made one of the step's calls, at a moment between the beginning of that call and the
//!   confirmation of its outcome; or
//! - of the broker, at a moment between the record that let the step begin and the confirmation of its outcome: all that
//!   time its job was in the broker's hands.
//!
//! The confirmation is the worker's acknowledgement of the job, which nobody writes down. It follows the record of the
//! outcome in the log, so its latest moment is taken to be [`CONFIRMED_MS`] after that record. A kill explains one
//! repetition of a step, not two. Kills of schedulers and of Redis explain none.

use std::collections::BTreeMap;

use crate::journal::Call;

/// How long after the record of an outcome the job of its call may still be unconfirmed, in milliseconds: the way of two
/// messages, which takes some of them, on a machine that is busy with everything at once.
pub const CONFIRMED_MS: u64 = 500;

/// What was killed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Victim {
    /// A scheduler, by its number.
    Scheduler(usize),
    /// A worker, by its number.
    Worker(usize),
    /// NATS.
    Broker,
    /// Redis.
    Store,
}

/// A kill: at some moment between the two, which are milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// What was killed.
    pub victim: Victim,
    /// Before the signal was sent.
    pub from: u64,
    /// Once the process was gone.
    pub to: u64,
}

/// When a job was out, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Out {
    /// The record that let its step begin.
    pub from: u64,
    /// The record of its outcome; nothing while there is none.
    pub settled: Option<u64>,
}

/// A call and the number of the worker that made it.
#[derive(Clone, Debug)]
pub struct Made {
    /// The worker.
    pub worker: usize,
    /// The call.
    pub call: Call,
}

impl Kill {
    fn is_within(&self, from: u64, to: u64) -> bool {
        self.to >= from && self.from <= to
    }

    /// Whether it caught a call, so that the queue may deliver its job again.
    pub fn hits(&self, made: &Made, out: Out) -> bool {
        let until = out.settled.map_or(u64::MAX, |at| at.saturating_add(CONFIRMED_MS));
        match self.victim {
            Victim::Worker(worker) => worker == made.worker && self.is_within(made.call.begun_at, until),
            Victim::Broker => self.is_within(out.from, until),
            Victim::Scheduler(_) | Victim::Store => false,
        }
    }
}

/// The calls of one step that no kill explains, of those that were not the first. `calls` are in order.
pub fn unexplained<'a>(calls: &'a [Made], kills: &[Kill], out: Out) -> Vec<&'a Made> {
    let mut used = vec![false; kills.len()];
    let mut found = Vec::new();
    for (number, repeat) in calls.iter().enumerate().skip(1) {
        let before = calls.get(..number).unwrap_or_default();
        let explains =
            |kill: &Kill| kill.from <= repeat.call.begun_at && before.iter().any(|made| kill.hits(made, out));
        let mut free = kills.iter().zip(&mut used).filter(|(kill, used)| !**used && explains(kill));
        match free.next() {
            Some((_, used)) => *used = true,
            None => found.push(repeat),
        }
    }
    found
}

/// All calls by their keys, in the order in which they began.
pub fn by_key(mut calls: Vec<Made>) -> BTreeMap<String, Vec<Made>> {
    calls.sort_by_key(|made| made.call.begun_at);
    let mut sorted: BTreeMap<String, Vec<Made>> = BTreeMap::new();
    for made in calls {
        sorted.entry(made.call.key.clone()).or_default().push(made);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(worker: usize, begun_at: u64, ended_at: Option<u64>) -> Made {
        let (tool, key) = ("echo".to_owned(), "run/s0".to_owned());
        let ok = ended_at.map(|_| true);
        Made { worker, call: Call { pid: 1, tool, key, begun_at, ended_at, ok } }
    }

    fn kill(victim: Victim, at: u64) -> Kill {
        Kill { victim, from: at, to: at + 5 }
    }

    #[test]
    fn a_repetition_needs_a_kill_of_its_own_while_its_call_was_out() {
        use Victim::{Broker, Scheduler, Store, Worker};
        let out = Out { from: 900, settled: Some(3_000) };
        let twice = [made(1, 1_000, None), made(2, 2_500, Some(2_900))];
        let cases: [(&str, Vec<Kill>, usize); 11] = [
            ("no kill", vec![], 1),
            ("its worker, in mid-call", vec![kill(Worker(1), 1_100)], 0),
            ("another worker", vec![kill(Worker(2), 1_100)], 1),
            ("its worker, before the call", vec![kill(Worker(1), 990)], 1),
            ("its worker, as the call began", vec![kill(Worker(1), 996)], 0),
            ("its worker, after the repetition", vec![kill(Worker(1), 2_501)], 1),
            ("the broker, in mid-call", vec![kill(Broker, 1_100)], 0),
            ("the broker, while the job was queued", vec![kill(Broker, 950)], 0),
            ("the broker, before the job", vec![kill(Broker, 800)], 1),
            ("a scheduler", vec![kill(Scheduler(0), 1_100)], 1),
            ("Redis", vec![kill(Store, 1_100)], 1),
        ];
        for (name, kills, expected) in cases {
            assert_eq!(unexplained(&twice, &kills, out).len(), expected, "{name}");
        }
    }

    #[test]
    fn what_was_settled_is_repeated_only_while_it_is_unconfirmed() {
        let out = Out { from: 900, settled: Some(1_200) };
        let twice = [made(1, 1_000, Some(1_150)), made(2, 9_000, Some(9_100))];
        let at = |at| [kill(Victim::Worker(1), at)];
        assert_eq!(unexplained(&twice, &at(1_200 + CONFIRMED_MS), out).len(), 0);
        assert_eq!(unexplained(&twice, &at(1_201 + CONFIRMED_MS), out).len(), 1);
    }

    #[test]
    fn one_kill_explains_one_repetition() {
        let out = Out { from: 900, settled: None };
        let thrice = [made(1, 1_000, None), made(2, 1_500, None), made(3, 2_000, None)];
        let (first, second) = (kill(Victim::Worker(1), 1_100), kill(Victim::Worker(2), 1_600));
        assert_eq!(unexplained(&thrice, &[first], out).len(), 1);
        assert_eq!(unexplained(&thrice, &[first, second], out).len(), 0);
        assert_eq!(by_key(thrice.to_vec()).len(), 1);
    }
}
