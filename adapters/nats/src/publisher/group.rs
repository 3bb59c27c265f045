//! Messages that went to the server together, and what became of each.
//!
//! They have consecutive numbers, which their answers come under; the answer to a batch (ADR-50 of NATS) comes under the
//! number of its last message and counts for all. A batch is stored whole or not at all, and refused as a whole when
//! one of its messages is; so a refused batch is [sent again](FollowUp::SendAll) one by one, and then each message gets its
//! own answer.

use std::ops::Range;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::answer::{Answer, Refusal};
use super::call::PublishResult;
use super::message::{Outgoing, Placed};
use crate::connection::ANSWER_TIMEOUT;
use crate::publish_costs::Way;

/// How often, and how soon, to ask again while an equal message is on its way in the server.
const CLASHES: u32 = 20;
const CLASH_PAUSE: Duration = Duration::from_millis(3);

/// A group on its way.
pub(super) struct Group {
    first: u64,
    pub(super) way: Way,
    pub(super) messages: Vec<Outgoing>,
    answers: Vec<Option<Result<Placed, Refusal>>>,
    unanswered: usize,
    /// In which message each of those is that calls brought.
    places: Vec<usize>,
    /// How many they brought, one call after the other.
    calls: Vec<(usize, oneshot::Sender<PublishResult>)>,
    pub(super) sent: Instant,
    /// Messages to be sent again, since when, and how often that was done.
    again: Vec<usize>,
    again_since: Option<Instant>,
    clashes: u32,
    /// Whether it was a batch that the server refused.
    refused: bool,
}

/// The sender's next step after an answer.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum FollowUp {
    /// Nothing has to be sent.
    Nothing,
    /// Every message has to be sent again, one by one.
    SendAll,
}

impl Group {
    pub(super) fn new(
        first: u64,
        way: Way,
        (messages, places): (Vec<Outgoing>, Vec<usize>),
        calls: Vec<(usize, oneshot::Sender<PublishResult>)>,
    ) -> Self {
        let unanswered = messages.len();
        let answers = (0..unanswered).map(|_| None).collect();
        let (again, again_since, clashes) = (Vec::new(), None, 0);
        Self {
            first,
            way,
            messages,
            answers,
            unanswered,
            places,
            calls,
            sent: Instant::now(),
            again,
            again_since,
            clashes,
            refused: false,
        }
    }

