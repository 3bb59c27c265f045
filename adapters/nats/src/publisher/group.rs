//! Messages that went to the server together, and the outcome of each.
//!
//! They have consecutive numbers, under which their acknowledgements come. The acknowledgement of a batch (ADR-50 of
//! NATS) comes under the number of its last message and holds for all. A batch is stored whole or not at all, and
//! refused as a whole when one of its messages is; so a refused batch is [sent again](FollowUp::SendAll) as single
//! messages, and then each message gets its own acknowledgement.

use std::ops::Range;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::ack::{PublishAck, PublishFailure};
use super::call::PublishResult;
use super::merge::MergedMessages;
use super::message::{OutgoingMessage, PublishOutcome};
use crate::batch::PublishMode;
use crate::connection::ANSWER_TIMEOUT;
use crate::denials;

/// Times that messages of a group are sent again because of [conflicts](PublishFailure::is_in_flight_conflict).
const MOST_CONFLICTS: u32 = 20;

/// Pause before a message with a conflict is sent again: the time in which the server stores the other one.
const CONFLICT_PAUSE: Duration = Duration::from_millis(3);

/// A group of messages that was sent.
pub(super) struct MessageGroup {
    first_number: u64,
    pub(super) mode: PublishMode,
    /// True if the time that the server takes for the group is measured.
    pub(super) is_sample: bool,
    pub(super) messages: Vec<OutgoingMessage>,
    outcomes: Vec<Option<Result<PublishOutcome, PublishFailure>>>,
    unanswered: usize,
    /// For each message of the callers, the index in `messages` of the one that contains it.
    index_of: Vec<usize>,
    replies: Vec<PendingReply>,
    pub(super) sent_at: Instant,
    conflicts: InFlightConflicts,
    /// True if it was a batch that the server refused.
    was_refused: bool,
}

/// The part of a group that belongs to one call.
pub(super) struct PendingReply {
    /// Messages of the call. Those of one call follow those of the call before.
    pub(super) count: usize,
    pub(super) reply: oneshot::Sender<PublishResult>,
}

/// Messages that have to be sent again, because the server was storing another one of the same subject.
#[derive(Default)]
struct InFlightConflicts {
    indexes: Vec<usize>,
    since: Option<Instant>,
    /// Times that messages were sent again.
    resends: u32,
}

/// The sender's next step after an acknowledgement.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum FollowUp {
    /// No message has to be sent.
    Nothing,
    /// Every message has to be sent again, as a single message.
    SendAll,
}

impl MessageGroup {
    pub(super) fn new(
        first_number: u64,
        mode: PublishMode,
        merged: MergedMessages,
        replies: Vec<PendingReply>,
    ) -> Self {
        let unanswered = merged.messages.len();
        Self {
            first_number,
            mode,
            is_sample: false,
            outcomes: (0..unanswered).map(|_| None).collect(),
            unanswered,
            messages: merged.messages,
            index_of: merged.index_of,
            replies,
            sent_at: Instant::now(),
            conflicts: InFlightConflicts::default(),
            was_refused: false,
        }
    }

