//! Decides which repeated calls of the kill test are allowed.
//!
//! A call that is safe to repeat is made again if its outcome is unknown. So each repetition of a step must be explained by a
//! kill of its own, before the repetition began:
//!
//! - of the worker that had made one of the step's calls, between the start of that call and the confirmation of its outcome;
//!   or
//! - of the broker, between the record that made the step ready and the confirmation of its outcome: during this time the
//!   broker had its job.
//!
//! The confirmation is the worker's acknowledgement of the job, which is recorded nowhere. It follows the record of the
//! outcome in the log, so it is taken to happen within [`CONFIRMED_MS`] after that record. A kill explains one repetition of a
//! step, not two. Kills of schedulers and of Redis explain none.

use std::collections::BTreeMap;

use crate::journal::Call;

/// The longest time between the record of an outcome and the acknowledgement of its job, in milliseconds: the time of two
/// messages, on a machine that is busy with all processes at once.
pub const CONFIRMED_MS: u64 = 500;

/// The process that was killed.
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

/// A kill at an unknown time between `from` and `to`, which are milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    /// The process that was killed.
    pub victim: Victim,
    /// A time before the signal was sent.
    pub from: u64,
    /// A time after the process was gone.
    pub to: u64,
}

/// The interval in which a job was outstanding, in milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub struct OutstandingJob {
    /// The time of the record that made its step ready.
    pub from: u64,
    /// The time of the record of its outcome, if there is one.
    pub settled: Option<u64>,
}

/// A call with the worker that made it.
#[derive(Clone, Debug)]
pub struct WorkerCall {
    /// The number of the worker.
    pub worker: usize,
    /// The call.
    pub call: Call,
}

impl Kill {
    fn is_within(&self, from: u64, to: u64) -> bool {
        self.to >= from && self.from <= to
    }

    /// Returns true if the kill may have interrupted a call, so that the queue delivers its job again.
    pub fn hits(&self, made: &WorkerCall, job: OutstandingJob) -> bool {
        let until = job.settled.map_or(u64::MAX, |at| at.saturating_add(CONFIRMED_MS));
        match self.victim {
            Victim::Worker(worker) => worker == made.worker && self.is_within(made.call.begun_at, until),
            Victim::Broker => self.is_within(job.from, until),
            Victim::Scheduler(_) | Victim::Store => false,
        }
    }
}

/// Returns the calls of one step, after the first, that no kill explains. `calls` are in the order of their start.
pub fn unexplained<'a>(calls: &'a [WorkerCall], kills: &[Kill], out: OutstandingJob) -> Vec<&'a WorkerCall> {
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

/// Groups calls by their idempotency keys, each group in the order of their start.
pub fn by_key(mut calls: Vec<WorkerCall>) -> BTreeMap<String, Vec<WorkerCall>> {
    calls.sort_by_key(|made| made.call.begun_at);
    let mut sorted: BTreeMap<String, Vec<WorkerCall>> = BTreeMap::new();
    for made in calls {
        sorted.entry(made.call.key.clone()).or_default().push(made);
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(worker: usize, begun_at: u64, ended_at: Option<u64>) -> WorkerCall {
        let (tool, key) = ("echo".to_owned(), "run/s0".to_owned());
        let ok = ended_at.map(|_| true);
        WorkerCall { worker, call: Call { pid: 1, tool, key, begun_at, ended_at, ok } }
    }

    fn kill(victim: Victim, at: u64) -> Kill {
        Kill { victim, from: at, to: at + 5 }
    }

    #[test]
    fn repetition_needs_a_kill_while_its_job_was_outstanding() {
        use Victim::{Broker, Scheduler, Store, Worker};
        let out = OutstandingJob { from: 900, settled: Some(3_000) };
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
    fn settled_call_is_repeated_only_while_it_is_unconfirmed() {
        let out = OutstandingJob { from: 900, settled: Some(1_200) };
        let twice = [made(1, 1_000, Some(1_150)), made(2, 9_000, Some(9_100))];
        let at = |at| [kill(Victim::Worker(1), at)];
        assert_eq!(unexplained(&twice, &at(1_200 + CONFIRMED_MS), out).len(), 0);
        assert_eq!(unexplained(&twice, &at(1_201 + CONFIRMED_MS), out).len(), 1);
    }

    #[test]
    fn kill_explains_one_repetition() {
        let out = OutstandingJob { from: 900, settled: None };
        let thrice = [made(1, 1_000, None), made(2, 1_500, None), made(3, 2_000, None)];
        let (first, second) = (kill(Victim::Worker(1), 1_100), kill(Victim::Worker(2), 1_600));
        assert_eq!(unexplained(&thrice, &[first], out).len(), 1);
        assert_eq!(unexplained(&thrice, &[first, second], out).len(), 0);
        assert_eq!(by_key(thrice.to_vec()).len(), 1);
    }
}
