//! The logs: one stream for each partition, with a subject for each [role of writers](longshore_proto::WriterRole).
//!
//! Sequences and timestamps of a log are those of its stream. Appends carry no id for deduplication: a repeated append
//! is in the log twice, and the machine ignores what it has applied before.

mod fullness;
mod reader;

use async_nats::jetstream::stream::{Info, PurgeResponse};
use async_trait::async_trait;
use longshore_ports::{ENTRY_LIMIT_BYTES, Error, LogReader, RunLog};
use longshore_proto::{Event, Incarnation, Partition, Seq, encode_event, subject};
use serde_json::json;

use self::fullness::LogsFullness;
pub(super) use self::fullness::percent;
use self::reader::PartitionReader;
use super::api::request;
use super::connection::Connection;
use super::failure::failed;
use super::publisher::{OutgoingMessage, PublishOutcome, Publisher, StoreMode};
use super::streams::definitions::incarnation;
use super::streams::{StreamLayout, state_with_deleted, stream_info};

/// The logs of a cluster.
pub(super) struct PartitionLogs {
    connection: Connection,
    /// Publishers by partition.
    publishers: Vec<Publisher>,
    fullness: LogsFullness,
}

impl PartitionLogs {
    pub(super) fn new(connection: &Connection, layout: StreamLayout) -> Self {
        let publishers = (0..layout.partitions).map(|_| Publisher::open(connection)).collect();
        let fullness = LogsFullness::new(connection, layout.replicas);
        Self { connection: connection.clone(), publishers, fullness }
    }

    /// Returns the fullness of all logs together, in per cent of the room that the other streams leave them.
    pub(super) async fn fullness_of_all(&self) -> Result<u64, Error> {
        self.fullness.of_all_logs().await
    }

    async fn info(&self, partition: Partition, doing: &str) -> Result<Info, Error> {
        let info = stream_info(&self.connection.context, &subject::log_stream(partition)).await;
        info.map_err(|error| failed(format!("{doing} of partition {partition}"), error))
    }
}

#[async_trait]
impl RunLog for PartitionLogs {
    async fn incarnation(&self, partition: Partition) -> Result<Incarnation, Error> {
        Ok(incarnation(&self.info(partition, "read the incarnation of the log").await?))
    }

    async fn append(&self, partition: Partition, events: &[Event]) -> Result<Vec<Seq>, Error> {
        let doing = format!("append to the log of partition {partition}");
        let Some(publisher) = self.publishers.get(usize::from(partition.0)) else {
            let refusal = format!("there are {} partitions: 00 and up", self.publishers.len());
            return Err(Error::permanent(doing, refusal));
        };
        let messages = events.iter().map(|event| message(partition, event)).collect::<Result<Vec<_>, _>>();
        let messages = messages.map_err(|refusal| Error::permanent(doing.as_str(), refusal))?;
        let outcome = publisher.publish(&doing, messages).await?;
        Ok(outcome.into_iter().filter_map(sequence).collect())
    }

    async fn tail(&self, partition: Partition) -> Result<Seq, Error> {
        Ok(Seq(self.info(partition, "read the tail of the log").await?.state.last_sequence))
    }

    async fn fullness(&self, partition: Partition) -> Result<u64, Error> {
        let doing = "read the fullness of the log";
        let (info, all) = tokio::try_join!(self.info(partition, doing), self.fullness.of_all_logs())?;
        Ok(all.max(percent(info.state.bytes, info.config.max_bytes)))
    }

    async fn has_lost_entries(&self, partition: Partition, from: Seq) -> Result<bool, Error> {
        let info = self.info(partition, "look for lost entries in the log").await?;
        if info.state.deleted_count.unwrap_or_default() == 0 {
            return Ok(false);
        }
        let doing = format!("look for lost entries in the log of partition {partition}");
        let state = state_with_deleted(&self.connection.context, &subject::log_stream(partition)).await;
        let state = state.map_err(|error| failed(doing, error))?.state;
        Ok(state.deleted.unwrap_or_default().iter().any(|deleted| *deleted >= from.0))
    }

    async fn read(&self, partition: Partition, from: Seq) -> Result<Box<dyn LogReader>, Error> {
        Ok(Box::new(PartitionReader::open(self.connection.clone(), partition, from.max(Seq(1))).await?))
    }

    async fn trim(&self, partition: Partition, below: Seq) -> Result<(), Error> {
        let info = self.info(partition, "read the extent of the log before trimming").await?;
        // Of all subjects: with a filter NATS would keep older entries of the others.
        // A purge with sequence zero would remove everything, and one beyond the end would skip sequences.
        let below = below.0.min(info.state.last_sequence + 1);
        if below <= info.state.first_sequence {
            return Ok(());
        }
        let purge = format!("STREAM.PURGE.{}", subject::log_stream(partition));
        let purged =
            request::<PurgeResponse>(&self.connection.context, purge, &json!({ "seq": below })).await;
        purged
            .map_err(|error| failed(format!("trim the log of partition {partition} below {below}"), error))?;
        Ok(())
    }
}

fn message(partition: Partition, event: &Event) -> Result<OutgoingMessage, String> {
    let body = encode_event(event).map_err(|error| error.to_string())?;
    if body.len() > ENTRY_LIMIT_BYTES {
        return Err(format!(
            "an entry of {} bytes is larger than {ENTRY_LIMIT_BYTES}: store its large values as blobs",
            body.len()
        ));
    }
    // The sequence of an announcement is the epoch of a leader, so no other event may share it.
    let is_announcement = matches!(event, Event::LeaderAnnounced { .. });
    let store = if is_announcement { StoreMode::Single } else { StoreMode::Mergeable };
    let subject = subject::log(partition, event.kind().writer()).into();
    Ok(OutgoingMessage { subject, body: body.into(), store })
}

/// Returns the sequence of an appended event. An append has no condition, so its message is never present already.
fn sequence(outcome: PublishOutcome) -> Option<Seq> {
    match outcome {
        PublishOutcome::Stored(sequence) => Some(Seq(sequence)),
        PublishOutcome::AlreadyPresent => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_without_a_limit_is_never_full() {
        for (bytes, limit, full) in [(7, -1, 0), (7, -1, 0), (7, 0, 0), (7, 10, 70), (20, 10, 200)] {
            assert_eq!(percent(bytes, limit), full, "{bytes} of {limit}");
        }
    }
}
