//! A whole cluster of processes: NATS, Redis, schedulers and workers on free ports, and clients beside them.
//!
//! Everything lies in one scratch folder, whose configuration file says where the servers are. Workers serve `tables`,
//! which keeps its journal there, unless a test brings servers of its own. A process finds its number in `MEMBER`, for
//! servers files that tell workers apart. All processes end with the cluster, by their ids.

#![expect(clippy::panic, reason = "a cluster that does not work has failed the test")]

use std::fmt::Write as _;

use async_nats::RequestErrorKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::longshore::{Ended, Longshore, PATIENCE, Started};
use crate::nats_server::NatsServer;
use crate::redis_server::RedisServer;
use crate::scratch::Scratch;
use crate::tables::Tables;
use crate::wait::until;

/// How many logs the runs are spread over: more than schedulers, so that each has several.
pub const PARTITIONS: u16 = 4;

/// What a process of the cluster is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// `longshore scheduler`
    Scheduler,
    /// `longshore worker`
    Worker,
}

/// A process of the cluster.
#[derive(Debug)]
pub struct Member {
    role: Role,
    process: Option<Started>,
}

impl Member {
    /// What it has said so far.
    pub fn said(&self) -> String {
        self.process.as_ref().map(Started::stderr).unwrap_or_default()
    }
}

/// A cluster. Its processes are killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// Schedulers first, then workers.
    pub members: Vec<Member>,
    /// The broker.
    pub nats: NatsServer,
    /// The store.
    pub redis: RedisServer,
    /// Where its configuration, its workflows and the journal are.
    pub scratch: Scratch,
}

impl Cluster {
    /// A cluster that answers, whose calls take this long.
    ///
    /// # Panics
    /// When it does not answer; as does everything else here that a cluster does not do.
    pub async fn start(schedulers: usize, workers: usize, delay_ms: u64) -> Self {
        let scratch = Scratch::new(&json!({}));
        scratch.servers(&json!({ "tables": Tables::of(scratch.path()).slowly(delay_ms).entry() }));
        Self::start_in(scratch, schedulers, workers).await
    }

    /// A cluster that answers, with the servers file of this folder.
    pub async fn start_in(scratch: Scratch, schedulers: usize, workers: usize) -> Self {
        let nats = NatsServer::start().await;
        Self::start_on(nats, scratch, schedulers, workers).await
    }

    /// The same on a broker of another kind.
    pub async fn start_on(nats: NatsServer, scratch: Scratch, schedulers: usize, workers: usize) -> Self {
        let redis = RedisServer::start().await;
        let (nats_url, redis_url) = (nats.url(), redis.url());
        let settings = format!(
            "partitions = {PARTITIONS}\n[nats]\nurl = \"{nats_url}\"\n[redis]\nurl = \"{redis_url}\"\n"
        );
        scratch.write("longshore.toml", settings);
        let mut cluster = Self { members: Vec::new(), nats, redis, scratch };
        for role in std::iter::repeat_n(Role::Scheduler, schedulers) {
            cluster.add(role);
        }
        for role in std::iter::repeat_n(Role::Worker, workers) {
            cluster.add(role);
        }
        cluster.answers().await;
        cluster
    }

    /// Starts one more process, and returns its number.
    pub fn add(&mut self, role: Role) -> usize {
        let number = self.members.len();
        self.members.push(Member { role, process: None });
        self.start_member(number);
        number
    }

    /// Starts a member that is not there.
    pub fn start_member(&mut self, member: usize) {
        let number = member.to_string();
        let process = |role| self.scratch.longshore([command(role)]).env("MEMBER", &number).start();
        let Some(member) = self.members.get_mut(member) else { panic!("there is no member {member}") };
        member.process = Some(process(member.role));
    }

    /// Kills a member, as kill -9 does, and returns what it said.
    pub async fn kill_member(&mut self, member: usize) -> Ended {
        self.taken(member).kill().await
    }

    /// Tells a member to end, and waits until it has.
    pub async fn end_member(&mut self, member: usize) -> Ended {
        let process = self.taken(member);
        process.terminate();
        process.end().await
    }

    /// The process of a member.
    pub fn pid(&self, member: usize) -> u32 {
        let process = self.members.get(member).and_then(|member| member.process.as_ref());
        process.map_or_else(|| panic!("member {member} is not running"), Started::pid)
    }

    fn taken(&mut self, member: usize) -> Started {
        let taken = self.members.get_mut(member).and_then(|member| member.process.take());
        taken.unwrap_or_else(|| panic!("member {member} is not running"))
    }

