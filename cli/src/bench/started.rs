//! A cluster of its own: NATS, Redis, schedulers and workers on free ports, in a folder that vanishes.
//!
//! Schedulers and workers are this very program. All end with the measurement: in order if there is time, and killed if
//! the measurement is dropped.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::broken;
use super::process::{Process, Taken};
use crate::args::{BenchArgs, Sync};
use crate::config::{Config, Flags, Key};
use crate::exit::Exit;
use crate::failure::Failure;

/// How long NATS and Redis may take until they listen, and how often that is looked at.
const LISTENING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_millis(20));

/// Calls under way in each worker: more than fit, so that no step waits for a slot.
const SLOTS: usize = 256;

/// A started cluster.
pub(super) struct Started {
    nats: Process,
    redis: Process,
    schedulers: Vec<Process>,
    workers: Vec<Process>,
    nats_port: u16,
    redis_port: u16,
    folder: TempDir,
}

impl Started {
    /// Starts everything. It answers some moments later.
    pub(super) async fn start(args: &BenchArgs) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(broken("make a folder"))?;
        let (nats_port, redis_port) = (free_port()?, free_port()?);
        let path = folder.path();
        let mut nats = start_nats(args, path, nats_port)?;
        listens(&mut nats, nats_port).await?;
        let mut redis = start_redis(args, path, redis_port)?;
        listens(&mut redis, redis_port).await?;
        write(path, "servers.json", &servers(args).to_string())?;
        let settings = format!(
            "[nats]\nurl = \"nats://127.0.0.1:{nats_port}\"\n[redis]\nurl = \"redis://127.0.0.1:{redis_port}\"\n\
             [worker]\nslots = {SLOTS}\nmcp_config = \"servers.json\"\n"
        );
        write(path, "longshore.toml", &settings)?;
        let program = std::env::current_exe().map_err(broken("find the program itself"))?;
        let start = |role: &str, count: usize| {
            let arguments = [role.to_owned(), "--config".to_owned(), "longshore.toml".to_owned()];
            let each = (1..=count).map(|number| format!("{role} {number}"));
            each.map(|name| Process::start(name, path, &program, &arguments)).collect::<Result<Vec<_>, _>>()
        };
        let schedulers = start("scheduler", args.schedulers.get())?;
        let workers = start("worker", args.workers.get())?;
        Ok(Self { nats, redis, schedulers, workers, nats_port, redis_port, folder })
    }

    /// The configuration of a client of it.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let nats = format!("nats://127.0.0.1:{}", self.nats_port);
        let redis = format!("redis://127.0.0.1:{}", self.redis_port);
        let values = vec![(Key::NatsUrl, "--start", nats), (Key::RedisUrl, "--start", redis)];
        let file = Some(self.folder.path().join("longshore.toml"));
        Config::load(&Flags { file, values }, &std::collections::BTreeMap::new())
    }

    /// What each process has taken so far.
    pub(super) fn taken(&self) -> Vec<(String, Taken)> {
        self.all().map(|process| (process.name.clone(), process.taken())).collect()
    }

    /// Kills a scheduler, which leads its share of the partitions.
    pub(super) async fn kill_a_scheduler(&mut self) -> Result<(), Failure> {
        if self.schedulers.len() < 2 {
            let message = "nobody is there to take over from the only scheduler";
            return Err(Failure::new(Exit::Usage, message).help("start more of them with --schedulers"));
        }
        let mut killed = self.schedulers.remove(0);
        killed.kill().await;
        Ok(())
    }

    /// Adds to a failure what became of processes that are gone.
    pub(super) fn explain(&mut self, mut failure: Failure) -> Failure {
        let Self { nats, redis, schedulers, workers, .. } = self;
        let all = [nats, redis].into_iter().chain(schedulers).chain(workers);
        for ended in all.filter_map(Process::has_ended) {
            failure.message = format!("{}\n{ended}", failure.message);
        }
        failure
    }

    /// Ends everything: those who use NATS and Redis before these.
    pub(super) async fn end(mut self) {
        let Self { nats, redis, schedulers, workers, .. } = &mut self;
        let mut members: Vec<_> = schedulers.iter_mut().chain(workers).collect();
        members.iter().for_each(|member| member.terminate());
        for member in &mut members {
            member.end().await;
        }
        nats.kill().await;
        redis.kill().await;
    }

    fn all(&self) -> impl Iterator<Item = &Process> {
        [&self.nats, &self.redis].into_iter().chain(&self.schedulers).chain(&self.workers)
    }
}

fn start_nats(args: &BenchArgs, folder: &Path, port: u16) -> Result<Process, Failure> {
    let sync = if args.sync == Sync::Always { ", sync_interval: always" } else { "" };
    let settings = format!("listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"nats\"{sync} }}\n");
    write(folder, "nats.conf", &settings)?;
    Process::start(
        "nats-server",
        folder,
        &program(&args.nats_server),
        &["-c".to_owned(), "nats.conf".to_owned()],
    )
}

/// Redis as deploy/redis/redis.conf has it.
fn start_redis(args: &BenchArgs, folder: &Path, port: u16) -> Result<Process, Failure> {
    let settings = format!(
        "bind 127.0.0.1\nport {port}\nappendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n\
         auto-aof-rewrite-min-size 256mb\n"
    );
    write(folder, "redis.conf", &settings)?;
    Process::start("redis-server", folder, &program(&args.redis_server), &["redis.conf".to_owned()])
}

/// A program as it is found from another folder: a name alone is looked up in the `PATH`.
fn program(named: &Path) -> PathBuf {
    if named.components().count() == 1 {
        return named.to_owned();
    }
    std::path::absolute(named).unwrap_or_else(|_| named.to_owned())
}

fn servers(args: &BenchArgs) -> Value {
    let settings = json!({ "max_concurrency": SLOTS });
    let mut servers = Map::new();
    servers.insert("noop".to_owned(), json!({ "type": "noop", "longshore": settings }));
    let mut words = args.echo.iter().flat_map(|command| command.split_whitespace());
    if let Some(program) = words.next() {
        let arguments: Vec<&str> = words.collect();
        // Processes run in the folder; where the command was written is another place.
        let cwd = std::env::current_dir().unwrap_or_default();
        let entry = json!({ "command": program, "args": arguments, "cwd": cwd, "longshore": settings });
        servers.insert("stdio".to_owned(), entry);
    }
    json!({ "mcpServers": servers })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), Failure> {
    fs::write(folder.join(name), text).map_err(broken(&format!("write {name}")))
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(broken("find a free port"))?.port())
}

/// Waits until somebody listens.
async fn listens(process: &mut Process, port: u16) -> Result<(), Failure> {
    let (limit, pause) = LISTENING;
    let deadline = Instant::now() + limit;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        if let Some(ended) = process.has_ended() {
            return Err(Failure::new(Exit::Error, ended));
        }
        if Instant::now() >= deadline {
            let message = format!("{} does not listen on port {port} within {limit:?}", process.name);
            return Err(Failure::new(Exit::Unreachable, message));
        }
        sleep(pause).await;
    }
    Ok(())
}