    /// Returns the numbers of the messages.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.first_number..self.first_number + self.messages.len() as u64
    }

    /// Records the acknowledgement that came under a number.
    pub(super) fn record_ack(&mut self, number: u64, ack: PublishAck) -> FollowUp {
        if self.mode == PublishMode::AtomicBatch {
            return self.record_batch_ack(ack);
        }
        let Ok(index) = usize::try_from(number - self.first_number) else { return FollowUp::Nothing };
        match ack.outcome {
            Err(failure) if failure.is_in_flight_conflict() && self.conflicts.resends < MOST_CONFLICTS => {
                self.conflicts.indexes.push(index);
                self.conflicts.since.get_or_insert_with(Instant::now);
            }
            outcome => self.record(index, outcome),
        }
        FollowUp::Nothing
    }

    fn record_batch_ack(&mut self, ack: PublishAck) -> FollowUp {
        let count = self.messages.len() as u64;
        match ack {
            // Stored at consecutive sequences that end at the acknowledged one.
            PublishAck { outcome: Ok(PublishOutcome::Stored(last)), batch: Some(stored) }
                if stored == count && last >= count =>
            {
                for (index, seq) in (last - count + 1..=last).enumerate() {
                    self.record(index, Ok(PublishOutcome::Stored(seq)));
                }
                FollowUp::Nothing
            }
            // An error of the server means that it stored nothing.
            PublishAck {
                outcome: Err(PublishFailure::Refused(_)) | Ok(PublishOutcome::AlreadyPresent),
                ..
            } => {
                self.mode = PublishMode::Pipelined;
                self.was_refused = true;
                self.sent_at = Instant::now();
                FollowUp::SendAll
            }
            PublishAck { outcome: Err(failure), .. } => {
                self.fail(&failure);
                FollowUp::Nothing
            }
            PublishAck { outcome: Ok(PublishOutcome::Stored(last)), batch } => {
                let cause = format!(
                    "a batch of {count} messages was sent, and {batch:?} are acknowledged, up to sequence {last}"
                );
                self.fail(&PublishFailure::InvalidAck(cause));
                FollowUp::Nothing
            }
        }
    }

    /// Records the outcome of a message. Only the first one counts.
    pub(super) fn record(&mut self, index: usize, outcome: Result<PublishOutcome, PublishFailure>) {
        if let Some(unanswered @ None) = self.outcomes.get_mut(index) {
            *unanswered = Some(outcome);
            self.unanswered -= 1;
        }
    }

    /// Records a failure of every message that has no outcome yet.
    pub(super) fn fail(&mut self, failure: &PublishFailure) {
        for index in 0..self.messages.len() {
            self.record(index, Err(failure.clone()));
        }
    }

    /// Records a failure of every message that the server denied. A batch without one of its messages is never committed.
    pub(super) fn fail_denied(&mut self) {
        for index in 0..self.messages.len() {
            let waiting = matches!(self.outcomes.get(index), Some(None));
            let Some(message) = self.messages.get(index).filter(|_| waiting) else { continue };
            let Some(denied) = denials::find(&message.subject, self.sent_at) else { continue };
            match self.mode {
                PublishMode::AtomicBatch => return self.fail(&PublishFailure::Denied(denied)),
                PublishMode::Pipelined => self.record(index, Err(PublishFailure::Denied(denied))),
            }
        }
    }

    /// Returns the time at which messages are due to be sent again or given up, if no acknowledgement comes.
    pub(super) fn wake_at(&self) -> Instant {
        let overdue = self.sent_at + ANSWER_TIMEOUT;
        self.conflicts.since.map_or(overdue, |since| overdue.min(since + CONFLICT_PAUSE))
    }

    /// Takes the messages that are due to be sent again.
    pub(super) fn take_due(&mut self) -> Vec<usize> {
        let InFlightConflicts { indexes, since, resends } = &mut self.conflicts;
        match since {
            Some(at) if at.elapsed() >= CONFLICT_PAUSE => {
                *since = None;
                *resends += 1;
                std::mem::take(indexes)
            }
            _ => Vec::new(),
        }
    }

    pub(super) const fn is_answered(&self) -> bool {
        self.unanswered == 0
    }

    /// Returns the time that the server took to store all messages. `None` if it did not store all of them at the first
    /// try.
    pub(super) fn store_time(&self) -> Option<Duration> {
        let is_stored = |outcome: &Option<_>| matches!(outcome, Some(Ok(PublishOutcome::Stored(_))));
        let is_whole = self.outcomes.iter().all(is_stored);
        (is_whole && self.conflicts.resends == 0 && !self.was_refused).then(|| self.sent_at.elapsed())
    }

    /// Sends every caller the outcomes of its messages.
    pub(super) fn reply(self) {
        // Every message has an outcome by now, so the failure for a missing one is never sent.
        let outcome = |index: usize| {
            self.outcomes.get(index).cloned().flatten().unwrap_or(Err(PublishFailure::ConnectionLost))
        };
        let mut index_of = self.index_of.into_iter();
        for PendingReply { count, reply } in self.replies {
            let outcomes: Vec<_> = index_of.by_ref().take(count).map(outcome).collect();
            // The caller may have stopped waiting. Its messages are published all the same.
            let _ = reply.send(outcomes.into_iter().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::message::StoreMode;
    use serde_json::json;

    fn group(mode: PublishMode, counts: &[usize]) -> (MessageGroup, Vec<oneshot::Receiver<PublishResult>>) {
        let message = OutgoingMessage { subject: "a".into(), body: "".into(), store: StoreMode::IfAbsent };
        let (replies, results) = counts
            .iter()
            .map(|count| {
                let (reply, result) = oneshot::channel();
                (PendingReply { count: *count, reply }, result)
            })
            .unzip();
        let count = counts.iter().sum();
        let merged = MergedMessages { messages: vec![message; count], index_of: (0..count).collect() };
        (MessageGroup::new(10, mode, merged, replies), results)
    }

    fn stored(seq: u64, batch: Option<u64>) -> PublishAck {
        PublishAck { outcome: Ok(PublishOutcome::Stored(seq)), batch }
    }

    fn refused(code: u64) -> PublishAck {
        let error = json!({ "code": 400, "err_code": code, "description": "no" });
        let error = serde_json::from_value(error).expect("an error of the server");
        PublishAck { outcome: Err(PublishFailure::Refused(error)), batch: None }
    }

    fn result(results: &mut Vec<oneshot::Receiver<PublishResult>>) -> PublishResult {
        results.pop().expect("another call").try_recv().expect("a reply")
    }

    #[test]
    fn every_call_gets_the_outcomes_of_its_own_messages() {
        let (mut group, mut results) = group(PublishMode::Pipelined, &[1, 2]);
        for (number, ack) in [(12, stored(8, None)), (10, stored(7, None)), (11, refused(10077))] {
            assert!(!group.is_answered());
            assert_eq!(group.record_ack(number, ack), FollowUp::Nothing);
        }
        assert!(group.is_answered() && group.store_time().is_none());
        group.reply();
        let second = result(&mut results);
        assert!(matches!(second, Err(PublishFailure::Refused(_))), "one of its messages was refused");
        assert_eq!(result(&mut results).expect("stored"), [PublishOutcome::Stored(7)]);
    }

    #[test]
    fn batch_ends_at_the_acknowledged_sequence() {
        let (mut group, mut results) = group(PublishMode::AtomicBatch, &[3]);
        assert_eq!(group.record_ack(12, stored(12, Some(3))), FollowUp::Nothing);
        assert!(group.store_time().is_some());
        group.reply();
        let expected = [10, 11, 12].map(PublishOutcome::Stored);
        assert_eq!(result(&mut results).expect("stored"), expected);
    }

    #[test]
    fn ack_that_does_not_fit_the_batch_is_a_failure() {
        for ack in [stored(12, None), stored(12, Some(2)), stored(2, Some(3))] {
            let (mut group, mut results) = group(PublishMode::AtomicBatch, &[3]);
            assert_eq!(group.record_ack(12, ack), FollowUp::Nothing);
            group.reply();
            assert!(result(&mut results).is_err());
        }
    }

    #[test]
    fn refused_batch_is_sent_again_as_single_messages() {
        let (mut group, _results) = group(PublishMode::AtomicBatch, &[2]);
        assert_eq!(group.record_ack(11, refused(10201)), FollowUp::SendAll);
        assert_eq!(group.record_ack(10, stored(4, None)), FollowUp::Nothing);
        assert!(!group.is_answered());
        group.record_ack(11, stored(5, None));
        assert!(group.is_answered() && group.store_time().is_none(), "it measures neither mode");
    }

    #[test]
    fn messages_that_were_present_are_not_measured() {
        let (mut group, _results) = group(PublishMode::Pipelined, &[1]);
        group.record_ack(10, PublishAck { outcome: Ok(PublishOutcome::AlreadyPresent), batch: None });
        assert!(group.is_answered() && group.store_time().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn message_with_a_conflict_is_sent_again_a_bounded_number_of_times() {
        let (mut group, _results) = group(PublishMode::Pipelined, &[2]);
        group.record_ack(10, stored(1, None));
        for _ in 0..MOST_CONFLICTS {
            group.record_ack(11, refused(10164));
            assert!(group.take_due().is_empty() && !group.is_answered());
            tokio::time::advance(CONFLICT_PAUSE).await;
            assert!(group.wake_at() <= Instant::now());
            assert_eq!(group.take_due(), [1]);
        }
        group.record_ack(11, refused(10164));
        assert!(group.is_answered() && group.store_time().is_none());
    }
}
