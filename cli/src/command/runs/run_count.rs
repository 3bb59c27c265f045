//! The number of runs that `longshore runs cancel` acts on: its bound, and its words.

/// The most runs that one command cancels: their ids stay in memory, and the question names a number that a person can
/// judge.
pub(super) const RUNS_PER_CANCEL: usize = 100_000;

/// Writes a number of runs: `1 run`, `2 runs`.
pub(super) fn run_count(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}
