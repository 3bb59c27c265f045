//! Waits for a condition, with a limit and with pauses between the looks.

#![expect(clippy::panic, reason = "a condition that never holds has failed the test")]

use std::future::ready;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::longshore::PATIENCE;

/// The time between two looks: well below the duration of any step of a test.
const PACE: Duration = Duration::from_millis(2);

/// Waits until a condition holds. `what` describes it in the message of a failure.
///
/// # Panics
/// When it does not hold within [`PATIENCE`].
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_some(what, || ready(holds().then_some(()))).await;
}

/// Waits until a condition holds that takes requests to find out.
///
/// # Panics
/// When it does not hold within [`PATIENCE`].
pub async fn until_true<Held: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> Held) {
    let ask = || {
        let held = holds();
        async { held.await.then_some(()) }
    };
    until_some(what, ask).await;
}

/// Asks until there is an answer, and returns it.
///
/// # Panics
/// When there is no answer within [`PATIENCE`].
pub async fn until_some<T, Answer>(what: &str, mut ask: impl FnMut() -> Answer) -> T
where
    Answer: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        if Instant::now() >= deadline {
            panic!("not within {PATIENCE:?}: {what}");
        }
        pace.tick().await;
    }
}

/// Pauses between two looks that each start a process.
pub async fn pause() {
    sleep(Duration::from_millis(50)).await;
}

/// Returns true if a process has ended: there is no such process, or only its exit status is left.
pub fn is_gone(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    // The state follows the name, which is in brackets and may contain brackets.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
}
