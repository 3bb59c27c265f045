//! A real Redis of its own: a free port, a folder that vanishes, and every way to lose it.
//!
//! It is started as the project's own configuration starts one, with an append-only file and without eviction. Whoever
//! kills it and starts it again may ask for `appendfsync always`, so that what was acknowledged is what it finds.

#![expect(clippy::panic, reason = "a server that does not start has failed the test")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use redis::{Connection, FromRedisValue, RedisResult};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::port::free_address;
use crate::wait::until;

/// What keeps a started server to itself, and forgetting nothing.
const SETTINGS: [&str; 10] = [
    "--bind",
    "127.0.0.1",
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
];

/// A server. It is killed when this is dropped.
#[derive(Debug)]
pub struct RedisServer {
    folder: TempDir,
    port: u16,
    configuration: Option<PathBuf>,
    settings: Vec<String>,
    password: Option<String>,
    process: Option<Child>,
}

impl RedisServer {
    /// A new server, once it answers.
    ///
    /// # Panics
    /// When it does not start; as does everything else here that it does not do.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A new server with settings of its own: `["--maxmemory", "5mb"]`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for Redis: {error}"));
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let password = settings.iter().position(|setting| setting == "--requirepass");
        let password = password.and_then(|at| settings.get(at + 1)).cloned();
        let mut server = Self {
            folder,
            port: free_address().port(),
            configuration: None,
            settings,
            password,
            process: None,
        };
        server.start_again().await;
        server
    }

    /// A new server with a configuration file of its own.
    pub async fn start_on(configuration: &Path) -> Self {
        let mut server = Self::absent();
        server.configuration = Some(configuration.to_owned());
        server.start_again().await;
        server
    }

    /// A port and a folder, and nobody there yet.
    pub fn absent() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for Redis: {error}"));
        Self {
            folder,
            port: free_address().port(),
            configuration: None,
            settings: Vec::new(),
            password: None,
            process: None,
        }
    }

    /// Its address, with the password if it has one.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|word| format!(":{word}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}/0", self.port)
    }

    /// Its address without a password.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process, while it has one.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// Where it keeps its data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it on the data that is there, and waits until it answers.
    pub async fn start_again(&mut self) {
        let output = File::create(self.folder.path().join("output"));
        let output = output.unwrap_or_else(|error| panic!("no file for Redis: {error}"));
        let mut command = Command::new("redis-server");
        command.args(&self.configuration);
        command.arg("--port").arg(self.port.to_string()).arg("--dir").arg(self.folder.path());
        if self.configuration.is_none() {
            command.args(SETTINGS).args(&self.settings);
        }
        command.stdin(Stdio::null()).stderr(Stdio::null()).stdout(output).kill_on_drop(true);
        let process = command.spawn();
        self.process = Some(process.unwrap_or_else(|error| panic!("redis-server does not start: {error}")));
        let url = self.url();
        until("Redis answers", || match ask::<String>(&url, &["PING"]) {
            Ok(_) => true,
            // It asks for a password before it says that it is still loading.
            Err(error) => error.code() == Some("NOAUTH") && self.is_ready(),
        })
        .await;
    }

    /// Returns whether it has loaded its data, by its own log.
    fn is_ready(&self) -> bool {
        let log = std::fs::read_to_string(self.folder.path().join("output"));
        log.is_ok_and(|log| log.contains("Ready to accept connections"))
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.start_kill();
            let _ = process.wait().await;
        }
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let pid = process.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            }
            let _ = process.wait().await;
        }
    }

    /// Kills it and starts it again on the data that it left.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// Makes it forget everything.
    pub fn flushall(&self) {
        let _: String = self.ask(&["FLUSHALL"]);
    }

    /// Sends a command and returns its answer.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        ask(&self.url(), command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Sends a command to another address of the server, with a user and a password, and returns its answer.
    pub fn ask_at<T: FromRedisValue>(url: &str, command: &[&str]) -> RedisResult<T> {
        ask(url, command)
    }
}

fn ask<T: FromRedisValue>(url: &str, command: &[&str]) -> RedisResult<T> {
    let mut connection: Connection = redis::Client::open(url)?.get_connection()?;
    let mut words = command.iter();
    let mut request = redis::cmd(words.next().copied().unwrap_or_default());
    request.arg(words.as_slice()).query(&mut connection)
}
