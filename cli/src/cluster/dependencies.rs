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
                .map(|name| Arc::new(Dependency::of_probe(name)))
                .collect(),
            job_waits: OnceLock::new(),
            account: Dependency::of_probe("NATS account"),
            permissions: Dependency::of_traffic("permissions of NATS", "permission"),
            logs_room: (role == ProcessRole::Scheduler).then(LogsRoom::default),
            redis: Dependency::of_probe("redis"),
            redis_settings: Dependency::of_probe("settings of redis"),
            same_redis: Dependency::of_probe("same redis"),
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

    /// Returns the name of each store, with the reason if it cannot be used.
    pub(super) fn verdicts(&self, nats: &Nats) -> Vec<(String, Result<(), String>)> {
        let connection = nats.check().map_err(|error| error.to_string());
        let each = self.all().map(|dependency| (dependency.name().to_owned(), dependency.verdict()));
        let grants = self
            .job_waits
            .get()
            .map(|waits| ("grants of leaders".to_owned(), judge_grants(waits.summary(WaitReason::Grant))));
        let all = std::iter::once(("nats".to_owned(), connection)).chain(each).chain(grants);
        // Readiness, the list of workers and the statistics of schedulers have them from here.
        all.map(|(name, verdict)| (name, verdict.map_err(|why| redact_addresses(&why).into_owned())))
            .collect()
    }

    /// Returns the stores that cannot be used, each in one line with the reason.
    pub(super) fn problems(&self, nats: &Nats) -> Vec<String> {
        let failing = |(name, verdict): (String, Result<(), String>)| {
            verdict.err().map(|reason| format!("{name}: {reason}"))
        };
        self.verdicts(nats).into_iter().filter_map(failing).collect()
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
