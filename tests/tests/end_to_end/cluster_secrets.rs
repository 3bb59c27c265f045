//! A cluster writes no credential and no secret anywhere: not in logs of the most detailed level, answers, streams, Redis, dead
//! letters or files.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a surprise fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;
use longshore_tests::broken_server::dying;
use longshore_tests::longshore::{Longshore, StartedCommand};
use longshore_tests::monitored::get;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::port::take_port;
use longshore_tests::redis_server::RedisServer;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::{Tables, TablesOverHttp};
use longshore_tests::wait::{until, until_some};
use serde_json::{Value, json};

/// The text that every credential of this test contains, so that one search finds all of them.
const MARK: &str = "m4rked";

/// A user of NATS with a password.
const NATS_USER: &str = "service:m4rked-nats-password";

/// A token of NATS.
const NATS_TOKEN: &str = "m4rked-nats-token";

/// The value of a header of a server over HTTP.
const HEADER: &str = "m4rked-header";

/// The value of a variable that a server inherits.
const INHERITED: &str = "m4rked-inherited";

const REDIS_PASSWORD: &str = "m4rked-redis-password";

const CARD: &str = "m4rked-\"card\"-secret";

/// The value of a variable in the entry of a server.
const VARIABLE: &str = "m4rked-variable";

const WORKFLOW: &str = "longshore: v1
name: charge
inputs: { card: { type: string, required: true, secret: true } }
steps:
  - { id: pay, call: tables/echo, with: { header: 'Bearer ${{ inputs.card }}' } }
  - { id: later, call: slow/note, with: { text: 'no secret goes in here' } }
  - { id: shout, call: slow/shout, with: { text: 'no ${{ inputs.card }}' }, continue-on-error: true }
  - { id: remote, call: api/echo, with: { text: 'over HTTP' } }
  - { id: refused, call: tables/note, with: { text: '${{ inputs.card }}' }, continue-on-error: true }
outputs: { paid: '${{ steps.pay.output }}', error: '${{ steps.refused.error.message }}' }
";

struct Marked {
    nats: NatsServer,
    redis: RedisServer,
    scratch: Scratch,
    /// A server over HTTP, which ends with this.
    _api: TablesOverHttp,
}

impl Marked {
    /// Starts NATS and Redis. `user` is a user of NATS with its password, or a token.
    async fn start(user: &'static str) -> Self {
        let authorization = match user.split_once(':') {
            Some((user, password)) => format!("user: {user}, password: {password:?}"),
            None => format!("token: {user:?}"),
        };
        let more = format!("authorization {{ {authorization} }}\n");
        let setup = NatsSetup { server_settings: more, user: Some(user), ..NatsSetup::default() };
        let nats = NatsServer::start_with(setup).await;
        let redis = RedisServer::start_with(&["--requirepass", REDIS_PASSWORD]).await;
        let scratch = Scratch::with(WORKFLOW, &json!({}));
        let mut tables = Tables::of(scratch.path()).entry();
        let entry = tables.as_object_mut().expect("an entry");
        entry.insert("env".to_owned(), json!({ "KEY": VARIABLE }));
        entry.insert("longshore".to_owned(), json!({ "inherit_env": ["INHERITED"] }));
        let over_http = Tables::without_journal(scratch.path()).over_http();
        let mut api = over_http.entry();
        api["headers"] = json!({ "X-Api-Key": HEADER, "Authorization": "Bearer ${HEADER_VARIABLE}" });
        let servers = json!({
            "mcpServers": { "tables": tables, "slow": dying(&scratch.path().join("calls")), "api": api },
            "longshore": { "secrets": { "CARD": {
                "value": "${CARD}", "servers": ["tables", "slow"], "tools": ["tables/echo", "slow/shout"],
            } } },
        });
        scratch.write(".mcp.json", servers.to_string());
        Self { nats, redis, scratch, _api: over_http }
    }

    fn longshore(&self, arguments: &[&str]) -> Longshore {
        let command = self.scratch.longshore(arguments).env("NATS_URL", &self.nats.url());
        let command = command.env("REDIS_URL", &self.redis.url()).env("LONGSHORE_PARTITIONS", "2");
        command
            .env("LONGSHORE_LOG", "trace")
            .env("CARD", CARD)
            .env("INHERITED", INHERITED)
            .env("HEADER_VARIABLE", HEADER)
    }

    /// Runs a command that ends with this code, and adds its output to `printed`.
    async fn ends(&self, code: i32, arguments: &[&str], printed: &mut Vec<String>) -> String {
        let ended = self.longshore(arguments).run().await.expecting(code);
        printed.push(format!("{}\n{}", ended.stdout, ended.stderr));
        ended.stdout
    }

    /// Returns every value in Redis.
    fn stored(&self) -> String {
        let keys: Vec<String> = self.redis.ask(&["KEYS", "*"]);
        let dump = |key: &String| {
            let bytes: Vec<u8> = self.redis.ask(&["DUMP", key]);
            format!("{key} {}", String::from_utf8_lossy(&bytes))
        };
        keys.iter().map(dump).collect::<Vec<_>>().join("\n")
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the files below a folder that contain the mark.
fn marked_files(folder: &Path) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(MARK.len()).any(|part| part == MARK.as_bytes())
    };
    files(folder).into_iter().filter(holds).collect()
}

