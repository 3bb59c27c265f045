//! What a data directory has recorded: the events of its log, read while nobody works in it.
//!
//! `longshore runs` shows runs as of the last checkpoint, which may be a little behind; the log is what was
//! acknowledged.

#![expect(clippy::panic, reason = "a log that cannot be read has failed the test")]

use std::path::Path;

use longshore_backend::embedded::{Access, Embedded};
use longshore_proto::{Event, Outcome, Partition, Seq, Settlement};

/// Entries read at once.
const CHUNK: usize = 512;

/// The partition of a process that is alone.
const PARTITION: Partition = Partition(0);

/// Every event, in order.
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
            Err(error) => unread(error.to_string()),
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

async fn read(store: &Embedded) -> Result<Vec<Event>, longshore_backend::Error> {
    let log = store.backend().log;
    let tail = log.tail(PARTITION).await?;
    let mut reader = log.read(PARTITION, Seq(1)).await?;
    let (mut events, mut seen) = (Vec::new(), Seq::ZERO);
    while seen < tail {
        for entry in reader.next(CHUNK).await? {
            seen = entry.seq;
            events.extend(entry.events.into_iter().flatten());
        }
    }
    Ok(events)
}
