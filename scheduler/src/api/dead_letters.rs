//! Requests for dead letters: refused submits of a namespace.

use longshore_ports::DeadLetter;
use longshore_proto::Namespace;

use super::{RequestHandlers, truncate};
use crate::ingest::decode_dead_letter;
use crate::refusal::Refusal;
use crate::submit::SubmitReceipt;

/// Length of a list for which the request names no limit.
const DEFAULT_LIMIT: usize = 100;

impl RequestHandlers {
    /// Returns the newest dead letters of a namespace. Bodies are shortened if they do not fit into an answer.
    pub(super) async fn list_dead_letters(
        &self,
        namespace: &Namespace,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Refusal> {
        let limit = if limit == 0 { DEFAULT_LIMIT } else { limit };
        Ok(truncate::dead_letters(self.dead_letters.list(Some(namespace), limit).await?))
    }

    /// Returns a dead letter of a namespace. One of another namespace is unknown.
    pub(super) async fn dead_letter(
        &self,
        namespace: &Namespace,
        number: u64,
    ) -> Result<DeadLetter, Refusal> {
        let letter = self.dead_letters.get(Some(namespace), number).await?;
        letter.ok_or(Refusal::UnknownDeadLetter(number))
    }

    /// Submits a dead letter again, and removes it once it is a run. A letter that is refused again is kept.
    pub(super) async fn retry_dead_letter(
        &self,
        namespace: &Namespace,
        number: u64,
    ) -> Result<SubmitReceipt, Refusal> {
        let letter = self.dead_letter(namespace, number).await?;
        let receipt = self.submits.submit(decode_dead_letter(&letter)?).await?;
        self.dead_letters.remove(number).await?;
        Ok(receipt)
    }

    /// Removes a dead letter.
    pub(super) async fn remove_dead_letter(&self, namespace: &Namespace, number: u64) -> Result<(), Refusal> {
        self.dead_letter(namespace, number).await?;
        Ok(self.dead_letters.remove(number).await?)
    }
}
