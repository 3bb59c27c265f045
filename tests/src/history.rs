//! Events in the logs of a data directory, read while no process works in it.
//!
//! `longshore runs` shows runs as of the last checkpoint, which may be a little behind; the log is what was
//! acknowledged.

#![expect(clippy::panic, reason = "a log that cannot be read has failed the test")]

use std::path::Path;

use longshore_embedded::{Access, Embedded};
use longshore_proto::{Event, Outcome, Partition, Seq, Settlement};

/// Entries read at once.
const CHUNK: usize = 512;

/// Every event, partition by partition, in order.
#[derive(Debug)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// Reads the log of a data directory.
    ///
    /// # Panics
    /// When it cannot be read in full.
    pub async fn of(data: &Path) -> Self {
        let unread = |error: String| -> ! { panic!("the log in {} cannot be read: {error}", data.display()) };
        let store = match Embedded::open(data, Access::ReadOnly).await {
            Ok(store) => store,
            Err(error) => unread(error.to_string()),
        };
        match read(&store).await {
            Ok(events) => {
                store.close().await;
                Self { events }
            }
            Err(error) => unread(error),
        }
    }

    /// How many runs were submitted.
    pub fn runs(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Submitted { .. })).count()
    }

    /// The steps that have ended, by their paths, in the order in which their outcomes were recorded.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, &Outcome)> {
        self.events.iter().filter_map(|event| match event {
            Event::Settled { job, settlement: Settlement::Done(outcome), .. } => {
                Some((job.step.as_str(), outcome))
            }
            _ => None,
        })
    }
}

async fn read(store: &Embedded) -> Result<Vec<Event>, String> {
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
