//! All stores that a process needs, with their health.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use longshore_nats::Nats;
use longshore_ports::redact_addresses;
use longshore_proto::{Partition, subject};
use longshore_redis::Probe;
use longshore_worker::{JobWaits, WaitReason, WaitSummary};

use super::dependency::Dependency;
use super::logs_room::LogsRoom;
use super::redis_data::LastIdentity;
use crate::metering::ProcessRole;

/// Duration after which a job that waits for a grant is a reason to be unready. It is longer than a takeover, which takes about
/// eight seconds.
const GRANT_LIMIT: Duration = Duration::from_secs(15);

/// Operation of the probes of streams and of the account, as a label of metrics.
const PROBE_NATS: &str = "probe_nats";

/// Operation of the probes of Redis, as a label of metrics.
const PROBE_REDIS: &str = "probe_redis";

/// The stores of one process.
pub(super) struct Dependencies {
    /// Appends to the log of each partition.
    pub(super) appends: Vec<Arc<Dependency>>,
    /// Checkpoints of each partition.
    pub(super) checkpoints: Vec<Arc<Dependency>>,
    /// Takeovers of each partition. Only schedulers have them.
    pub(super) takeovers: Vec<Arc<Dependency>>,
    /// Publishes to the job queue, and pulls from it.
    pub(super) jobs: Arc<Dependency>,
    /// Reads and writes of large values.
    pub(super) blobs: Arc<Dependency>,
    /// Claims on calls with a key of their own.
    pub(super) claims: Arc<Dependency>,
    /// Leases on partitions and the list of schedulers.
    pub(super) leases: Arc<Dependency>,
    /// The list of workers.
    pub(super) presence: Arc<Dependency>,
    /// Pulls of published submits.
    pub(super) submits: Arc<Dependency>,
    /// Writes of dead letters.
    pub(super) dead_letters: Arc<Dependency>,
    /// The streams that the process uses.
    pub(super) streams: Vec<Arc<Dependency>>,
    /// Jobs of this process that wait before their call, once it is a worker that has started.
    job_waits: OnceLock<JobWaits>,
    /// The limits of the NATS account.
    pub(super) account: Dependency,
    /// Permissions of NATS whose lack no request reports.
    pub(super) permissions: Dependency,
    /// Room in the logs for more runs. Only schedulers measure it.
    pub(super) logs_room: Option<LogsRoom>,
    /// Writes of probe keys to Redis.
    pub(super) redis: Dependency,
    /// Settings of Redis on which claims depend.
    pub(super) redis_settings: Dependency,
    /// Comparisons with the Redis of the running schedulers.
    pub(super) same_redis: Dependency,
    /// The identity of this process's Redis.
    pub(super) redis_identity: LastIdentity,
    /// The kind of keys that the probes of Redis write.
    pub(super) redis_probe: Probe,
}

impl Dependencies {
    /// Returns the stores of a process, before any request.
    pub(super) fn new(role: ProcessRole, partitions: u16) -> Self {
        let of_traffic = |name: &str, operation| Arc::new(Dependency::of_traffic(name, operation));
        let of_each = |what: &str, operation| {
            let named = |number| format!("{what} {}", Partition(number));
            (0..partitions).map(|number| of_traffic(&named(number), operation)).collect()
        };
        Self {
            appends: of_each("appends to log", "append"),
            checkpoints: of_each("checkpoints of partition", "checkpoint"),
            takeovers: match role {
                ProcessRole::Scheduler => of_each("takeover of partition", "takeover"),
                ProcessRole::Worker => Vec::new(),
            },
            jobs: of_traffic("queue of jobs", "queue"),
            blobs: of_traffic("large values", "blob"),
            claims: of_traffic("claims", "claim"),
            leases: of_traffic("leases", "lease"),
            presence: of_traffic("list of workers", "presence"),
            submits: of_traffic("submits", "submit"),
            dead_letters: of_traffic("refused submits", "dead_letter"),
            streams: streams(role, partitions)
                .into_iter()
                .map(|name| Arc::new(Dependency::of_probe(name, PROBE_NATS)))
                .collect(),
            job_waits: OnceLock::new(),
            account: Dependency::of_probe("NATS account", PROBE_NATS),
            permissions: Dependency::of_traffic("permissions of NATS", "permission"),
            logs_room: (role == ProcessRole::Scheduler).then(LogsRoom::default),
            redis: Dependency::of_probe("redis", PROBE_REDIS),
            redis_settings: Dependency::of_probe("settings of redis", PROBE_REDIS),
            same_redis: Dependency::of_probe("same redis", PROBE_REDIS),
            redis_identity: LastIdentity::default(),
            redis_probe: match role {
                ProcessRole::Scheduler => Probe::Partitions,
                ProcessRole::Worker => Probe::Claims,
            },
        }
    }

