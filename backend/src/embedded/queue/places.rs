//! Which job stands where: one place for each job id, one line for each server.
//!
//! Every id in a line has a place; a place without a line is a job in a worker's hands. Nothing here waits, and
//! time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longshore_proto::{Job, JobId, ServerName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Queued;

/// All jobs that are queued or delivered.
#[derive(Default)]
pub(super) struct Places {
    places: BTreeMap<JobId, Place>,
    lines: BTreeMap<ServerName, Line>,
}

struct Place {
    job: Job,
    delivered: u32,
    recalled: CancellationToken,
}

/// What waits for the workers of a server. An empty line is removed.
#[derive(Default)]
struct Line {
    ready: VecDeque<JobId>,
    later: BTreeSet<(Instant, JobId)>,
}

/// A job on its way to a worker.
pub(super) struct Taken {
    pub(super) job: Job,
    pub(super) delivered: u32,
    pub(super) recalled: CancellationToken,
}

impl Places {
    /// Puts a job at the end of its server's line, unless it has a place. Nothing if there is no room for it.
    pub(super) fn publish(&mut self, job: Job, room: usize) -> Option<Queued> {
        if self.places.contains_key(&job.id) {
            return Some(Queued::Already);
        }
        if self.places.len() >= room {
            return None;
        }
        self.line(&job.server).ready.push_back(job.id.clone());
        let place = Place { job, delivered: 0, recalled: CancellationToken::new() };
        self.places.insert(place.job.id.clone(), place);
        Some(Queued::New)
    }

    /// Takes up to `max` jobs that are ready now.
    pub(super) fn take(&mut self, server: &ServerName, max: usize, now: Instant) -> Vec<Taken> {
        let Some(line) = self.lines.get_mut(server) else { return Vec::new() };
        line.wake(now);
        let count = max.min(line.ready.len());
        let ids: Vec<JobId> = line.ready.drain(..count).collect();
        if line.ready.is_empty() && line.later.is_empty() {
            self.lines.remove(server);
        }
        ids.iter().filter_map(|id| self.places.get_mut(id).map(Place::deliver)).collect()
    }

    /// When a job of this server becomes ready that is not ready now.
    pub(super) fn next_due(&self, server: &ServerName) -> Option<Instant> {
        self.lines.get(server)?.later.first().map(|(due, _)| *due)
    }

    /// Puts a delivered job back at the end of its line, to wait there until `due`.
    pub(super) fn give_back(&mut self, id: &JobId, due: Option<Instant>) {
        let Some(server) = self.places.get(id).map(|place| place.job.server.clone()) else { return };
        let line = self.line(&server);
        match due {
            None => line.ready.push_back(id.clone()),
            Some(due) => drop(line.later.insert((due, id.clone()))),
        }
    }

    /// Forgets a delivered job: its id is free again.
    pub(super) fn remove(&mut self, id: &JobId) {
        self.places.remove(id);
    }

    /// Tells whoever has the job, or will get it.
    pub(super) fn recall(&self, id: &JobId) {
        if let Some(place) = self.places.get(id) {
            place.recalled.cancel();
        }
    }

    fn line(&mut self, server: &ServerName) -> &mut Line {
        self.lines.entry(server.clone()).or_default()
    }
}

impl Line {
    fn wake(&mut self, now: Instant) {
        while let Some((due, id)) = self.later.pop_first() {
            if due > now {
                self.later.insert((due, id));
                break;
            }
            self.ready.push_back(id);
        }
    }
}

impl Place {
    fn deliver(&mut self) -> Taken {
        self.delivered = self.delivered.saturating_add(1);
        Taken { job: self.job.clone(), delivered: self.delivered, recalled: self.recalled.clone() }
    }
}
