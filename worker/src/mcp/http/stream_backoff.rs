//! Backoff between requests for streams of events.
//!
//! The library requests a stream again whenever it ends, and counts only requests that failed. A server that ends each stream at
//! once would get thousands of requests a second.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The minimum duration of a stream that counts as stable. The request after a shorter stream waits.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// Maximum number of streams that are remembered: the standalone one, and one for each request whose answer was
/// interrupted.
const MOST_STREAMS: usize = 256;

/// The last request for each stream. The key is the event after which the stream continues; `None` is the standalone stream.
#[derive(Debug, Default)]
pub(super) struct StreamBackoff {
    requests: BTreeMap<Option<String>, StreamRequest>,
}

#[derive(Clone, Copy, Debug)]
struct StreamRequest {
    at: Instant,
    wait: Duration,
}

impl StreamBackoff {
    /// Records a request for a stream. Returns the time to wait before it is sent.
    pub(super) fn next_wait(&mut self, after: Option<&str>, now: Instant) -> Duration {
        let key = after.map(str::to_owned);
        // A call waits for an interrupted answer; the standalone stream only carries notifications.
        let (shortest, longest) = match key {
            Some(_) => (Duration::from_millis(250), Duration::from_secs(5)),
            None => (Duration::from_secs(1), Duration::from_mins(1)),
        };
        let wait = match self.requests.get(&key) {
            Some(last) if now < last.at + STABLE_AFTER => (last.wait * 2).clamp(shortest, longest),
            _ => Duration::ZERO,
        };
        if self.requests.len() >= MOST_STREAMS && !self.requests.contains_key(&key) {
            self.requests.retain(|_, request| now < request.at + STABLE_AFTER);
            if self.requests.len() >= MOST_STREAMS {
                self.requests.pop_last();
            }
        }
        self.requests.insert(key, StreamRequest { at: now + wait, wait });
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_grows_while_a_stream_ends_at_once() {
        let (mut backoff, mut now, mut waits) = (StreamBackoff::default(), Instant::now(), Vec::new());
        for _ in 0..9 {
            let wait = backoff.next_wait(None, now);
            waits.push(wait.as_secs());
            now += wait;
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.next_wait(None, now + STABLE_AFTER * 2), Duration::ZERO);
    }

    #[test]
    fn each_interrupted_answer_has_its_own_wait() {
        let (mut backoff, now) = (StreamBackoff::default(), Instant::now());
        assert_eq!(backoff.next_wait(Some("1"), now), Duration::ZERO);
        assert_eq!(backoff.next_wait(Some("2"), now), Duration::ZERO);
        assert_eq!(backoff.next_wait(Some("1"), now), Duration::from_millis(250));
        for number in 0..10_000 {
            backoff.next_wait(Some(&number.to_string()), now);
        }
        assert!(backoff.requests.len() <= MOST_STREAMS);
    }
}
