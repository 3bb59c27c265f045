//! Refused submits of a namespace, for clients: they read no stream themselves.

use longshore_backend::DeadLetter;
use longshore_proto::Namespace;

use super::{Desk, Refusal, fit};

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
}