    /// The numbers of its messages.
    pub(super) fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.messages.len() as u64
    }

    /// Takes in what the server says under a number.
    pub(super) fn take(&mut self, number: u64, answer: Answer) -> FollowUp {
        if self.way == Way::AsBatch {
            return self.take_of_batch(answer);
        }
        let Ok(index) = usize::try_from(number - self.first) else { return FollowUp::Nothing };
        match answer.placed {
            Err(refusal) if refusal.is_clash() && self.clashes < CLASHES => {
                self.again.push(index);
                self.again_since.get_or_insert_with(Instant::now);
            }
            placed => self.answer(index, placed),
        }
        FollowUp::Nothing
    }

    fn take_of_batch(&mut self, answer: Answer) -> FollowUp {
        let count = self.messages.len() as u64;
        match answer {
            // Stored without anything in between, up to the place that is told.
            Answer { placed: Ok(Placed::New(last)), batch: Some(stored) }
                if stored == count && last >= count =>
            {
                for (index, place) in (last - count + 1..=last).enumerate() {
                    self.answer(index, Ok(Placed::New(place)));
                }
                FollowUp::Nothing
            }
            // The server's word means that nothing was stored.
            Answer { placed: Err(Refusal::Said(_)) | Ok(Placed::Already), .. } => {
                (self.way, self.refused, self.sent) = (Way::Singly, true, Instant::now());
                FollowUp::SendAll
            }
            Answer { placed: Err(refusal), .. } => {
                self.fail(&refusal);
                FollowUp::Nothing
            }
            Answer { placed: Ok(Placed::New(place)), batch } => {
                let told =
                    format!("of a batch of {count} messages, {batch:?} are said to be stored, up to {place}");
                self.fail(&Refusal::Unreadable(told));
                FollowUp::Nothing
            }
        }
    }

    /// Notes what became of a message; only its first answer counts.
    pub(super) fn answer(&mut self, index: usize, placed: Result<Placed, Refusal>) {
        if let Some(place @ None) = self.answers.get_mut(index) {
            *place = Some(placed);
            self.unanswered -= 1;
        }
    }

    /// Nothing more will be heard of what was not answered.
    pub(super) fn fail(&mut self, refusal: &Refusal) {
        for index in 0..self.messages.len() {
            self.answer(index, Err(refusal.clone()));
        }
    }

    /// When something has to be done about it, if no answer comes.
    pub(super) fn wake_at(&self) -> Instant {
        let again = self.again_since.map(|since| since + CLASH_PAUSE);
        again.unwrap_or(self.sent + ANSWER_TIMEOUT).min(self.sent + ANSWER_TIMEOUT)
    }

    /// Messages that it is time to send again.
    pub(super) fn due(&mut self) -> Vec<usize> {
        match self.again_since {
            Some(since) if since.elapsed() >= CLASH_PAUSE => {
                self.again_since = None;
                self.clashes += 1;
                std::mem::take(&mut self.again)
            }
            _ => Vec::new(),
        }
    }

    pub(super) const fn is_answered(&self) -> bool {
        self.unanswered == 0
    }

    /// How long the server took to store all of it; nothing if it did not, or not at once.
    pub(super) fn took(&self) -> Option<Duration> {
        let stored = self.answers.iter().all(|answer| matches!(answer, Some(Ok(_))));
        (stored && self.clashes == 0 && !self.refused).then(|| self.sent.elapsed())
    }

    /// Tells everybody what became of their messages.
    pub(super) fn tell(self) {
        // All are answered, so nobody is told what was not said.
        let answer = |place: usize| self.answers.get(place).cloned().flatten().unwrap_or(Err(Refusal::Lost));
        let mut places = self.places.into_iter();
        for (count, call) in self.calls {
            let told = places.by_ref().take(count).map(answer).collect::<Vec<_>>().into_iter().collect();
            // Nobody may be waiting any more, which is no reason not to have published.
            let _ = call.send(told);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::message::Manner;
    use serde_json::json;

    fn group(way: Way, counts: &[usize]) -> (Group, Vec<oneshot::Receiver<PublishResult>>) {
        let message = Outgoing { subject: "a".into(), body: "".into(), manner: Manner::Once };
        let (calls, told) = counts
            .iter()
            .map(|count| {
                let (call, told) = oneshot::channel();
                ((*count, call), told)
            })
            .unzip();
        let count = counts.iter().sum();
        (Group::new(10, way, (vec![message; count], (0..count).collect()), calls), told)
    }

    fn stored(place: u64, batch: Option<u64>) -> Answer {
        Answer { placed: Ok(Placed::New(place)), batch }
    }

    fn said(code: u64) -> Answer {
        let word = json!({ "code": 400, "err_code": code, "description": "no" });
        Answer { placed: Err(Refusal::Said(serde_json::from_value(word).expect("a word"))), batch: None }
    }

    #[test]
    fn everybody_is_told_of_their_own_messages() {
        let (mut group, mut told) = group(Way::Singly, &[1, 2]);
        for (number, answer) in [(12, stored(8, None)), (10, stored(7, None)), (11, said(10077))] {
            assert!(!group.is_answered());
            assert_eq!(group.take(number, answer), FollowUp::Nothing);
        }
        assert!(group.is_answered() && group.took().is_none());
        group.tell();
        let second = told.pop().expect("two calls").try_recv().expect("told");
        assert!(matches!(second, Err(Refusal::Said(_))), "one of its messages was refused");
        let first = told.pop().expect("two calls").try_recv().expect("told");
        assert_eq!(first.expect("stored"), [Placed::New(7)]);
    }

    #[test]
    fn a_batch_ends_at_the_acknowledged_place() {
        let (mut group, mut told) = group(Way::AsBatch, &[3]);
        assert_eq!(group.take(12, stored(12, Some(3))), FollowUp::Nothing);
        assert!(group.took().is_some());
        group.tell();
        let placed = told.pop().expect("a call").try_recv().expect("told").expect("stored");
        assert_eq!(placed, [Placed::New(10), Placed::New(11), Placed::New(12)]);
    }

    #[test]
    fn an_acknowledgement_of_something_else_is_not_believed() {
        for answer in [stored(12, None), stored(12, Some(2)), stored(2, Some(3))] {
            let (mut group, mut told) = group(Way::AsBatch, &[3]);
            assert_eq!(group.take(12, answer), FollowUp::Nothing);
            group.tell();
            assert!(told.pop().expect("a call").try_recv().expect("told").is_err());
        }
    }

    #[test]
    fn a_refused_batch_is_sent_again_one_by_one() {
        let (mut group, _told) = group(Way::AsBatch, &[2]);
        assert_eq!(group.take(11, said(10201)), FollowUp::SendAll);
        assert_eq!(group.take(10, stored(4, None)), FollowUp::Nothing);
        assert!(!group.is_answered());
        group.take(11, Answer { placed: Ok(Placed::Already), batch: None });
        assert!(group.is_answered() && group.took().is_none(), "it tells nothing of either way");
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_equal_message_is_on_its_way_it_is_sent_again_and_not_for_ever() {
        let (mut group, _told) = group(Way::Singly, &[2]);
        group.take(10, stored(1, None));
        for _ in 0..CLASHES {
            group.take(11, said(10164));
            assert!(group.due().is_empty() && !group.is_answered());
            tokio::time::advance(CLASH_PAUSE).await;
            assert!(group.wake_at() <= Instant::now());
            assert_eq!(group.due(), [1]);
        }
        group.take(11, said(10164));
        assert!(group.is_answered() && group.took().is_none());
    }
}
