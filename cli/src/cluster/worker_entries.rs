//! Entries of workers over NATS. Workers list themselves in Redis; one that cannot use Redis is not listed, and still answers
//! `longshore doctor` here.

use std::time::Duration;

use async_nats::Client;
use futures::StreamExt;
use longshore_ports::WorkerEntry;
use longshore_proto::subject;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::answers;

/// Number of workers that are listed.
const MAX_LISTED_WORKERS: usize = 1_000;

/// Beginning of the reply subjects that are answered. With any other one, a request would make the worker publish where only it
/// may.
const INBOX: &str = "_INBOX";

/// Answers requests for the entry of this worker until `stop`.
pub(super) async fn answer(client: Client, entry: impl Fn() -> WorkerEntry, stop: CancellationToken) {
    let mut requests = match client.subscribe(subject::WORKERS).await {
        Ok(requests) => requests,
        Err(error) => {
            warn!(%error, "cannot receive requests for the entry of this worker; `longshore doctor` needs Redis to see it");
            return stop.cancelled().await;
        }
    };
    let answering = async {
        while let Some(request) = requests.next().await {
            let Some(reply) = request.reply.filter(|reply| reply.starts_with(INBOX)) else { continue };
            let body = serde_json::to_vec(&entry()).unwrap_or_default();
            if let Err(error) = client.publish(reply, body.into()).await {
                debug!(%error, "cannot answer a request for the entry of this worker");
            }
        }
    };
    let _ = stop.run_until_cancelled(answering).await;
}

/// Returns the workers that answer within `limit`.
pub(super) async fn request(client: &Client, limit: Duration) -> Vec<WorkerEntry> {
    let answers = answers::to_all(client, subject::WORKERS, MAX_LISTED_WORKERS, limit).await;
    answers.iter().filter_map(|answer| serde_json::from_slice(&answer.payload).ok()).collect()
}