    /// Waits until every process says that it has started, and a scheduler answers.
    pub async fn answers(&self) {
        for member in &self.members {
            let process = member.process.as_ref();
            let said = format!("{} started", command(member.role));
            until(&said, || process.is_some_and(|process| process.stderr().contains(&said))).await;
        }
        self.client(["runs", "list"]).run().await.expecting(0);
    }

    /// `longshore` as a client of this cluster.
    pub fn client<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Longshore {
        self.scratch.longshore(arguments)
    }

    /// Asks the micro service, as soon as there is one, and returns the body of its answer.
    pub async fn request(&self, verb: &str, request: &Value) -> Value {
        let client = async_nats::connect(self.nats.url()).await;
        let client = client.unwrap_or_else(|error| panic!("no connection to NATS: {error}"));
        let (subject, deadline) = (format!("longshore.v1.api.default.{verb}"), Instant::now() + PATIENCE);
        loop {
            match client.request(subject.clone(), request.to_string().into()).await {
                Ok(answer) => {
                    let answer = serde_json::from_slice(&answer.payload);
                    return answer.unwrap_or_else(|error| panic!("{verb}: {error}"));
                }
                Err(error) if error.kind() == RequestErrorKind::NoResponders && Instant::now() < deadline => {
                }
                Err(error) => panic!("{verb}: {error}\n{}", self.said()),
            }
        }
    }

    /// Submits by the command line, and returns the id of the run.
    pub async fn submit(&self, arguments: &[&str]) -> String {
        let submitted = self.client([&["submit"], arguments].concat()).run().await.expecting(0);
        submitted.stdout.trim().to_owned()
    }

    /// Waits for the end of a run and returns it as `watch` shows it.
    pub async fn ended(&self, run: &str) -> Value {
        self.client(["watch", run, "--json"]).run().await.expecting(0).json()
    }

    /// A run as `runs show` shows it.
    pub async fn shown(&self, run: &str) -> Value {
        self.client(["runs", "show", run, "--json"]).run().await.expecting(0).json()
    }

    /// Waits until a run is shown like this. What is shown is a moment old.
    pub async fn shows(&self, run: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown(run).await;
            if so(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{what}: {shown}\n{}", self.said());
        }
    }

    /// All runs, newest first.
    pub async fn runs(&self) -> Vec<Value> {
        self.client(["runs", "list", "--limit", "1000", "--json"]).run().await.expecting(0).json_lines()
    }

    /// The submits that were refused and could not be answered, once there are so many.
    pub async fn dead_letters(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let letters = self.client(["dlq", "list", "--json"]).run().await.expecting(0).json_lines();
            if letters.len() >= count {
                return letters;
            }
            assert!(Instant::now() < deadline, "{letters:?}\n{}", self.said());
        }
    }

    /// What every process that is running has said.
    pub fn said(&self) -> String {
        let mut text = String::new();
        for (number, member) in self.members.iter().enumerate() {
            let said = member.process.as_ref().map(Started::stderr).unwrap_or_default();
            let _ = writeln!(text, "--- {number} {:?}\n{said}", member.role);
        }
        text
    }
}

/// The subcommand that is this role.
const fn command(role: Role) -> &'static str {
    match role {
        Role::Scheduler => "scheduler",
        Role::Worker => "worker",
    }
}

/// A workflow of calls in a row, each of which adds one to the number it gets: `number` in, `number` out. They may be
/// repeated.
pub fn chain(name: &str, calls: usize) -> String {
    row(name, calls, Some(&json!({ "attempts": 10, "delay": "10ms" })))
}

/// The same with one call, which may not be repeated.
pub fn once(name: &str) -> String {
    row(name, 1, None)
}

fn row(name: &str, calls: usize, retry: Option<&Value>) -> String {
    let step = |call: usize| {
        let before =
            if call == 0 { "inputs.number".to_owned() } else { format!("steps.s{}.output.number", call - 1) };
        let mut step = json!({
            "id": format!("s{call}"),
            "call": "tables/echo",
            "with": { "number": format!("${{{{ {before} + 1 }}}}") },
        });
        if let (Some(step), Some(retry)) = (step.as_object_mut(), retry) {
            step.insert("retry".to_owned(), retry.clone());
        }
        step
    };
    let steps: Vec<_> = (0..calls).map(step).collect();
    let last = format!("${{{{ steps.s{}.output.number }}}}", calls - 1);
    let inputs = json!({ "number": { "type": "integer", "default": 0 } });
    json!({ "longshore": "v1", "name": name, "inputs": inputs, "steps": steps, "outputs": { "number": last } })
        .to_string()
}
