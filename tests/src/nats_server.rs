//! A real nats-server for one test, on a port and with a folder of its own. It can be killed, restarted and emptied.

#![expect(clippy::panic, reason = "a server that does not start has failed the test")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use longshore_harness::{Launch, OwnedPort, Process, nats};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::port::take_port;
use crate::small_disk::SmallDisk;
use crate::wait::until;

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct NatsSetup {
    /// The program.
    pub program: PathBuf,
    /// The name of the server. It is unique on this machine unless a test gives another one.
    pub server_name: Option<String>,
    /// The server has JetStream.
    pub has_jetstream: bool,
    /// JetStream syncs every message before it acknowledges it: `sync_interval: always`.
    pub syncs_always: bool,
    /// More settings of JetStream.
    pub jetstream_settings: String,
    /// More of the configuration file.
    pub server_settings: String,
    /// The credentials of its clients, as `user:password`.
    pub user: Option<&'static str>,
}

impl Default for NatsSetup {
    /// Returns the server that `./verify` installs, with JetStream and without other settings.
    fn default() -> Self {
        Self {
            program: installed(),
            server_name: None,
            has_jetstream: true,
            syncs_always: false,
            jetstream_settings: String::new(),
            server_settings: String::new(),
            user: None,
        }
    }
}

/// A server. It is killed when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    // The process first: it is killed before its port is released and its folder is removed.
    process: Option<Process>,
    port: OwnedPort,
    setup: NatsSetup,
    disk: Option<SmallDisk>,
    folder: TempDir,
}

impl NatsServer {
    /// Starts a server with JetStream.
    ///
    /// # Panics
    /// When it does not start. All functions here panic when the server does not do what they ask for.
    pub async fn start() -> Self {
        Self::start_with(NatsSetup::default()).await
    }

    /// Starts a server that syncs every message before it acknowledges it.
    pub async fn start_syncing_always() -> Self {
        Self::start_with(NatsSetup { syncs_always: true, ..NatsSetup::default() }).await
    }

    /// Starts a server with these settings.
    pub async fn start_with(setup: NatsSetup) -> Self {
        let mut server = Self::absent_with(setup);
        server.start_again().await;
        server
    }

    /// Starts a server that stores its data on a disk of this many kibibytes.
    pub async fn start_on_disk(kibibytes: u32) -> Self {
        let mut server = Self::absent();
        let folder = server.folder.path().join("disk");
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("cannot make the disk of NATS: {error}"));
        server.disk = Some(SmallDisk::new(&folder, kibibytes));
        server.start_again().await;
        server
    }

    /// Returns the disk of the server, if it has one of its own.
    pub fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// Takes a port and a folder for a server that is not started yet.
    pub fn absent() -> Self {
        Self::absent_with(NatsSetup::default())
    }

    /// Takes a port and a folder for a server with these settings that is not started yet.
    pub fn absent_with(setup: NatsSetup) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for NATS: {error}"));
        Self { process: None, port: take_port(), setup, disk: None, folder }
    }

    /// Changes the settings, as of the next start.
    pub fn configure(&mut self, change: impl FnOnce(&mut NatsSetup)) {
        change(&mut self.setup);
    }

    /// Returns the address for clients.
    pub fn url(&self) -> String {
        let user = self.setup.user.map_or_else(String::new, |user| format!("{user}@"));
        format!("nats://{user}{}", self.port.address())
    }

    /// Returns the process id, while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }

    /// Returns the folder with the data and the configuration.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the log of the server since its last start.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::output).unwrap_or_default()
    }

    /// Starts the server on the data in its folder, and waits until it answers.
    pub async fn start_again(&mut self) {
        let mut command = self.disk.as_ref().map(SmallDisk::command_prefix).unwrap_or_default();
        command.push(self.setup.program.display().to_string());
        let program = PathBuf::from(command.remove(0));
        let launch =
            Launch { arguments: command, ..Launch::new("nats-server", self.folder.path(), &program) };
        let process = nats::start(&launch, &self.port, &self.name(), &self.configuration()).await;
        self.process =
            Some(process.unwrap_or_else(|error| panic!("{error} (./verify installs nats-server)")));
    }

    /// Sends SIGHUP, and waits until the running server has read its settings again.
    pub async fn reload(&self) {
        let written = nats::configure(self.folder.path(), &self.port, &self.name(), &self.configuration());
        written.unwrap_or_else(|error| panic!("{error}"));
        let reloads = || self.log().matches("Reloaded server configuration").count();
        let before = reloads();
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let pid = pid.unwrap_or_else(|| panic!("NATS does not run"));
        kill_process(pid, Signal::HUP).unwrap_or_else(|error| panic!("cannot signal NATS: {error}"));
        until("NATS has read its settings again", || reloads() > before).await;
    }

    fn name(&self) -> String {
        let name = self.setup.server_name.clone();
        name.unwrap_or_else(|| format!("test-{}-{}", std::process::id(), self.port.number()))
    }

    /// Returns the configuration without the port and the name.
    fn configuration(&self) -> String {
        let mut text = String::new();
        if self.setup.has_jetstream {
            let sync = if self.setup.syncs_always { ", sync_interval: always" } else { "" };
            let store = self.disk.as_ref().map_or_else(|| self.folder.path(), SmallDisk::path).join("store");
            let store = store.display().to_string();
            let _ = writeln!(
                text,
                "jetstream {{ store_dir: {store:?}{sync}\n{} }}",
                self.setup.jetstream_settings
            );
        }
        text + &self.setup.server_settings
    }

    /// Kills the server, as kill -9 does, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await;
        }
    }

    /// Deletes the stored data of a server that does not run.
    pub fn lose_store(&mut self) {
        let store = self.folder.path().join("store");
        fs::remove_dir_all(store).unwrap_or_else(|error| panic!("cannot delete the store of NATS: {error}"));
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
}

/// Returns the program that `./verify` installs.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools").join("nats/bin/nats-server")
}
