//! Warnings about outputs in which values of the servers file were replaced by `***`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use longshore_proto::{Job, RunId};
use tracing::warn;

use crate::mcp::mask_warning;

/// Remembered warnings: enough for some hundred runs with several values each, in about 100 KiB. A run with a call after so
/// many others gets its warning once more.
const MOST_REMEMBERED: usize = 1_024;

/// The newest warnings, one for each value and run.
#[derive(Debug, Default)]
pub(super) struct MaskWarnings(Mutex<VecDeque<(RunId, String)>>);

impl MaskWarnings {
    /// Warns that the output of a job holds `***` in place of values, once for each value and run.
    pub(super) fn warn(&self, job: &Job, masked: &[String]) {
        let masked = self.take_new(job.id.run, masked);
        if !masked.is_empty() {
            warn!(
                run = %job.id.run, step = %job.id.step, server = %job.server, tool = %job.tool,
                "{}", mask_warning("an output", &masked)
            );
        }
    }

    /// Returns the values without a warning in this run, and remembers them.
    fn take_new(&self, run: RunId, masked: &[String]) -> Vec<String> {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for value in masked.iter().map(|value| (run, value.clone())) {
            if !remembered.contains(&value) {
                new.push(value.1.clone());
                remembered.push_back(value);
            }
        }
        let excess = remembered.len().saturating_sub(MOST_REMEMBERED);
        remembered.drain(..excess);
        new
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::Partition;

    use super::*;

    #[test]
    fn each_value_is_reported_once_for_each_run() {
        let run = |millis| RunId::new(Partition(0), longshore_proto::Timestamp::from_millis(millis), 1);
        let warnings = MaskWarnings::default();
        let values = ["variable `A` of server `s`".to_owned(), "header `X-B` of server `t`".to_owned()];
        assert_eq!(warnings.take_new(run(1), &values[..1]), values[..1]);
        assert_eq!(warnings.take_new(run(1), &values), values[1..]);
        assert_eq!(warnings.take_new(run(2), &values), values);
        for other in 3..3_000 {
            warnings.take_new(run(other), &values[..1]);
        }
        assert_eq!(warnings.0.lock().expect("a set").len(), MOST_REMEMBERED);
    }
}
