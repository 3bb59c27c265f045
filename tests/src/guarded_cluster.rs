//! A cluster with the users that are shipped in `deploy/`, and processes and clients that use them.

#![expect(clippy::expect_used, reason = "what is not as it was shipped has failed the test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use serde_json::json;

use crate::longshore::{Longshore, StartedCommand};
use crate::nats_server::{NatsServer, NatsSetup};
use crate::redis_server::RedisServer;
use crate::redis_users::{self, password, users};
use crate::scratch::Scratch;
use crate::tables::Tables;
use crate::wait::until;

/// Users that are roles of the system; the others are clients of the namespace of their name.
const ROLES: [&str; 3] = ["scheduler", "worker", "operator"];

/// A workflow with a step that may be repeated, one that may not and is claimed, and a large input, which is stored as a blob.
pub const WORKFLOW: &str = "longshore: v1
name: guarded
inputs: { text: { type: string, default: hello } }
steps:
  - { id: first, call: tables/note, with: { text: '${{ inputs.text }}' }, retry: 3 }
  - { id: second, call: tables/note, with: { text: 'once' } }
";

fn shipped(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join(path);
    fs::read_to_string(path).expect("it is shipped")
}

/// Returns the shipped accounts with the namespaces `a` and `b`, copied from `default` as the file says.
pub fn accounts() -> String {
    let text = shipped("nats/accounts.conf");
    let start = text.find("\n  default {").expect("an account for a namespace");
    let (ours, namespace) = text.split_at(start);
    let namespace = namespace.trim_end().strip_suffix('}').expect("the end of the accounts");
    let both: String = ["a", "b"].map(|name| namespace.replace("default", name)).concat();
    let mut text = format!("{ours}{both}}}\n");
    for (variable, user) in [("SCHEDULER", "scheduler"), ("WORKER", "worker"), ("OPERATOR", "operator")] {
        text = text.replace(&format!("$NATS_{variable}_PASSWORD"), &password(user));
    }
    text.replace("$NATS_DEFAULT_PASSWORD", "pw-a")
        .replace("{ user: b, password: pw-a }", "{ user: b, password: pw-b }")
}

/// NATS and Redis with the shipped users.
#[derive(Debug)]
pub struct GuardedCluster {
    /// The broker.
    pub nats: NatsServer,
    /// The store.
    pub redis: RedisServer,
    /// The folder with the servers file and the workflow `guarded.yaml`.
    pub scratch: Scratch,
}

impl GuardedCluster {
    /// Starts both servers with all users.
    ///
    /// # Panics
    /// When a server does not start. All functions here panic when the cluster does not do what they ask for.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts both servers, with users of Redis that lack some permissions.
    pub async fn start_with(without: &[&str]) -> Self {
        Self::start_on(accounts(), without).await
    }

    /// Starts both servers, with these accounts of NATS.
    pub async fn start_on(accounts: String, without: &[&str]) -> Self {
        let nats =
            NatsServer::start_with(NatsSetup { server_settings: accounts, ..NatsSetup::default() }).await;
        let scratch = Scratch::new(&json!({}));
        scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
        scratch.write("guarded.yaml", WORKFLOW);
        let redis = redis_users::start(scratch.path(), &users(without)).await;
        Self { nats, redis, scratch }
    }

    /// Returns the address of NATS for a user.
    pub fn nats_url(&self, user: &str) -> String {
        self.nats.url().replace("nats://", &format!("nats://{user}:{}@", password(user)))
    }

    /// Returns a process of a role, or a client of a namespace.
    pub fn longshore(&self, user: &str, arguments: &[&str]) -> Longshore {
        let command = self.scratch.longshore(arguments).env("NATS_URL", &self.nats_url(user));
        let command = command.env("LONGSHORE_PARTITIONS", "2");
        if !ROLES.contains(&user) {
            return command.env("LONGSHORE_NAMESPACE", user);
        }
        let redis = redis_users::url(&self.redis, user);
        command.env("LONGSHORE_NATS__INBOX_PREFIX", &format!("_INBOX_{user}")).env("REDIS_URL", &redis)
    }

    /// Starts a worker and then a scheduler.
    pub async fn processes(&self) -> [StartedCommand; 2] {
        let worker = self.longshore("worker", &["worker"]).start();
        until("the worker waits", || worker.stderr().contains("connected to NATS")).await;
        let scheduler = self.longshore("scheduler", &["scheduler"]).start();
        until("the worker has started", || worker.stderr().contains("worker started")).await;
        until("requests are served", || scheduler.stderr().contains("serving requests")).await;
        [worker, scheduler]
    }

    /// Connects a plain NATS client.
    pub async fn connect(&self, user: &str) -> Client {
        let prefix = if ROLES.contains(&user) { format!("_INBOX_{user}") } else { "_INBOX".to_owned() };
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password(user));
        let options = options.custom_inbox_prefix(prefix).request_timeout(Some(Duration::from_secs(1)));
        options.connect(self.nats.url()).await.expect("connects")
    }

    /// Returns the lines of the NATS log about refused actions.
    pub fn violations(&self) -> Vec<String> {
        self.nats.log().lines().filter(|line| line.contains("Violation")).map(str::to_owned).collect()
    }
}
