//! Jobs that may have crashed a server process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use longshore_proto::{RunId, StepPath};

/// Maximum number of jobs that are remembered: more than a server has calls at once. The oldest is forgotten first.
const SUSPECTS_LIMIT: usize = 1024;

/// Jobs whose call was under way when a process ended, by run and step, since a retry is the same job.
#[derive(Debug, Default)]
pub(super) struct CrashSuspects(Mutex<VecDeque<(RunId, StepPath)>>);

impl CrashSuspects {
    /// Remembers a job.
    pub(super) fn add(&self, run: RunId, step: &StepPath) {
        let mut jobs = self.jobs();
        if !jobs.iter().any(|job| is_job(job, run, step)) {
            if jobs.len() == SUSPECTS_LIMIT {
                jobs.pop_front();
            }
            jobs.push_back((run, step.clone()));
        }
    }

    /// Forgets a job whose call was answered.
    pub(super) fn remove(&self, run: RunId, step: &StepPath) {
        self.jobs().retain(|job| !is_job(job, run, step));
    }

    /// Returns true if a process ended during a call of this job.
    pub(super) fn contains(&self, run: RunId, step: &StepPath) -> bool {
        self.jobs().iter().any(|job| is_job(job, run, step))
    }

    fn jobs(&self) -> MutexGuard<'_, VecDeque<(RunId, StepPath)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_job((of_run, of_step): &(RunId, StepPath), run: RunId, step: &StepPath) -> bool {
    *of_run == run && of_step == step
}

#[cfg(test)]
mod tests {
    use longshore_proto::{Partition, Timestamp};

    use super::*;

    #[test]
    fn job_is_remembered_until_it_is_answered_or_many_other_jobs_were_added() {
        let run = |number| RunId::new(Partition(0), Timestamp::from_millis(number), 1);
        let (a, b): (StepPath, StepPath) = ("a".parse().expect("a path"), "b".parse().expect("a path"));
        let suspects = CrashSuspects::default();
        suspects.add(run(0), &a);
        assert!(suspects.contains(run(0), &a) && !suspects.contains(run(0), &b));
        suspects.remove(run(0), &a);
        assert!(!suspects.contains(run(0), &a));
        let many = u64::try_from(SUSPECTS_LIMIT).expect("a number");
        (0..=many).for_each(|number| suspects.add(run(number), &a));
        assert!(!suspects.contains(run(0), &a) && suspects.contains(run(1), &a));
    }
}
