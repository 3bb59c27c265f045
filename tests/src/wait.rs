//! Waiting for something that can be looked at, with a deadline.

#![expect(clippy::panic, reason = "what never comes has failed the test")]

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::longshore::PATIENCE;

/// How often to look: well below what any step here takes.
const PACE: Duration = Duration::from_millis(2);

/// Waits until it is so.
///
/// # Panics
/// When it is not so within [`PATIENCE`].
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !so() {
        if Instant::now() >= deadline {
            panic!("not within {PATIENCE:?}: {what}");
        }
        pace.tick().await;
    }
}

/// Whether a process is gone: no such process, or only its exit status is left to be fetched.
pub fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state stands behind the name, which is in brackets and may hold brackets of its own.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}
