//! Answers of all processes that listen on a subject.

use std::time::Duration;

use async_nats::{Client, Message, StatusCode};
use futures::StreamExt;
use tokio::time::timeout;

/// Returns the answers to a request that arrive within `limit`, at most `most`. All processes answer at once. None if no process
/// listens, or without a connection.
pub(super) async fn to_all(
    client: &Client,
    subject: &'static str,
    most: usize,
    limit: Duration,
) -> Vec<Message> {
    let inbox = client.new_inbox();
    let Ok(answers) = client.subscribe(inbox.clone()).await else { return Vec::new() };
    if client.publish_with_reply(subject, inbox, "".into()).await.is_err() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut answers = answers.take(most);
    let collecting = async {
        while let Some(answer) = answers.next().await {
            // NATS reports that no process listens.
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                break;
            }
            found.push(answer);
        }
    };
    // The number of processes is not known, so the collection ends by its timeout.
    let _ = timeout(limit, collecting).await;
    found
}
