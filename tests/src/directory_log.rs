//! The events in the log of a data directory, read while no process uses it.
//!
//! `longshore runs` prints runs as of the last checkpoint, which may be some events behind. The log holds every acknowledged
//! event.

#![expect(clippy::panic, reason = "a log that cannot be read has failed the test")]

use std::path::Path;

use longshore_embedded::{Access, Embedded};
use longshore_proto::{Event, Outcome, Partition, Seq, Settlement};

/// Entries read at once.
const CHUNK: usize = 512;

/// All events, partition by partition, in the order of the log.
#[derive(Debug)]
pub struct DirectoryLog {
    events: Vec<Event>,
}

impl DirectoryLog {
    /// Reads the log of a data directory.
    ///
    /// # Panics
    /// When it cannot be read completely.
    pub async fn read(data: &Path) -> Self {
        let unread = |error: String| -> ! { panic!("the log in {} cannot be read: {error}", data.display()) };
        let store = match Embedded::open(data, Access::ReadOnly).await {
            Ok(store) => store,
            Err(error) => unread(error.to_string()),
        };
        match read_all(&store).await {
            Ok(events) => {
                store.close().await;
                Self { events }
            }
            Err(error) => unread(error),
        }
    }

    /// Returns the number of submitted runs.
    pub fn runs(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Submitted { .. })).count()
    }

    /// Returns the outcomes with the paths of their steps, in the order of the log.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        self.events.iter().filter_map(|event| match event {
            Event::Settled { job, settlement: Settlement::Done(outcome), .. } => {
                Some((job.step.as_str(), outcome))
            }
            _ => None,
        })
    }
}

async fn read_all(store: &Embedded) -> Result<Vec<Event>, String> {
    let mut events = Vec::new();
    let partitions = store.partitions().await.map_err(|error| error.to_string())?;
    for partition in partitions.into_keys() {
        events.extend(read_one(store, partition).await.map_err(|error| error.to_string())?);
    }
    Ok(events)
}

async fn read_one(store: &Embedded, partition: Partition) -> Result<Vec<Event>, longshore_ports::Error> {
    let log = store.backend().log;
    let tail = log.tail(partition).await?;
    let mut reader = log.read(partition, Seq(1)).await?;
    let (mut events, mut seen) = (Vec::new(), Seq::ZERO);
    while seen < tail {
        for entry in reader.next(CHUNK).await? {
            seen = entry.seq;
            events.extend(entry.events.into_iter().flatten());
        }
    }
    Ok(events)
}
