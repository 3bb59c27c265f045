//! The files in `deploy/`: the real servers accept the configuration, and the processes of the Compose file work together,
//! started here without containers: NATS and Redis with that configuration, two schedulers, two workers, the sample server
//! over HTTP, and the health check. The image is built from every crate, and a split program keeps its backtraces.

#![expect(clippy::expect_used, reason = "what is not as it was shipped has failed the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use longshore_tests::cluster::{Cluster, Role, chain};
use longshore_tests::longshore::StartedCommand;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::port::take_port;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use serde_json::json;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).expect("it is shipped")
}

/// Returns the settings of JetStream in the shipped file, without its folder.
fn jetstream_settings() -> String {
    let text = read("nats/nats-server.conf");
    let (_, block) = text.split_once("jetstream {").expect("a block");
    let (block, _) = block.split_once("\n}").expect("its end");
    block.lines().filter(|line| !line.contains("store_dir")).collect::<Vec<_>>().join("\n")
}

/// Returns the account of Longshore in the shipped file.
fn account() -> String {
    let text = read("nats/nats-server.conf");
    let (_, block) = text.split_once("\naccounts {").expect("a block");
    let (block, _) = block.split_once("\n}").expect("its end");
    format!("accounts {{{block}\n}}\n")
}

#[test]
fn images_of_others_are_named_by_digest() {
    let text = read("compose.yaml") + &read("Dockerfile");
    let names = text.lines().filter_map(|line| {
        let line = line.trim();
        let name = line.strip_prefix("image: ").or_else(|| line.strip_prefix("FROM "))?;
        name.split_whitespace().next()
    });
    // `base` and `scratch` are no images of others, and the images of Longshore are built here.
    let of_others: Vec<&str> = names.filter(|name| name.contains([':', '/'])).collect();
    assert!(of_others.len() >= 4, "{of_others:?}");
    for name in of_others {
        let digest = name.split_once("@sha256:").map(|(_, digest)| digest).unwrap_or_default();
        assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
}

#[test]
fn nats_accepts_the_configuration() {
    let mut check = Command::new(NatsSetup::default().program);
    let Output { status, stderr, .. } =
        check.arg("-t").arg("-c").arg(shipped("nats/nats-server.conf")).output().expect("./verify has run");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn nats_accepts_the_configuration_with_accounts_for_other_machines() {
    let text = read("nats/nats-server.conf");
    let account = account();
    let open = format!("{}\n", account.trim_end());
    assert!(text.contains(&open), "the block that the accounts take the place of");
    let text =
        text.replace(&open, "include \"accounts.conf\"\n").replace("\nno_auth_user: longshore\n", "\n");
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("nats-server.conf"), text).expect("writes");
    fs::copy(shipped("nats/accounts.conf"), folder.path().join("accounts.conf")).expect("copies");
    let mut check = Command::new(NatsSetup::default().program);
    check.arg("-t").arg("-c").arg(folder.path().join("nats-server.conf"));
    for role in ["SCHEDULER", "WORKER", "OPERATOR", "DEFAULT"] {
        check.env(format!("NATS_{role}_PASSWORD"), "s3cret");
    }
    let Output { status, stderr, .. } = check.output().expect("./verify has run");
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

#[tokio::test]
async fn redis_accepts_the_configuration_and_never_evicts() {
    let redis = RedisServer::start_on(&shipped("redis/redis.conf")).await;
    let setting = |name: &str| redis.ask::<Vec<String>>(&["CONFIG", "GET", name]).pop().expect("a setting");
    assert_eq!(setting("maxmemory-policy"), "noeviction");
    assert_eq!(setting("appendonly"), "yes");
    assert_eq!(setting("maxmemory"), (1024 * 1024 * 1024).to_string());
}

/// Runs `deploy/healthy`, as the health check of a container does.
fn healthy(address: &str, path: &str) -> bool {
    let asked = Command::new(shipped("healthy")).arg(path).env("LONGSHORE_METRICS__LISTEN", address).output();
    asked.expect("bash").status.success()
}

fn process(cluster: &Cluster, role: &str, address: &str) -> StartedCommand {
    cluster.client([role]).env("LONGSHORE_METRICS__LISTEN", address).start()
}

#[tokio::test]
async fn processes_of_the_compose_file_work_together() {
    let scratch = Scratch::new(&json!({}));
    let sample = Tables::of(scratch.path()).over_http();
    scratch.servers(&json!({ "tables": sample.entry() }));
    let workflow = scratch.write("chain.yaml", chain("chain", 3));
    let more = format!("{}no_auth_user: longshore\n", account());
    assert!(read("nats/nats-server.conf").contains("\nno_auth_user: longshore\n"), "as it was shipped");
    let nats = NatsServer::start_with(NatsSetup {
        jetstream_settings: jetstream_settings(),
        server_settings: more,
        ..NatsSetup::default()
    })
    .await;
    let mut cluster = Cluster::start_on(nats, scratch, 1, 1).await;

    let ports = [take_port(), take_port()];
    let addresses = ports.each_ref().map(|port| port.address().to_string());
    let others = [process(&cluster, "scheduler", &addresses[0]), process(&cluster, "worker", &addresses[1])];
    for address in &addresses {
        until("it is ready", || healthy(address, "/readyz")).await;
        assert!(healthy(address, "/livez"));
    }
    let submit = ["submit", workflow.to_str().expect("a path"), "--watch"];
    cluster.client(submit).run().await.expecting(0);

    // One scheduler and one worker are enough.
    let firsts: Vec<_> = (0..cluster.members.len()).collect();
    for member in firsts {
        cluster.end_member(member).await.expecting(0);
    }
    cluster.client(submit).run().await.expecting(0);

    cluster.nats.stop().await;
    for address in &addresses {
        until("it is not ready without NATS", || !healthy(address, "/readyz")).await;
        assert!(healthy(address, "/livez"), "it is alive");
    }
    drop(others);
}

#[test]
fn compose_file_names_existing_files_targets_and_commands() {
    let compose = read("compose.yaml");
    for mounted in ["nats/nats-server.conf", "redis/redis.conf", "sample/mcp.json"] {
        assert!(compose.contains(&format!("./{mounted}:")) && shipped(mounted).is_file(), "{mounted}");
    }
    let dockerfile = read("Dockerfile");
    for target in ["longshore", "sample"] {
        assert!(
            compose.contains(&format!("target: {target}")) && dockerfile.contains(&format!("AS {target}"))
        );
    }
    for role in [Role::Scheduler, Role::Worker].map(|role| format!("{role:?}").to_lowercase()) {
        assert!(compose.contains(&format!("command: [{role}]")));
    }
}

#[test]
fn alerts_use_existing_metrics_and_are_documented() {
    let (alerts, reference) = (read("prometheus/alerts.yaml"), read("../docs/cluster.md"));
    let page = read("../docs/operations.md");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let metrics = alerts.split(|c| !is_name(c)).filter(|word| word.starts_with("longshore_"));
    let metrics: std::collections::BTreeSet<_> = metrics.collect();
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics {
        assert!(reference.contains(&format!("`{metric}`")), "{metric} is not in docs/cluster.md");
    }
    let names: Vec<_> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
    }
}

#[test]
fn image_is_built_from_every_crate_of_the_workspace() {
    let manifest = read("../Cargo.toml");
    let (_, members) = manifest.split_once("members = [").expect("a list of crates");
    let (members, _) = members.split_once(']').expect("its end");
    let copied = read("Dockerfile.dockerignore");
    let copied: Vec<_> = copied.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let missing: Vec<_> = members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
        .filter(|member| !copied.iter().any(|folder| Path::new(member).starts_with(folder)))
        .collect();
    assert!(missing.is_empty(), "not copied into the build: {missing:?}");
    for folder in copied {
        assert!(shipped("..").join(folder).exists(), "{folder} does not exist");
    }
}

/// A program that panics in a function of a known name.
const PANICS: &str = "#[inline(never)] fn fails() { panic!(\"on purpose\") } fn main() { fails() }";

#[test]
fn split_program_names_functions_if_its_symbols_are_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("panics.rs"), PANICS).expect("writes");
    let mut rustc = Command::new("rustc");
    rustc.args(["-O", "-C", "debuginfo=line-tables-only", "-o"]).arg(at("panics")).arg(at("panics.rs"));
    assert!(rustc.status().expect("rustc").success());
    let split =
        |to: &Path| Command::new(shipped("split-debug")).arg(at("panics")).arg(to).output().expect("bash");
    assert!(!split(folder.path()).status.success(), "it does not write over the program itself");
    let Output { status, stderr, .. } = split(&at("out"));
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));

    let size = |path: &str| fs::metadata(at(path)).expect("a file").len();
    assert!(size("out/panics") < size("panics") / 2, "{} of {}", size("out/panics"), size("panics"));
    let backtrace = || {
        let run = Command::new(at("out/panics")).env("RUST_BACKTRACE", "1").output().expect("runs");
        String::from_utf8_lossy(&run.stderr).into_owned()
    };
    let named = backtrace();
    assert!(named.contains("panics::fails") && named.contains("panics.rs:1:"), "{named}");
    fs::remove_file(at("out/panics.debug")).expect("removes");
    let unnamed = backtrace();
    assert!(unnamed.contains("on purpose") && !unnamed.contains("fails"), "{unnamed}");
}
