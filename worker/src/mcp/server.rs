//! One server of the file: decides which of its connections carries a call.
//!
//! By default there is one connection, shared by all calls. With `pool` there are several, each with a process of its
//! own, and a crash costs the calls of one of them. A job during whose call a process ended before gets a process to
//! itself, so that it takes no other call with it the next time.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use longshore_proto::{CallActivity, RunId, ServerName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::CallingJob;
use super::classify::Observation;
use super::config::{Reach, Secrets, ServerConfig, Settings};
use super::connection::Connection;
use super::handshake::Home;
use super::member::{Member, connect};
use super::reliance::Reliance;
use super::suspects::Suspects;

/// Processes for single jobs at once, for each server. A crash puts all jobs under suspicion that shared the process; they
/// wait for each other rather than start a process each.
const ALONE_AT_ONCE: usize = 4;

/// A job that is delivered for this many times has a process to itself: its earlier deliveries ended without a report, and
/// perhaps because of it. One is usual when a worker is replaced.
const ALONE_FROM_DELIVERY: u32 = 3;

/// A server that can be called.
#[derive(Debug)]
pub(crate) struct Server {
    name: ServerName,
    config: Arc<ServerConfig>,
    members: Vec<Arc<Member>>,
    /// The number of calls on each member.
    loads: Arc<Mutex<Vec<usize>>>,
    suspects: Suspects,
    reliance: Reliance,
    alone: Arc<Semaphore>,
}

/// A connection for one call.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) connection: Arc<Connection>,
    _share: Share,
}

/// What a call takes of its server until it ends.
#[derive(Debug)]
enum Share {
    /// A share in a member, counted in its load.
    Member(#[expect(dead_code, reason = "counts while it lives")] Load),
    /// A process to itself.
    Alone(#[expect(dead_code, reason = "counts while it lives")] OwnedSemaphorePermit),
}

/// One call on a member.
#[derive(Debug)]
struct Load {
    loads: Arc<Mutex<Vec<usize>>>,
    member: usize,
}

impl Server {
    /// A server without a connection.
    pub(crate) fn new(name: ServerName, config: ServerConfig) -> Self {
        let config = Arc::new(config);
        let size = config.settings.pool.max(1);
        let members = (0..size).map(|_| Arc::new(Member::new(name.clone(), Arc::clone(&config)))).collect();
        let (loads, alone) = (Arc::new(Mutex::new(vec![0; size])), Arc::new(Semaphore::new(ALONE_AT_ONCE)));
        Self {
            name,
            config,
            members,
            loads,
            suspects: Suspects::default(),
            reliance: Reliance::default(),
            alone,
        }
    }

    /// How it is treated.
    pub(crate) fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// What must not be seen in what it says.
    pub(crate) fn secrets(&self) -> &Secrets {
        &self.config.secrets
    }

    /// The activity of a call that waits for a connection of this server.
    pub(crate) fn connecting(&self) -> CallActivity {
        let server = self.name.clone();
        match self.config.reach {
            Reach::Stdio(_) => CallActivity::Starting { server },
            Reach::Http(_) | Reach::Noop => CallActivity::Connecting { server },
        }
    }

    /// A connection for a call; a new one if there is none that can be used. One attempt is made.
    pub(crate) async fn seat(&self, job: Option<CallingJob<'_>>, home: &Home) -> Result<Seat, Observation> {
        if job.is_some_and(|job| self.runs_alone(job)) {
            return self.seat_alone(home).await;
        }
        let (index, load) = self.choose(job.map(|job| job.run));
        let Some(member) = self.members.get(index) else { return Err(Observation::ShuttingDown) };
        // A connection that is gone is not made again for a run that needs what was in it.
        let relied_on = self.relied_on(job);
        let lost = || Observation::StateLost("its process or session has ended".to_owned());
        if relied_on.is_some_and(|number| !member.has(number)) {
            return Err(lost());
        }
        let connection = member.connection(home).await?;
        if relied_on.is_some_and(|number| number != connection.about().number) {
            return Err(lost());
        }
        Ok(Seat { connection, _share: Share::Member(load) })
    }

    async fn seat_alone(&self, home: &Home) -> Result<Seat, Observation> {
        let permit = Arc::clone(&self.alone).acquire_owned().await;
        let permit = permit.map_err(|_closed| Observation::ShuttingDown)?;
        let connection = Arc::new(connect(&self.name, &self.config, home).await?);
        tracing::info!(server = %self.name, process = %connection.instance(), "started a process for one job alone");
        Ok(Seat { connection, _share: Share::Alone(permit) })
    }

    /// Takes note of how a call ended that came as far as the server. Returns what was seen, in the light of that.
    pub(crate) fn note<T>(
        &self,
        job: Option<CallingJob<'_>>,
        on: &Connection,
        result: Result<T, Observation>,
    ) -> Result<T, Observation> {
        let Some(job) = job else { return result };
        if self.can_isolate() {
            self.note_crash(job, &result);
        }
        match (self.relied_on(Some(job)), result) {
            (_, Ok(answer)) => {
                if self.config.settings.stateful {
                    self.reliance.note(job.run, on.about().number);
                }
                Ok(answer)
            }
            (Some(_), Err(Observation::SessionLost(why))) => Err(Observation::StateLost(why)),
            (_, result) => result,
        }
    }

    /// The connection that the run of a job relies on.
    fn relied_on(&self, job: Option<CallingJob<'_>>) -> Option<u64> {
        job.filter(|_| self.config.settings.stateful).and_then(|job| self.reliance.of(job.run))
    }

    fn note_crash<T>(&self, job: CallingJob<'_>, result: &Result<T, Observation>) {
        match result {
            Err(Observation::Closed(_)) => self.suspects.add(job.run, job.step),
            Err(_) => {}
            Ok(_) => self.suspects.remove(job.run, job.step),
        }
    }

    fn runs_alone(&self, job: CallingJob<'_>) -> bool {
        self.can_isolate()
            && (job.delivered >= ALONE_FROM_DELIVERY || self.suspects.contains(job.run, job.step))
    }

    /// Whether a call may go to another process than those before it, and there are processes at all.
    fn can_isolate(&self) -> bool {
        matches!(self.config.reach, Reach::Stdio(_)) && !self.config.settings.stateful
    }

    /// The member that carries a call: always the same for one run if the server is stateful, else the one with the fewest
    /// calls, and of several such one that is connected.
    fn choose(&self, run: Option<RunId>) -> (usize, Load) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        let member = if self.config.settings.stateful {
            run.map_or(0, |run| member_of(run, self.members.len()))
        } else {
            let ranked = loads.iter().zip(&self.members).enumerate();
            let least = ranked.min_by_key(|(_, (load, member))| (**load, !member.is_connected()));
            least.map_or(0, |(index, _)| index)
        };
        if let Some(load) = loads.get_mut(member) {
            *load += 1;
        }
        (member, Load { loads: Arc::clone(&self.loads), member })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(load) = loads.get_mut(self.member) {
            *load = load.saturating_sub(1);
        }
    }
}

/// The member that keeps the state of a run. The hash is not kept anywhere, so it may differ between versions.
fn member_of(run: RunId, members: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    run.hash(&mut hasher);
    let members = u64::try_from(members.max(1)).unwrap_or(1);
    usize::try_from(hasher.finish() % members).unwrap_or(0)
}