    /// Iterates over all stores: first those that are probed.
    fn all(&self) -> impl Iterator<Item = &Dependency> {
        let probes = [&self.account, &self.permissions, &self.redis, &self.redis_settings, &self.same_redis]
            .into_iter();
        let each = self.streams.iter().chain(&self.appends).chain(&self.checkpoints).chain(&self.takeovers);
        let single = [
            &self.jobs,
            &self.blobs,
            &self.claims,
            &self.leases,
            &self.presence,
            &self.submits,
            &self.dead_letters,
        ];
        probes.chain(each.chain(single).map(|dependency| &**dependency))
    }

    /// Judges the waiting jobs of a worker from now on.
    pub(super) fn observe_jobs(&self, waits: JobWaits) {
        // A process has one worker.
        let _ = self.job_waits.set(waits);
    }

    /// Exports the counters of failed requests, before any request has failed.
    pub(super) fn export_failures(&self) {
        self.all().for_each(Dependency::export_failures);
    }

    /// Returns the name of each store, with the reason if it cannot be used. While NATS or Redis as a whole cannot be reached,
    /// that is the reason for each request to it.
    pub(super) fn verdicts(&self, nats: &Nats) -> Vec<(String, Result<(), String>)> {
        let connection = nats.check().map_err(|error| error.to_string());
        let (nats_reason, redis_reason) = (connection.clone().err(), self.redis.unreachable());
        let verdict = |dependency: &Dependency| {
            let of_server = match self.server_of(dependency) {
                Some(Server::Nats) => nats_reason.as_ref(),
                Some(Server::Redis) => redis_reason.as_ref(),
                None => None,
            };
            let own = dependency.verdict();
            own.and_then(|()| of_server.map_or(Ok(()), |reason| Err(reason.clone())))
        };
        let each = self.all().map(|dependency| (dependency.name().to_owned(), verdict(dependency)));
        let all = std::iter::once(("nats".to_owned(), connection)).chain(each).chain(self.grants());
        all.map(redacted).collect()
    }

    /// Returns the verdict on the jobs that wait for a grant. Only workers have it.
    fn grants(&self) -> Option<(String, Result<(), String>)> {
        let waits = self.job_waits.get()?;
        Some(("grants of leaders".to_owned(), judge_grants(waits.summary(WaitReason::Grant))))
    }

    /// Returns the server that a kind of request is sent to. `None` for what depends on both, and for probes.
    fn server_of(&self, dependency: &Dependency) -> Option<Server> {
        let is_among = |each: &[Arc<Dependency>]| each.iter().any(|one| std::ptr::eq(&**one, dependency));
        let is_one_of = |some: &[&Arc<Dependency>]| some.iter().any(|one| std::ptr::eq(&***one, dependency));
        if is_among(&self.checkpoints) || is_one_of(&[&self.claims, &self.leases, &self.presence]) {
            Some(Server::Redis)
        } else if is_among(&self.appends)
            || is_one_of(&[&self.jobs, &self.blobs, &self.submits, &self.dead_letters])
        {
            Some(Server::Nats)
        } else {
            None
        }
    }

    /// Returns the stores that cannot be used, each in one line with the reason.
    pub(super) fn problems(&self, nats: &Nats) -> Vec<String> {
        let connection = nats.check().map_err(|error| error.to_string());
        let each = self.all().map(|dependency| (dependency.name().to_owned(), dependency.verdict()));
        let all = std::iter::once(("nats".to_owned(), connection)).chain(each).chain(self.grants());
        all.map(redacted)
            .filter_map(|(name, verdict)| verdict.err().map(|reason| format!("{name}: {reason}")))
            .collect()
    }
}

/// Judges the jobs that wait for a grant. The error is the reason why calls that may not be repeated are not made.
fn judge_grants(waiting: WaitSummary) -> Result<(), String> {
    let WaitSummary { jobs, longest } = waiting;
    if longest < GRANT_LIMIT {
        return Ok(());
    }
    let seconds = longest.as_secs();
    // `doctor` joins reasons that differ in their ends in parentheses only.
    Err(format!("no leader has decided about calls that may not be repeated (for {seconds} s, jobs: {jobs})"))
}

/// A server that a process depends on.
#[derive(Clone, Copy)]
enum Server {
    Nats,
    Redis,
}

/// Removes what is secret from a reason. Readiness, the list of workers and the statistics of schedulers have them from here.
fn redacted((name, verdict): (String, Result<(), String>)) -> (String, Result<(), String>) {
    (name, verdict.map_err(|why| redact_addresses(&why).into_owned()))
}

/// Returns the names of the streams that a process uses.
fn streams(role: ProcessRole, partitions: u16) -> Vec<String> {
    let mut names: Vec<String> =
        (0..partitions).map(|number| subject::log_stream(Partition(number))).collect();
    let for_all = [subject::JOBS_STREAM, subject::BLOBS_STREAM];
    let for_schedulers = [subject::SUBMIT_STREAM, subject::DEAD_LETTER_STREAM, subject::WORKFLOWS_STREAM];
    names.extend(for_all.map(str::to_owned));
    if role == ProcessRole::Scheduler {
        names.extend(for_schedulers.map(str::to_owned));
    }
    names
}
