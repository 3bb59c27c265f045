//! A cluster that is started for the measurement: NATS and Redis on ports of their own, schedulers and workers, in a
//! temporary folder.
//!
//! All processes end with the measurement: in order if there is time, and killed if the measurement is dropped.

use std::fs;
use std::path::{Path, PathBuf};

use longshore_harness::{Launch, OwnedPort, Process, Usage, nats, redis};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::error::{BenchError, BenchErrorKind, failed_to};

/// Concurrent calls of a worker: more than the measurements need, so that no step waits for a slot.
const SLOTS: usize = 256;

/// The programs and the size of a cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The program that runs `scheduler` and `worker`.
    pub longshore: PathBuf,
    /// The program to start as NATS.
    pub nats_server: PathBuf,
    /// The program to start as Redis.
    pub redis_server: PathBuf,
    /// NATS syncs every message before it acknowledges it: `sync_interval: always`.
    pub sync_always: bool,
    /// The number of schedulers.
    pub schedulers: usize,
    /// The number of workers.
    pub workers: usize,
    /// The command of an MCP server over stdio with a tool `echo`: a program and its arguments, separated by spaces.
    pub echo: Option<String>,
    /// Environment variables that no started process inherits: settings that would lead it to another cluster.
    pub unset: Vec<String>,
}

/// A started cluster.
pub struct StartedCluster {
    nats: Process,
    redis: Process,
    schedulers: Vec<Process>,
    workers: Vec<Process>,
    sync_always: bool,
    nats_port: OwnedPort,
    redis_port: OwnedPort,
    folder: TempDir,
}

impl StartedCluster {
    /// Starts everything. The schedulers answer some moments later.
    ///
    /// # Errors
    /// A program that is not there, that ends, or that does not listen in time.
    pub async fn start(options: &ClusterOptions) -> Result<Self, BenchError> {
        let folder = tempfile::tempdir().map_err(failed_to("make a folder"))?;
        let (nats_port, redis_port) = (OwnedPort::take()?, OwnedPort::take()?);
        let launch = |name: &str, program: &Path| Launch {
            unset: options.unset.clone(),
            has_own_group: true,
            ..Launch::new(name, folder.path(), program)
        };
        let nats =
            start_nats(options, launch("nats-server", &program(&options.nats_server)), &nats_port).await?;
        let redis = start_redis(launch("redis-server", &program(&options.redis_server)), &redis_port).await?;
        write(folder.path(), "servers.json", &servers(options).to_string())?;
        let settings = format!(
            "[nats]\nurl = \"nats://{}\"\n[redis]\nurl = \"redis://{}\"\n\
             [worker]\nslots = {SLOTS}\nmcp_config = \"servers.json\"\n",
            nats_port.address(),
            redis_port.address()
        );
        write(folder.path(), "longshore.toml", &settings)?;
        let start = |role: &str, count: usize| {
            let arguments = [role.to_owned(), "--config".to_owned(), "longshore.toml".to_owned()];
            let each = (1..=count).map(|number| Launch {
                arguments: arguments.to_vec(),
                ..launch(&format!("{role} {number}"), &options.longshore)
            });
            each.map(|launch| launch.start()).collect::<Result<Vec<_>, _>>()
        };
        let schedulers = start("scheduler", options.schedulers)?;
        let workers = start("worker", options.workers)?;
        Ok(Self {
            nats,
            redis,
            schedulers,
            workers,
            sync_always: options.sync_always,
            nats_port,
            redis_port,
            folder,
        })
    }

    /// Returns the address of its NATS.
    pub fn nats_url(&self) -> String {
        format!("nats://{}", self.nats_port.address())
    }

    /// Returns the address of its Redis.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.redis_port.address())
    }

    /// Returns the configuration file of its processes.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("longshore.toml")
    }

    /// Returns the `sync_interval` of its NATS: `default` or `always`.
    pub(crate) fn sync(&self) -> &'static str {
        if self.sync_always { "always" } else { "default" }
    }

    /// Returns the number of its schedulers.
    pub(crate) fn schedulers(&self) -> usize {
        self.schedulers.len()
    }

    /// Returns the memory and processor time of each process, by its name.
    pub(crate) fn usage(&self) -> Vec<(String, Usage)> {
        self.all().map(|process| (process.name().to_owned(), process.usage())).collect()
    }

    /// Kills a scheduler, which leads its share of the partitions.
    pub(crate) async fn kill_a_scheduler(&mut self) -> Result<(), BenchError> {
        if self.schedulers.len() < 2 {
            let message = "no other scheduler can take over from the only one";
            return Err(
                BenchError::new(BenchErrorKind::Usage, message).help("start more of them with --schedulers")
            );
        }
        let mut killed = self.schedulers.remove(0);
        killed.kill().await;
        Ok(())
    }

    /// Adds the output of processes that have ended to an error.
    pub fn explain(&mut self, mut error: BenchError) -> BenchError {
        let Self { nats, redis, schedulers, workers, .. } = self;
        let all = [nats, redis].into_iter().chain(schedulers).chain(workers);
        for ended in all.filter_map(Process::has_ended) {
            error.message = format!("{}\n{ended}", error.message);
        }
        error
    }

    /// Ends every process: schedulers and workers first, as they use NATS and Redis.
    pub async fn end(mut self) {
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

async fn start_nats(
    options: &ClusterOptions,
    launch: Launch,
    port: &OwnedPort,
) -> Result<Process, BenchError> {
    let sync = if options.sync_always { ", sync_interval: always" } else { "" };
    let settings = format!("jetstream {{ store_dir: \"nats\"{sync} }}\n");
    // Another server on this machine does not have the name of this process.
    let server_name = format!("longshore-bench-{}", std::process::id());
    Ok(nats::start(&launch, port, &server_name, &settings).await?)
}

/// Redis as deploy/redis/redis.conf has it.
async fn start_redis(launch: Launch, port: &OwnedPort) -> Result<Process, BenchError> {
    let settings = "bind 127.0.0.1\nappendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n\
                    auto-aof-rewrite-min-size 256mb\n";
    write(&launch.folder, "redis.conf", settings)?;
    let launch = Launch { arguments: vec!["redis.conf".to_owned()], ..launch };
    Ok(redis::start(&launch, port, None).await?)
}

/// Returns the path of a program as seen from another folder. A name alone is looked up in the `PATH`.
fn program(named: &Path) -> PathBuf {
    if named.components().count() == 1 {
        return named.to_owned();
    }
    std::path::absolute(named).unwrap_or_else(|_| named.to_owned())
}

fn servers(options: &ClusterOptions) -> Value {
    let settings = json!({ "max_concurrency": SLOTS });
    let mut servers = Map::new();
    servers.insert("noop".to_owned(), json!({ "type": "noop", "longshore": settings }));
    let mut words = options.echo.iter().flat_map(|command| command.split_whitespace());
    if let Some(program) = words.next() {
        let arguments: Vec<&str> = words.collect();
        // The processes run in the temporary folder; the command may name files of the user's folder.
        let cwd = std::env::current_dir().unwrap_or_default();
        let entry = json!({ "command": program, "args": arguments, "cwd": cwd, "longshore": settings });
        servers.insert("stdio".to_owned(), entry);
    }
    json!({ "mcpServers": servers })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), BenchError> {
    fs::write(folder.join(name), text).map_err(failed_to(&format!("write {name}")))
}
