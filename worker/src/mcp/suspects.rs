//! Jobs during whose calls a server process ended.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use longshore_proto::{RunId, StepPath};

/// Jobs that are remembered. More than a server's calls at once; the oldest is forgotten first.
const SUSPECTS_LIMIT: usize = 1024;

/// Jobs that may be the reason of a crash, by run and step: a retry is the same job.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<VecDeque<(RunId, StepPath)>>);

impl Suspects {
    /// Remembers a job.
    pub(super) fn add(&self, run: RunId, step: &StepPath) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !jobs.iter().any(|job| is(job, run, step)) {
            if jobs.len() == SUSPECTS_LIMIT {
                jobs.pop_front();
            }
            jobs.push_back((run, step.clone()));
        }
    }

    /// Forgets a job, whose call was answered.
    pub(super) fn remove(&self, run: RunId, step: &StepPath) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|job| !is(job, run, step));
    }

    /// Whether a process ended during a call of this job.
    pub(super) fn contains(&self, run: RunId, step: &StepPath) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|job| is(job, run, step))
    }
}

fn is((of_run, of_step): &(RunId, StepPath), run: RunId, step: &StepPath) -> bool {
    *of_run == run && of_step == step
}

#[cfg(test)]
mod tests {
    use longshore_proto::{Partition, Timestamp};

    use super::*;

    #[test]
    fn a_job_is_remembered_until_it_is_answered_or_many_others_came() {
        let run = |number| RunId::new(Partition(0), Timestamp::from_millis(number), 1);
        let (a, b): (StepPath, StepPath) = ("a".parse().expect("a path"), "b".parse().expect("a path"));
        let suspects = Suspects::default();
        suspects.add(run(0), &a);
        assert!(suspects.contains(run(0), &a) && !suspects.contains(run(0), &b));
        suspects.remove(run(0), &a);
        assert!(!suspects.contains(run(0), &a));
        let many = u64::try_from(SUSPECTS_LIMIT).expect("a number");
        (0..=many).for_each(|number| suspects.add(run(number), &a));
        assert!(!suspects.contains(run(0), &a) && suspects.contains(run(1), &a));
    }
}