#[track_caller]
fn assert_unmarked(text: &str) {
    // Base64 of the mark at each of the three offsets, without the characters that depend on the bytes before and after.
    for form in [MARK, "bTRya2Vk", "00cmtlZ", "tNHJrZW"] {
        let at = text.find(form).map(|at| text.get(at.saturating_sub(200)..text.len().min(at + 100)));
        assert_eq!(at, None, "{form} is written down");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_and_no_secret_is_written_anywhere() {
    nothing_is_written_anywhere(NATS_USER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_no_secret_is_written_anywhere() {
    nothing_is_written_anywhere(NATS_TOKEN).await;
}

async fn nothing_is_written_anywhere(user: &'static str) {
    let marked = Marked::start(user).await;
    let ports = [take_port(), take_port()];
    let listeners = ports.each_ref().map(|port| port.address().to_string());
    let scheduler = marked.longshore(&["scheduler", "--metrics-listen", &listeners[0]]).start();
    let worker = marked.longshore(&["worker", "--metrics-listen", &listeners[1]]).start();
    until("requests are served", || scheduler.stderr().contains("serving requests")).await;
    until("the worker has started", || worker.stderr().contains("worker started")).await;
    let mut printed = Vec::new();
    marked.ends(0, &["workflows", "push", "workflow.yaml"], &mut printed).await;

    let line = ["submit", "charge", "-i", "card=secret:CARD", "--watch"];
    marked.ends(0, &line, &mut printed).await;
    let list = marked.ends(0, &["runs", "list", "--json"], &mut printed).await;
    let run: Value = serde_json::from_str(list.lines().next().expect("a run")).expect("JSON");
    let run = run["run"].as_str().expect("an id").to_owned();
    let shown = marked.ends(0, &["runs", "show", &run, "--json"], &mut printed).await;
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["outputs"]["paid"]["header"], "Bearer ***", "{shown}");
    let error = shown["outputs"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("gives no secret `CARD` to `tables/note`"), "{error}");
    assert!(marked.scratch.read("journal").contains(MARK), "the tool got the value");

    // A value instead of the name of a secret, in a request and in a plain publish.
    let literal = format!("card={CARD}");
    marked.ends(3, &["submit", "charge", "-i", &literal], &mut printed).await;
    let options = match user.split_once(':') {
        Some((name, password)) => {
            ConnectOptions::with_user_and_password(name.to_owned(), password.to_owned())
        }
        None => ConnectOptions::with_token(user.to_owned()),
    };
    let client = options.connect(marked.nats.url()).await.expect("connects");
    let body = json!({ "inputs": { "card": CARD } }).to_string();
    let published = client.request("longshore.v1.submit.default.charge", body.into()).await;
    published.expect("a receipt");
    let kept = until_some("the refused submit is listed", async || {
        let listed = marked.longshore(&["dlq", "list", "--json"]).run().await.expecting(0);
        Some(listed).filter(|listed| !listed.stdout.trim().is_empty())
    })
    .await;
    assert!(kept.stdout.contains("***"), "{kept}");
    printed.push(format!("{}{}", kept.stdout, kept.stderr));

    marked.ends(0, &["doctor"], &mut printed).await;
    marked.ends(0, &["doctor", "--json"], &mut printed).await;
    let other = marked.nats.url().replace(user, "service:m4rked-wrong");
    let refused = marked.longshore(&["runs", "list"]).env("NATS_URL", &other).run().await.expecting(4);
    printed.push(format!("{}{}", refused.stdout, refused.stderr));

    for listener in &listeners {
        for path in ["/metrics", "/readyz"] {
            let (status, text) = get(listener, path).expect("an answer");
            assert_eq!(status, 200, "{text}");
            printed.push(text);
        }
    }

    // The test published it, so it was in the stream of submits until it was read; the log never contained it.
    let ended = async |process: StartedCommand| {
        process.terminate();
        process.end().await.expecting(0)
    };
    for process in [ended(worker).await, ended(scheduler).await] {
        assert!(process.stderr.contains("DEBUG"), "everything was logged");
        printed.push(format!("{}{}", process.stdout, process.stderr));
    }
    printed.iter().for_each(|text| assert_unmarked(text));
    assert_unmarked(&marked.stored());
    let is_known = |path: &PathBuf| {
        // Files of the test and of the tools, and the submit that the test published with a value.
        let name = path.display().to_string();
        ["/.mcp.json", "/journal", "/calls", "/nats.conf"].iter().any(|known| name.ends_with(known))
            || name.contains("/LS_SUBMIT/")
    };
    let found = [marked.scratch.path(), marked.nats.folder(), marked.redis.folder()].map(marked_files);
    let unknown: Vec<_> = found.into_iter().flatten().filter(|path| !is_known(path)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
