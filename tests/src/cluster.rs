//! A cluster of processes: NATS, Redis, schedulers, workers, and clients.
//!
//! All of them use one scratch folder, whose configuration file has the addresses of NATS and Redis. Workers serve `tables`,
//! which keeps its journal in that folder, unless a test has other servers. A process finds its number in the variable
//! `MEMBER`, so that a servers file can differ between workers. All processes are killed when the cluster is dropped.

#![expect(clippy::panic, reason = "a cluster that does not work has failed the test")]

use std::fmt::Write as _;

use async_nats::RequestErrorKind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::longshore::{EndedCommand, Longshore, PATIENCE, StartedCommand};
use crate::nats_server::NatsServer;
use crate::redis_server::RedisServer;
use crate::scratch::Scratch;
use crate::tables::Tables;
use crate::wait::{pause, until};

/// The number of partitions: more than schedulers, so that each leads several.
pub const PARTITIONS: u16 = 4;

/// The role of a process of the cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// `longshore scheduler`
    Scheduler,
    /// `longshore worker`
    Worker,
}

/// A scheduler or worker of the cluster, which may be stopped.
#[derive(Debug)]
pub struct Member {
    role: Role,
    process: Option<StartedCommand>,
}

impl Member {
    /// Returns the log of the process so far.
    pub fn said(&self) -> String {
        self.process.as_ref().map(StartedCommand::stderr).unwrap_or_default()
    }
}

/// A cluster. Its processes are killed when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The schedulers, and then the workers.
    pub members: Vec<Member>,
    /// The broker.
    pub nats: NatsServer,
    /// The store.
    pub redis: RedisServer,
    /// The folder with the configuration, the workflows and the journal.
    pub scratch: Scratch,
}

impl Cluster {
    /// Starts a cluster whose calls take this long, and waits until it answers.
    ///
    /// # Panics
    /// When it does not answer. All functions here panic when the cluster does not do what they ask for.
    pub async fn start(schedulers: usize, workers: usize, delay_ms: u64) -> Self {
        let scratch = Scratch::new(&json!({}));
        scratch.servers(&json!({ "tables": Tables::of(scratch.path()).with_delay_ms(delay_ms).entry() }));
        Self::start_in(scratch, schedulers, workers).await
    }

    /// Starts a cluster with the servers file of this folder, and waits until it answers.
    pub async fn start_in(scratch: Scratch, schedulers: usize, workers: usize) -> Self {
        let nats = NatsServer::start().await;
        Self::start_on(nats, scratch, schedulers, workers).await
    }

    /// Starts a cluster on this broker with the servers file of this folder, and waits until it answers.
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

    /// Starts another process, and returns its number.
    pub fn add(&mut self, role: Role) -> usize {
        let number = self.members.len();
        self.members.push(Member { role, process: None });
        self.start_member(number);
        number
    }

    /// Starts a member that does not run.
    pub fn start_member(&mut self, member: usize) {
        let number = member.to_string();
        let process = |role| self.scratch.longshore([command(role)]).env("MEMBER", &number).start();
        let Some(member) = self.members.get_mut(member) else { panic!("there is no member {member}") };
        member.process = Some(process(member.role));
    }

    /// Kills a member, as kill -9 does, and waits until it is gone.
    pub async fn kill_member(&mut self, member: usize) -> EndedCommand {
        self.take_process(member).kill().await
    }

    /// Sends SIGTERM to a member, and waits until it has ended.
    pub async fn end_member(&mut self, member: usize) -> EndedCommand {
        let process = self.take_process(member);
        process.terminate();
        process.end().await
    }

    /// Returns the process id of a member.
    pub fn pid(&self, member: usize) -> u32 {
        let process = self.members.get(member).and_then(|member| member.process.as_ref());
        process.map_or_else(|| panic!("member {member} is not running"), StartedCommand::pid)
    }

    fn take_process(&mut self, member: usize) -> StartedCommand {
        let taken = self.members.get_mut(member).and_then(|member| member.process.take());
        taken.unwrap_or_else(|| panic!("member {member} is not running"))
    }

    /// Waits until every process has logged its start, and a scheduler answers.
    pub async fn answers(&self) {
        for member in &self.members {
            let process = member.process.as_ref();
            let line = format!("{} started", command(member.role));
            until(&line, || process.is_some_and(|process| process.stderr().contains(&line))).await;
        }
        self.client(["runs", "list"]).run().await.expecting(0);
    }

    /// Returns `longshore` with these arguments as a client of this cluster.
    pub fn client<A: AsRef<str>>(&self, arguments: impl IntoIterator<Item = A>) -> Longshore {
        self.scratch.longshore(arguments)
    }

    /// Sends a request to the schedulers, waits until one answers, and returns the body of the answer.
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
                    pause().await;
                }
                Err(error) => panic!("{verb}: {error}\n{}", self.said()),
            }
        }
    }

    /// Submits with the command line, and returns the id of the run.
    pub async fn submit(&self, arguments: &[&str]) -> String {
        let submitted = self.client([&["submit"], arguments].concat()).run().await.expecting(0);
        submitted.stdout.trim().to_owned()
    }

    /// Waits for the end of a run, and returns it as `watch` prints it.
    pub async fn ended(&self, run: &str) -> Value {
        self.client(["watch", run, "--json"]).run().await.expecting(0).json()
    }

    /// Returns a run as `runs show` prints it.
    pub async fn shown(&self, run: &str) -> Value {
        self.client(["runs", "show", run, "--json"]).run().await.expecting(0).json()
    }

    /// Waits until `runs show` prints a run for which `so` holds, and returns it. The output is as of the last checkpoint.
    pub async fn shows(&self, run: &str, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown(run).await;
            if so(&shown) {
                return shown;
            }
            assert!(Instant::now() < deadline, "{what}: {shown}\n{}", self.said());
            pause().await;
        }
    }

    /// Returns all runs, the newest first.
    pub async fn runs(&self) -> Vec<Value> {
        self.client(["runs", "list", "--limit", "1000", "--json"]).run().await.expecting(0).json_lines()
    }

    /// Waits until there are this many dead letters, and returns all of them.
    pub async fn dead_letters(&self, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let letters = self.client(["dlq", "list", "--json"]).run().await.expecting(0).json_lines();
            if letters.len() >= count {
                return letters;
            }
            assert!(Instant::now() < deadline, "{letters:?}\n{}", self.said());
            pause().await;
        }
    }

    /// Returns the logs of all processes that run.
    pub fn said(&self) -> String {
        let mut text = String::new();
        for (number, member) in self.members.iter().enumerate() {
            let said = member.process.as_ref().map(StartedCommand::stderr).unwrap_or_default();
            let _ = writeln!(text, "--- {number} {:?}\n{said}", member.role);
        }
        text
    }
}

/// Returns the subcommand of a role.
const fn command(role: Role) -> &'static str {
    match role {
        Role::Scheduler => "scheduler",
        Role::Worker => "worker",
    }
}

/// Returns a workflow of calls in a sequence, which may be repeated. Each adds one to its input `number`.
pub fn chain(name: &str, calls: usize) -> String {
    sequence(name, calls, Some(&json!({ "attempts": 10, "delay": "10ms" })))
}

/// Returns a workflow of one call, which may not be repeated. It adds one to its input `number`.
pub fn once(name: &str) -> String {
    sequence(name, 1, None)
}

fn sequence(name: &str, calls: usize, retry: Option<&Value>) -> String {
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
