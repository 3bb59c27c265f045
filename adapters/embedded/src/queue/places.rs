//! Which job stands where: one place for each job id, one line for each server.
//!
//! Every id in a line has a place; a place without a line is a job in a worker's hands. Nothing here waits, and
//! time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longshore_ports::Queued;
use longshore_proto::{Job, JobId, ServerName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

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
        if self.holds(&job.id) {
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

    /// Whether a job has a place.
    pub(super) fn holds(&self, id: &JobId) -> bool {
        self.places.contains_key(id)
    }

    /// The number of jobs of a server that no worker has, if this one is among them and no worker ever had it.
    pub(super) fn waiting(&self, server: &ServerName, id: &JobId) -> Option<usize> {
        let line = self.lines.get(server)?;
        self.places.get(id).filter(|place| place.delivered == 0)?;
        Some(line.ready.len() + line.later.len())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use longshore_proto::{
        Attempt, OnToolError, Partition, Payload, RepeatSafety, RetryPolicy, RunId, Timestamp,
    };

    use super::*;

    fn job(n: u128) -> Job {
        let run = RunId::new(Partition(0), Timestamp::default(), n);
        Job {
            id: JobId { run, step: "fetch".parse().expect("a step"), attempt: Attempt::FIRST },
            submitted_at: Timestamp::default(),
            namespace: "default".parse().expect("a namespace"),
            workflow: "demo".parse().expect("a name"),
            server: server(),
            tool: "read".parse().expect("a tool"),
            arguments: Payload::NULL,
            secrets: Vec::new(),
            timeout: Duration::from_secs(1),
            max_timeout: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            safety: RepeatSafety::Safe,
            idempotency_key: String::new(),
            own_key: false,
            on_tool_error: OnToolError::Fail,
            keep_content: false,
            trace: None,
        }
    }

    fn server() -> ServerName {
        "files".parse().expect("a server")
    }

    fn taken(places: &mut Places, now: Instant) -> Vec<JobId> {
        places.take(&server(), 9, now).into_iter().map(|taken| taken.job.id).collect()
    }

    #[test]
    fn a_full_queue_takes_more_once_a_job_is_gone() {
        let mut places = Places::default();
        let publish = |places: &mut Places, n| places.publish(job(n), 2);
        assert_eq!(
            [1, 2, 3, 1].map(|n| publish(&mut places, n)),
            [Some(Queued::New), Some(Queued::New), None, Some(Queued::Already)]
        );
        taken(&mut places, Instant::now());
        assert_eq!(publish(&mut places, 3), None, "a delivered job has its place");
        places.remove(&job(1).id);
        assert_eq!(publish(&mut places, 3), Some(Queued::New));
    }

    #[test]
    fn a_job_comes_back_at_its_moment() {
        let (mut places, now) = (Places::default(), Instant::now());
        for n in 1..=3 {
            places.publish(job(n), 9);
        }
        let ids = taken(&mut places, now);
        let soon = now + Duration::from_millis(1);
        places.give_back(&ids[2], Some(soon));
        places.give_back(&ids[0], Some(soon + Duration::from_millis(1)));
        places.give_back(&ids[1], None);
        assert_eq!(taken(&mut places, now), [ids[1].clone()]);
        assert_eq!(places.next_due(&server()), Some(soon));
        assert_eq!(taken(&mut places, soon), [ids[2].clone()]);
        assert_eq!(taken(&mut places, soon + Duration::from_secs(1)), [ids[0].clone()]);
        assert_eq!(places.next_due(&server()), None);
    }

    #[test]
    fn nothing_is_left_of_a_line_that_nobody_stands_in() {
        let mut places = Places::default();
        places.publish(job(1), 9);
        for id in taken(&mut places, Instant::now()) {
            places.remove(&id);
        }
        assert!(places.lines.is_empty() && places.places.is_empty());
    }
}
