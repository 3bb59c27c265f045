//! Refused submits of a namespace, for clients: they read and change no stream themselves.

use longshore_ports::DeadLetter;
use longshore_proto::Namespace;

use super::{Desk, Refusal, Submitted, fit};
use crate::doorway::order;

/// Letters in a list where the request names no limit.
const USUAL: usize = 100;

impl Desk {
    /// Returns the newest refused submits of a namespace. Their bodies are cut where they would not fit into an answer.
    pub(super) async fn letters(
        &self,
        namespace: &Namespace,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, Refusal> {
        let limit = if limit == 0 { USUAL } else { limit };
        Ok(fit::letters(self.dead_letters.list(Some(namespace), limit).await?))
    }

    /// Returns a refused submit of a namespace. One of another namespace is unknown.
    pub(super) async fn letter(&self, namespace: &Namespace, number: u64) -> Result<DeadLetter, Refusal> {
        let letter = self.dead_letters.get(Some(namespace), number).await?;
        letter.ok_or(Refusal::UnknownLetter(number))
    }
    /// Submits a refused submit again, and removes it once it has become a run. What is refused again stays as it is.
    pub(super) async fn retry_letter(
        &self,
        namespace: &Namespace,
        number: u64,
    ) -> Result<Submitted, Refusal> {
        let letter = self.letter(namespace, number).await?;
        let submitted = self.submit(order::read_again(&letter)?).await?;
        self.dead_letters.remove(number).await?;
        Ok(submitted)
    }

    /// Removes a refused submit.
    pub(super) async fn drop_letter(&self, namespace: &Namespace, number: u64) -> Result<(), Refusal> {
        self.letter(namespace, number).await?;
        Ok(self.dead_letters.remove(number).await?)
    }
}
