//! A whole cluster of processes: NATS, Redis, schedulers and workers on free ports, and clients beside them.
//!
//! Everything lies in one scratch folder, whose configuration file says where the servers are. Workers serve `tables`,
//! which keeps its journal there. All processes end with the cluster, by their ids.

#![expect(clippy::panic, reason = "a cluster that does not work has failed the test")]

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::longshore::{Ended, Longshore, Started};
use crate::nats_server::NatsServer;
use crate::redis_server::RedisServer;
use crate::scratch::Scratch;
use crate::tables::Tables;
use crate::wait::until;

/// How many logs the runs are spread over: more than schedulers, so that each has several.
const PARTITIONS: u16 = 4;

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
        let (nats, redis) = (NatsServer::start().await, RedisServer::start().await);
        let (nats_url, redis_url) = (nats.url(), redis.url());
        let settings = format!(
            "partitions = {PARTITIONS}\n[nats]\nurl = \"{nats_url}\"\n[redis]\nurl = \"{redis_url}\"\n"
        );
        scratch.write("longshore.toml", settings);
        let roles = std::iter::repeat_n(Role::Scheduler, schedulers);
        let roles = roles.chain(std::iter::repeat_n(Role::Worker, workers));
        let members = roles.map(|role| Member { role, process: None }).collect();
        let mut cluster = Self { members, nats, redis, scratch };
        for member in 0..cluster.members.len() {
            cluster.start_member(member);
        }
        cluster.answers().await;
        cluster
    }

    /// Starts a member that is not there.
    pub fn start_member(&mut self, member: usize) {
        let process = |role| self.scratch.longshore([command(role)]).start();
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

    fn taken(&mut self, member: usize) -> Started {
        let taken = self.members.get_mut(member).and_then(|member| member.process.take());
        taken.unwrap_or_else(|| panic!("member {member} is not running"))
    }

    /// Waits until every process says that it has started, and a scheduler answers.
    async fn answers(&self) {
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

    /// All runs, newest first.
    pub async fn runs(&self) -> Vec<Value> {
        self.client(["runs", "list", "--limit", "1000", "--json"]).run().await.expecting(0).json_lines()
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

/// A workflow of calls in a row, each of which adds one to the number it gets: `number` in, `number` out.
pub fn chain(name: &str, calls: usize) -> String {
    let step = |call: usize| {
        let before =
            if call == 0 { "inputs.number".to_owned() } else { format!("steps.s{}.output.number", call - 1) };
        json!({
            "id": format!("s{call}"),
            "call": "tables/echo",
            "with": { "number": format!("${{{{ {before} + 1 }}}}") },
            "retry": { "attempts": 10, "delay": "10ms" },
        })
    };
    let steps: Vec<_> = (0..calls).map(step).collect();
    let last = format!("${{{{ steps.s{}.output.number }}}}", calls - 1);
    let inputs = json!({ "number": { "type": "integer", "default": 0 } });
    json!({ "longshore": "v1", "name": name, "inputs": inputs, "steps": steps, "outputs": { "number": last } })
        .to_string()
}
