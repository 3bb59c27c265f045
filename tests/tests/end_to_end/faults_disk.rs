//! A full disk, and a data file that is damaged or of another program: the problem is reported, no acknowledged run is lost,
//! and a run continues when there is room again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use longshore_proto::{RunStatus, StepStatus};
use longshore_tests::longshore::Longshore;
use longshore_tests::scratch::Scratch;
use longshore_tests::small_disk::SmallDisk;
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use serde_json::{Value, json};

/// The size of the disk: enough for the data of a run with its write-ahead log.
const DISK_KIBIBYTES: u32 = 32 * 1024;
/// The free space with which the disk fills up during a run.
const LEFT_KIBIBYTES: u64 = 700;
/// The number of steps, whose outputs together do not fit into the free space.
const STEPS: usize = 20;
/// The size of an output: small enough to be in the log itself, and in the arguments of the next step.
const TEXT_BYTES: usize = 50_000;

/// Returns a workflow of steps in a sequence that pass a long text to the next, all safe to repeat.
fn workflow() -> String {
    let mut steps = vec![json!({
        "id": "s0", "call": "tables/echo", "with": { "text": "x".repeat(TEXT_BYTES), "n": 0 }, "retry": 3,
    })];
    for n in 1..STEPS {
        let before = n - 1;
        steps.push(json!({
            "id": format!("s{n}"), "call": "tables/echo", "retry": 3,
            "with": {
                "text": format!("${{{{ steps.s{before}.output.text }}}}"),
                "n": format!("${{{{ steps.s{before}.output.n + 1 }}}}"),
            },
        }));
    }
    let last = format!("${{{{ steps.s{}.output.n }}}}", STEPS - 1);
    json!({ "longshore": "v1", "name": "long", "steps": steps, "outputs": { "n": last } }).to_string()
}

/// A run on a small disk.
struct OnDisk {
    scratch: Scratch,
    disk: SmallDisk,
}

impl OnDisk {
    fn new() -> Self {
        let scratch = Scratch::with(&workflow(), &json!({}));
        scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
        let folder = scratch.path().join("disk");
        std::fs::create_dir(&folder).unwrap();
        let disk = SmallDisk::new(&folder, DISK_KIBIBYTES);
        Self { scratch, disk }
    }

    /// Returns a command with the data directory on the disk.
    fn longshore(&self, command: &[&str]) -> Longshore {
        let data = self.disk.path().join("data").display().to_string();
        let mut line: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        line.extend(["--data".to_owned(), data]);
        Longshore::on(&self.disk, line)
    }

    /// Returns a command that makes calls, with the servers file.
    fn working(&self, command: &[&str]) -> Longshore {
        let servers = self.scratch.path().join(".mcp.json").display().to_string();
        self.longshore(&[command, &["--mcp-config", &servers]].concat())
    }

    fn run(&self) -> Longshore {
        self.working(&["run", &self.scratch.path().join("workflow.yaml").display().to_string()])
    }

    async fn runs(&self) -> Vec<Value> {
        self.longshore(&["runs", "list", "--json"]).run().await.expecting(0).json_lines()
    }
}

fn done() -> Value {
    json!({ "n": STEPS - 1 })
}

#[tokio::test]
async fn run_at_a_full_disk_waits_and_continues_when_there_is_room() {
    let on_disk = OnDisk::new();
    on_disk.disk.fill_except(LEFT_KIBIBYTES);
    let mut started = on_disk.run().start();
    until("the disk is full", || started.stderr().contains("disk is full")).await;
    assert!(started.is_running());
    on_disk.disk.free();
    assert_eq!(started.end().await.expecting(0).json(), done());
    assert_eq!(on_disk.runs().await.len(), 1);
}

#[tokio::test]
async fn run_killed_at_a_full_disk_is_resumed() {
    let on_disk = OnDisk::new();
    on_disk.disk.fill_except(LEFT_KIBIBYTES);
    let started = on_disk.run().start();
    until("the disk is full", || started.stderr().contains("disk is full")).await;
    assert!(started.kill().await.was_killed());

    on_disk.disk.free();
    let resumed = on_disk.working(&["resume"]).run().await.expecting(0);
    assert_eq!(resumed.json(), done());
    let runs = on_disk.runs().await;
    let run = runs.first().and_then(|run| run.get("run")).and_then(Value::as_str).unwrap();
    let shown = on_disk.longshore(&["runs", "show", run, "--json"]).run().await.expecting(0).json();
    let shown: longshore_proto::RunView = serde_json::from_value(shown).unwrap();
    assert_eq!(shown.summary.status, RunStatus::Succeeded, "{resumed}");
    assert!(shown.steps.iter().all(|step| step.status == StepStatus::Succeeded));
}

#[tokio::test]
async fn run_is_refused_if_the_disk_is_full_from_the_start() {
    let on_disk = OnDisk::new();
    on_disk.disk.fill_except(0);
    let refused = on_disk.run().run().await.expecting(1);
    assert!(refused.stderr.contains("full") || refused.stderr.contains("No space"), "{refused}");
    assert_eq!(on_disk.scratch.journal().lines(), 0, "nothing was called");
    on_disk.disk.free();
    assert_eq!(on_disk.run().run().await.expecting(0).json(), done());
}

#[tokio::test]
async fn damaged_or_foreign_data_file_is_refused_by_name() {
    let scratch = Scratch::with(&workflow(), &json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    scratch.run().await.expecting(0);
    let whole = std::fs::read(scratch.path().join(".longshore/longshore.db")).unwrap();
    let mut damaged = whole.clone();
    for page in damaged.chunks_mut(4096).skip(1) {
        page[..100].fill(0xff);
    }
    for (name, bytes) in [("noise", vec![7; 8192]), ("damaged", damaged)] {
        scratch.write(&format!("{name}/longshore.db"), bytes);
        let before = scratch.journal().lines();
        for command in [&["run", "workflow.yaml"][..], &["resume"]] {
            let line = [command, &["--data", name]].concat();
            scratch.longshore(line).run().await.expecting(1).saying(&[&format!("{name}/longshore.db")]);
        }
        scratch.longshore(["runs", "list", "--data", name]).run().await.expecting(1);
        assert_eq!(scratch.journal().lines(), before, "nothing was called");
    }
    scratch.write("file", "");
    scratch
        .longshore(["run", "workflow.yaml", "--data", "file"])
        .run()
        .await
        .expecting(2)
        .saying(&["file is not a directory"]);
}
