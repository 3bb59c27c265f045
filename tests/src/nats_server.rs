//! A real nats-server of its own: a free port, a folder that vanishes, and every way to lose it.

#![expect(clippy::panic, reason = "a server that does not start has failed the test")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::port::free_address;
use crate::small_disk::SmallDisk;
use crate::wait::until;

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub program: PathBuf,
    /// Whether it has JetStream.
    pub jetstream: bool,
    /// Whether JetStream writes everything through before it acknowledges: `sync_interval: always`.
    pub always: bool,
    /// More settings of JetStream.
    pub settings: String,
    /// More of its configuration file.
    pub more: String,
    /// Who its clients say they are: `user:password`, if anything.
    pub user: Option<&'static str>,
}

impl Default for Setup {
    /// The server that `./verify` installs, with JetStream as it comes.
    fn default() -> Self {
        Self {
            program: installed(),
            jetstream: true,
            always: false,
            settings: String::new(),
            more: String::new(),
            user: None,
        }
    }
}

/// A server. It is killed when this is dropped.
#[derive(Debug)]
pub struct NatsServer {
    folder: TempDir,
    port: u16,
    setup: Setup,
    disk: Option<SmallDisk>,
    process: Option<Child>,
}

impl NatsServer {
    /// A new server with JetStream, once it listens.
    ///
    /// # Panics
    /// When it does not start; as does everything else here that it does not do.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    /// A new server that writes everything through before it acknowledges.
    pub async fn start_always() -> Self {
        Self::start_with(Setup { always: true, ..Setup::default() }).await
    }

    /// A new server of any kind.
    pub async fn start_with(setup: Setup) -> Self {
        let mut server = Self::absent_with(setup);
        server.start_again().await;
        server
    }

    /// A new server that stores on a disk of this many kibibytes.
    pub async fn start_on_disk(kibibytes: u32) -> Self {
        let mut server = Self::absent();
        let folder = server.folder.path().join("disk");
        fs::create_dir(&folder).unwrap_or_else(|error| panic!("no folder for the disk of NATS: {error}"));
        server.disk = Some(SmallDisk::new(&folder, kibibytes));
        server.start_again().await;
        server
    }

    /// The disk on which it stores, if it is one of its own.
    pub fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// A port and a folder, and nobody there yet.
    pub fn absent() -> Self {
        Self::absent_with(Setup::default())
    }

    /// The same for a server of any kind.
    pub fn absent_with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for NATS: {error}"));
        Self { folder, port: free_address().port(), setup, disk: None, process: None }
    }

    /// Gives it other settings, as of its next start.
    pub fn configure(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
    }

    /// Its address.
    pub fn url(&self) -> String {
        let user = self.setup.user.map_or_else(String::new, |user| format!("{user}@"));
        format!("nats://{user}127.0.0.1:{}", self.port)
    }

    /// Its process, while it has one.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Child::id)
    }

    /// Where it keeps its data, its configuration and what it says.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts it on the data that is there, and waits until it listens.
    pub async fn start_again(&mut self) {
        let configuration = self.folder.path().join("nats.conf");
        fs::write(&configuration, self.configuration())
            .unwrap_or_else(|error| panic!("no configuration for NATS: {error}"));
        let output = File::create(self.folder.path().join("output"));
        let output = output.unwrap_or_else(|error| panic!("no file for NATS: {error}"));
        let mut line = self.disk.as_ref().map(SmallDisk::enter).unwrap_or_default();
        line.push(self.setup.program.display().to_string());
        let mut command = Command::new(line.remove(0));
        command.args(line).arg("--config").arg(configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).kill_on_drop(true);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("{} does not start ({error}): run ./verify once", self.setup.program.display())
        });
        self.process = Some(process);
        until("NATS listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok()).await;
    }

    fn configuration(&self) -> String {
        let mut text = format!("listen: 127.0.0.1:{}\n", self.port);
        if self.setup.jetstream {
            let sync = if self.setup.always { ", sync_interval: always" } else { "" };
            let store = self.disk.as_ref().map_or_else(|| self.folder.path(), SmallDisk::path).join("store");
            let store = store.display().to_string();
            let _ = writeln!(text, "jetstream {{ store_dir: {store:?}{sync}\n{} }}", self.setup.settings);
        }
        text + &self.setup.more
    }

    /// Kills it, as kill -9 does, and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.start_kill();
            let _ = process.wait().await;
        }
    }

    /// Takes away everything that it has stored, while it does not run.
    pub fn lose_store(&mut self) {
        let store = self.folder.path().join("store");
        fs::remove_dir_all(store).unwrap_or_else(|error| panic!("the store of NATS stays: {error}"));
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
}

/// The server that `./verify` installs.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools").join("nats/bin/nats-server")
}
