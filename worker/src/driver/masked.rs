//! Warnings about outputs in which values of the servers file were replaced by `***`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use longshore_proto::{Job, RunId};
use tracing::warn;

use super::Shared;

/// Warnings that are remembered, for some hundred runs with several values each: about 100 KiB. A run with a call after so many
/// others is warned about once more.
const MOST_REMEMBERED: usize = 1_024;

/// The newest warnings: one for each value in a run.
#[derive(Debug, Default)]
pub(super) struct MaskedNotices(Mutex<VecDeque<(RunId, String)>>);

impl MaskedNotices {
    /// Returns those of the values that no warning about the run has named, and remembers them.
    fn take_new(&self, run: RunId, masked: &[String]) -> Vec<String> {
        let mut named = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for value in masked.iter().map(|value| (run, value.clone())) {
            if !named.contains(&value) {
                new.push(value.1.clone());
                named.push_back(value);
            }
        }
        let excess = named.len().saturating_sub(MOST_REMEMBERED);
        named.drain(..excess);
        new
    }
}

impl Shared {
    /// Warns that an output holds `***` in the place of values: once for each value and run.
    pub(super) fn warn_of_masked(&self, job: &Job, masked: &[String]) {
        let masked = self.masked.take_new(job.id.run, masked);
        if !masked.is_empty() {
            warn!(
                run = %job.id.run, step = %job.id.step, server = %job.server, tool = %job.tool,
                "`***` is in an output in the place of the value of {}, which counts as a secret; if it is not one, name the \
                 variable in `visible_env` of that server",
                masked.join(", ")
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::Partition;

    use super::*;

    #[test]
    fn each_value_is_named_once_for_each_run() {
        let run = |millis| RunId::new(Partition(0), longshore_proto::Timestamp::from_millis(millis), 1);
        let notices = MaskedNotices::default();
        let values = ["variable `A` of server `s`".to_owned(), "header `X-B` of server `t`".to_owned()];
        assert_eq!(notices.take_new(run(1), &values[..1]), values[..1]);
        assert_eq!(notices.take_new(run(1), &values), values[1..]);
        assert_eq!(notices.take_new(run(2), &values), values);
        for other in 3..3_000 {
            notices.take_new(run(other), &values[..1]);
        }
        assert_eq!(notices.0.lock().expect("a set").len(), MOST_REMEMBERED);
    }
}
