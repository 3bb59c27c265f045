//! The pace at which streams of events are asked for.
//!
//! The library goes on with a stream whenever it ends, and counts only attempts that failed: a server that ends each stream at
//! once would be asked thousands of times a second.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A stream that lived for less ends too soon.
const SOON: Duration = Duration::from_secs(5);
/// Streams that are remembered: one by itself, and one for each request whose answer broke off.
const MOST_STREAMS: usize = 256;

/// When each stream was last asked for, by the event after which it was to go on.
#[derive(Debug, Default)]
pub(super) struct StreamPace {
    asked: BTreeMap<Option<String>, Asked>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    at: Instant,
    wait: Duration,
}

impl StreamPace {
    /// Takes note of a stream that is asked for, and returns how long to wait before.
    pub(super) fn ask(&mut self, after: Option<&str>, now: Instant) -> Duration {
        let key = after.map(str::to_owned);
        // An answer that broke off is waited for; the stream by itself only brings notifications.
        let (first, most) = match key {
            Some(_) => (Duration::from_millis(250), Duration::from_secs(5)),
            None => (Duration::from_secs(1), Duration::from_mins(1)),
        };
        let wait = match self.asked.get(&key) {
            Some(before) if now < before.at + SOON => (before.wait * 2).clamp(first, most),
            _ => Duration::ZERO,
        };
        if self.asked.len() >= MOST_STREAMS && !self.asked.contains_key(&key) {
            self.asked.retain(|_, asked| now < asked.at + SOON);
            if self.asked.len() >= MOST_STREAMS {
                self.asked.pop_last();
            }
        }
        self.asked.insert(key, Asked { at: now + wait, wait });
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_ends_at_once_is_asked_for_less_and_less() {
        let (mut pace, mut now, mut waits) = (StreamPace::default(), Instant::now(), Vec::new());
        for _ in 0..9 {
            let wait = pace.ask(None, now);
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(pace.ask(None, now + SOON * 2), Duration::ZERO);
    }

    #[test]
    fn each_answer_that_broke_off_has_a_pace_of_its_own() {
        let (mut pace, now) = (StreamPace::default(), Instant::now());
        assert_eq!(pace.ask(Some("1"), now), Duration::ZERO);
        assert_eq!(pace.ask(Some("2"), now), Duration::ZERO);
        assert_eq!(pace.ask(Some("1"), now), Duration::from_millis(250));
        for number in 0..10_000 {
            pace.ask(Some(&number.to_string()), now);
        }
        assert!(pace.asked.len() <= MOST_STREAMS);
    }
}
