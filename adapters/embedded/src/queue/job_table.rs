//! The jobs of a queue by id, and a queue of ids for each MCP server.
//!
//! Every id in a server's queue belongs to a job of the table. A job whose id is in no server's queue is delivered to a
//! worker. Nothing here waits, and time is an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use longshore_proto::{Job, JobId, ServerName};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// All jobs that are queued or delivered.
#[derive(Default)]
pub(super) struct JobTable {
    jobs: BTreeMap<JobId, QueuedJob>,
    servers: BTreeMap<ServerName, ServerQueue>,
}

struct QueuedJob {
    job: Job,
    /// Number of deliveries.
    delivered: u32,
    recalled: CancellationToken,
}

/// The jobs that wait for workers of one server. An empty queue is removed.
#[derive(Default)]
struct ServerQueue {
    ready: VecDeque<JobId>,
    /// Jobs that become ready at a time.
    delayed: BTreeSet<(Instant, JobId)>,
}

/// A job that is delivered to a worker.
pub(super) struct TakenJob {
    pub(super) job: Job,
    pub(super) delivered: u32,
    pub(super) recalled: CancellationToken,
}

impl JobTable {
    /// Adds a job at the end of its server's queue, unless the table has it. Returns false if there is no room.
    pub(super) fn publish(&mut self, job: Job, limit: usize) -> bool {
        if self.holds(&job.id) {
            return true;
        }
        if self.jobs.len() >= limit {
            return false;
        }
        self.server_queue(&job.server).ready.push_back(job.id.clone());
        let queued = QueuedJob { job, delivered: 0, recalled: CancellationToken::new() };
        self.jobs.insert(queued.job.id.clone(), queued);
        true
    }

    /// Returns true if a job is queued or delivered.
    pub(super) fn holds(&self, id: &JobId) -> bool {
        self.jobs.contains_key(id)
    }

    /// Returns the number of jobs of a server that no worker has, if this one is among them and was never delivered.
    pub(super) fn waiting(&self, server: &ServerName, id: &JobId) -> Option<usize> {
        let queue = self.servers.get(server)?;
        self.jobs.get(id).filter(|queued| queued.delivered == 0)?;
        Some(queue.ready.len() + queue.delayed.len())
    }

    /// Takes up to `max` jobs that are ready now.
    pub(super) fn take(&mut self, server: &ServerName, max: usize, now: Instant) -> Vec<TakenJob> {
        let Some(queue) = self.servers.get_mut(server) else { return Vec::new() };
        queue.make_ready(now);
        let count = max.min(queue.ready.len());
        let ids: Vec<JobId> = queue.ready.drain(..count).collect();
        if queue.ready.is_empty() && queue.delayed.is_empty() {
            self.servers.remove(server);
        }
        ids.iter().filter_map(|id| self.jobs.get_mut(id).map(QueuedJob::deliver)).collect()
    }

    /// Returns the time at which the next delayed job of a server becomes ready.
    pub(super) fn next_due(&self, server: &ServerName) -> Option<Instant> {
        self.servers.get(server)?.delayed.first().map(|(due, _)| *due)
    }

    /// Queues a delivered job again, to become ready at `due`.
    pub(super) fn give_back(&mut self, id: &JobId, due: Option<Instant>) {
        let Some(server) = self.jobs.get(id).map(|queued| queued.job.server.clone()) else { return };
        let queue = self.server_queue(&server);
        match due {
            None => queue.ready.push_back(id.clone()),
            Some(due) => drop(queue.delayed.insert((due, id.clone()))),
        }
    }

    /// Removes a delivered job. Its id can be published again.
    pub(super) fn remove(&mut self, id: &JobId) {
        self.jobs.remove(id);
    }

    /// Removes a job that waits. A delivered one is removed when its worker answers.
    pub(super) fn withdraw(&mut self, id: &JobId) {
        let Some(server) = self.jobs.get(id).map(|queued| queued.job.server.clone()) else { return };
        let Some(queue) = self.servers.get_mut(&server) else { return };
        let waiting = queue.ready.len() + queue.delayed.len();
        queue.ready.retain(|one| one != id);
        queue.delayed.retain(|(_, one)| one != id);
        let left = queue.ready.len() + queue.delayed.len();
        if left < waiting {
            self.jobs.remove(id);
        }
        if left == 0 {
            self.servers.remove(&server);
        }
    }

    /// Cancels the token of a job, for the worker that has it or will get it.
    pub(super) fn recall(&self, id: &JobId) {
        if let Some(queued) = self.jobs.get(id) {
            queued.recalled.cancel();
        }
    }

    fn server_queue(&mut self, server: &ServerName) -> &mut ServerQueue {
        self.servers.entry(server.clone()).or_default()
    }
}

impl ServerQueue {
    /// Moves the delayed jobs that are due to the ready ones.
    fn make_ready(&mut self, now: Instant) {
        while let Some((due, id)) = self.delayed.pop_first() {
            if due > now {
                self.delayed.insert((due, id));
                break;
            }
            self.ready.push_back(id);
        }
    }
}

impl QueuedJob {
    fn deliver(&mut self) -> TakenJob {
        self.delivered = self.delivered.saturating_add(1);
        TakenJob { job: self.job.clone(), delivered: self.delivered, recalled: self.recalled.clone() }
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

    fn taken(table: &mut JobTable, now: Instant) -> Vec<JobId> {
        table.take(&server(), 9, now).into_iter().map(|taken| taken.job.id).collect()
    }

    #[test]
    fn full_queue_accepts_more_after_a_job_is_removed() {
        let mut table = JobTable::default();
        let publish = |table: &mut JobTable, n| table.publish(job(n), 2);
        assert_eq!([1, 2, 3, 1].map(|n| publish(&mut table, n)), [true, true, false, true]);
        taken(&mut table, Instant::now());
        assert!(!publish(&mut table, 3), "a delivered job counts");
        table.remove(&job(1).id);
        assert!(publish(&mut table, 3));
    }

    #[test]
    fn job_that_is_given_back_becomes_ready_at_its_time() {
        let (mut table, now) = (JobTable::default(), Instant::now());
        for n in 1..=3 {
            table.publish(job(n), 9);
        }
        let ids = taken(&mut table, now);
        let soon = now + Duration::from_millis(1);
        table.give_back(&ids[2], Some(soon));
        table.give_back(&ids[0], Some(soon + Duration::from_millis(1)));
        table.give_back(&ids[1], None);
        assert_eq!(taken(&mut table, now), [ids[1].clone()]);
        assert_eq!(table.next_due(&server()), Some(soon));
        assert_eq!(taken(&mut table, soon), [ids[2].clone()]);
        assert_eq!(taken(&mut table, soon + Duration::from_secs(1)), [ids[0].clone()]);
        assert_eq!(table.next_due(&server()), None);
    }

    #[test]
    fn empty_server_queue_is_removed() {
        let mut table = JobTable::default();
        table.publish(job(1), 9);
        for id in taken(&mut table, Instant::now()) {
            table.remove(&id);
        }
        assert!(table.servers.is_empty() && table.jobs.is_empty());
    }
}
