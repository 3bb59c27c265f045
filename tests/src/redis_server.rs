//! A real redis-server for one test, on a port and with a folder of its own. It can be killed, restarted and emptied.
//!
//! It has the settings of the configuration in `deploy/`: an append-only file, and no eviction. A test that kills it and
//! starts it again may ask for `appendfsync always`, so that every acknowledged write is there after the start.

#![expect(clippy::panic, reason = "a server that does not start has failed the test")]

use std::path::{Path, PathBuf};

use longshore_harness::{Launch, OwnedPort, Process, redis as redis_process};
use redis::{Connection, FromRedisValue, RedisResult};
use tempfile::TempDir;

use crate::port::take_port;

/// The settings of a server without a configuration file.
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
    // The process first: it is killed before its port and its folder are let go.
    process: Option<Process>,
    port: OwnedPort,
    configuration: Option<PathBuf>,
    settings: Vec<String>,
    password: Option<String>,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server.
    ///
    /// # Panics
    /// When it does not start. All functions here panic when the server does not do what they ask for.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with more settings: `["--maxmemory", "5mb"]`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let password = settings.iter().position(|setting| setting == "--requirepass");
        let password = password.and_then(|at| settings.get(at + 1)).cloned();
        let mut server = Self { settings, password, ..Self::absent() };
        server.start_again().await;
        server
    }

    /// Starts a server with a configuration file.
    pub async fn start_on(configuration: &Path) -> Self {
        let mut server = Self { configuration: Some(configuration.to_owned()), ..Self::absent() };
        server.start_again().await;
        server
    }

    /// Takes a port and a folder for a server that is not started yet.
    pub fn absent() -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for Redis: {error}"));
        Self {
            process: None,
            port: take_port(),
            configuration: None,
            settings: Vec::new(),
            password: None,
            folder,
        }
    }

    /// Returns the address for clients, with the password if the server has one.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|word| format!(":{word}@")).unwrap_or_default();
        format!("redis://{password}{}/0", self.port.address())
    }

    /// Returns the IP address and the port.
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    /// Returns the process id, while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// Returns the folder with the data.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the log of the server since its last start.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Starts the server on the data in its folder, and waits until it has loaded them and answers.
    pub async fn start_again(&mut self) {
        let folder = self.folder.path();
        let mut arguments: Vec<String> =
            self.configuration.iter().map(|file| file.display().to_string()).collect();
        arguments.extend(["--dir".to_owned(), folder.display().to_string()]);
        if self.configuration.is_none() {
            arguments.extend(SETTINGS.map(str::to_owned));
            arguments.extend(self.settings.iter().cloned());
        }
        let launch = Launch { arguments, ..Launch::new("redis-server", folder, Path::new("redis-server")) };
        let process = redis_process::start(&launch, &self.port, self.password.as_deref()).await;
        self.process =
            Some(process.unwrap_or_else(|error| panic!("{error} (./verify installs redis-server)")));
    }

    /// Kills the server, as kill -9 does, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Sends SIGTERM, and waits until the server has ended.
    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
            process.end().await;
        }
    }

    /// Kills the server and starts it again on its data.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// Deletes all keys.
    pub fn flushall(&self) {
        let _: String = self.ask(&["FLUSHALL"]);
    }

    /// Sends a command and returns its answer.
    pub fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        Self::ask_at(&self.url(), command).unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Sends a command to an address, which may hold a user and a password, and returns its answer or the refusal.
    ///
    /// # Errors
    /// The refusal of the server, or a lost connection.
    pub fn ask_at<T: FromRedisValue>(url: &str, command: &[&str]) -> RedisResult<T> {
        let mut connection: Connection = redis::Client::open(url)?.get_connection()?;
        let mut words = command.iter();
        let mut request = redis::cmd(words.next().copied().unwrap_or_default());
        request.arg(words.as_slice()).query(&mut connection)
    }
}
