//! The limit of `longshore runs cancel`, and the text of a number of runs.

/// Number of runs that one command cancels at most. Their ids stay in memory, and a user can judge the number in the
/// question.
pub(super) const RUNS_PER_CANCEL: usize = 100_000;

/// Returns a number of runs as text: `1 run`, `2 runs`.
pub(super) fn run_count(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}
