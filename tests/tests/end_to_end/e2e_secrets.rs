//! Secrets from end to end: the tool gets the value, and it is written nowhere else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use longshore_proto::StepStatus;
use longshore_tests::broken_server::dying;
use longshore_tests::longshore::{EndedCommand, Longshore};
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::tables::Tables;
use longshore_tests::wait::until;
use serde_json::{Value, json};

/// The value of the operator's variable.
const VALUE: &str = "v4lue-\"of\"-the-cärd-token";

/// A part of the value that can be found in every encoding.
const TRACE: &str = "v4lue";

const WORKFLOW: &str = r"
longshore: v1
name: charge
inputs:
  card_token: { type: string, required: true, secret: true }
  path: { type: string, default: none }
steps:
  - id: echo
    call: tables/echo
    with:
      header: Bearer ${{ inputs.card_token }}
      deep: [{ plain: '${{ inputs.card_token }}' }]
      forged: secret:CARD_TOKEN
  - id: note
    call: slow/note
    with: { text: '${{ inputs.card_token }}' }
  - id: gate
    if: inputs.path != 'none'
    call: slow/gate
    with: { path: '${{ inputs.path }}', token: '${{ inputs.card_token }}' }
    retry: 3
  - id: shout
    call: slow/shout
    with: { text: 'no ${{ inputs.card_token }}' }
    continue-on-error: true
outputs:
  echoed: ${{ steps.echo.output }}
  noted: ${{ steps.note.output }}
  content: ${{ steps.note.content }}
  error: ${{ steps.shout.error.message }}
";

fn scratch() -> Scratch {
    let scratch = Scratch::with(WORKFLOW, &json!({}));
    let servers = json!({
        "mcpServers": {
            "tables": Tables::of(scratch.path()).entry(),
            "slow": dying(&scratch.path().join("calls")),
        },
        "longshore": { "secrets": {
            "CARD_TOKEN": { "value": "${CARD_TOKEN}", "servers": ["tables", "slow"] },
            "OTHER": { "value": "another-v4lue", "servers": ["slow"] },
        } },
    });
    scratch.write(".mcp.json", servers.to_string());
    scratch
}

/// Returns `longshore` with the operator's variable and with the most detailed log.
fn longshore(scratch: &Scratch, arguments: &[&str]) -> Longshore {
    scratch.longshore(arguments).env("CARD_TOKEN", VALUE).env("LONGSHORE_LOG", "trace")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the number of files of the data directory that contain a text.
fn holding(scratch: &Scratch, text: &str) -> usize {
    let files = files(&scratch.path().join(".longshore"));
    let holds =
        |path: &&PathBuf| fs::read(path).unwrap().windows(text.len()).any(|part| part == text.as_bytes());
    files.iter().filter(holds).count()
}

#[track_caller]
fn assert_unmentioned(ended: &EndedCommand) {
    assert!(!ended.stdout.contains(TRACE) && !ended.stderr.contains(TRACE), "{ended}");
}

/// Returns the arguments that `tables` recorded in its journal.
fn given(scratch: &Scratch) -> Value {
    let journal = scratch.read("journal");
    let first = journal.lines().next().unwrap();
    let entry: Value = serde_json::from_str(first).unwrap();
    entry.get("arguments").cloned().unwrap()
}

#[tokio::test]
async fn tool_gets_the_secret_value_and_it_is_written_nowhere_else() {
    let scratch = scratch();
    let line = ["run", "workflow.yaml", "-i", "card_token=secret:CARD_TOKEN"];
    let ended = longshore(&scratch, &line).run().await.expecting(0);
    assert_unmentioned(&ended);
    assert!(
        ended.stderr.contains("TRACE") || ended.stderr.contains("DEBUG"),
        "everything was logged\n{ended}"
    );

    let expected = json!({
        "header": format!("Bearer {VALUE}"), "deep": [{ "plain": VALUE }], "forged": "secret:CARD_TOKEN",
    });
    assert_eq!(given(&scratch), expected);
    assert!(scratch.read("calls").contains(&format!("note {VALUE}")));

    let outputs = ended.json();
    let expected =
        json!({ "header": "Bearer ***", "deep": [{ "plain": "***" }], "forged": "secret:CARD_TOKEN" });
    assert_eq!((&outputs["echoed"], &outputs["noted"]), (&expected, &json!("***")));
    assert_eq!(outputs["content"], json!([{ "type": "text", "text": "***" }]));
    assert!(outputs["error"].as_str().unwrap().contains("no ***"), "{outputs}");

    let run = scratch.newest().await;
    assert_eq!(step(&run, "shout").status, StepStatus::Indeterminate);
    let id = run.summary.run.to_string();
    for arguments in
        [vec!["runs", "list", "--json"], vec!["runs", "show", &id, "--json"], vec!["runs", "show", &id]]
    {
        assert_unmentioned(&longshore(&scratch, &arguments).run().await.expecting(0));
    }
    assert!(holding(&scratch, "secret:CARD_TOKEN") > 0, "the name is what was kept");
    assert_eq!(holding(&scratch, TRACE), 0);
}

#[tokio::test]
async fn killed_run_continues_with_the_name_of_the_secret() {
    let scratch = scratch();
    let open = scratch.path().join("open");
    let path = format!("path={}", open.display());
    let started =
        longshore(&scratch, &["run", "workflow.yaml", "-i", "card_token=secret:CARD_TOKEN", "-i", &path])
            .start();
    let calls = || fs::read_to_string(scratch.path().join("calls")).unwrap_or_default();
    until("the gate is called", || calls().contains("gate")).await;
    let killed = started.kill().await;
    assert!(killed.was_killed(), "{killed}");
    assert_unmentioned(&killed);
    assert!(holding(&scratch, "secret:CARD_TOKEN") > 0, "the name is what was kept");
    assert_eq!(holding(&scratch, TRACE), 0, "the write-ahead log is among the files");

    fs::write(&open, "").unwrap();
    let resumed = longshore(&scratch, &["resume"]).run().await.expecting(0);
    assert_unmentioned(&resumed);
    assert_eq!(resumed.json()["noted"], "***");
    assert!(calls().contains(&format!("shout no {VALUE}")), "{}", calls());
    assert_eq!(holding(&scratch, TRACE), 0);
}

const TABLE: &str = r"
longshore: v1
name: table
inputs: { csv: { type: string, required: true } }
steps:
  - { id: first, call: tables/echo, with: { text: '${{ inputs.csv }}' } }
  - { id: second, call: tables/echo, with: { text: '${{ steps.first.output.text }}' } }
outputs: { csv: '${{ steps.second.output.text }}' }
";

#[tokio::test]
async fn configuration_stays_in_outputs_and_what_is_masked_there_is_named() {
    let scratch = Scratch::with(TABLE, &json!({}));
    let mut tables = Tables::of(scratch.path()).entry();
    tables["env"] = json!({
        "AWS_REGION": "eu-central", "PORT": "80", "BATCH": "202611", "FEATURE": "enabled", "TABLE": "orders",
        "CUSTOMER": "acme-42", "API_TOKEN": "v4lue-of-a-token", "DATA": scratch.path(),
    });
    scratch.write(".mcp.json", json!({ "mcpServers": { "tables": tables } }).to_string());
    let csv = |customer: &str, token: &str| {
        let folder = scratch.path().display();
        format!("eu-central-1,8080,202611,enabled\norders,acme-421,{customer},{token}\n{folder}/x.csv")
    };
    let input = format!("csv={}", csv("acme-42", "v4lue-of-a-token"));
    let ended = scratch.longshore(["run", "workflow.yaml", "-i", &input]).run().await.expecting(0);
    assert_eq!(ended.json()["csv"], csv("***", "***"), "{ended}");
    let named = ["variable `API_TOKEN` of server `tables`", "variable `CUSTOMER` of server `tables`"];
    let warnings: Vec<_> = ended.stderr.lines().filter(|line| line.contains("visible_env")).collect();
    assert_eq!(warnings.len(), 1, "one for the run\n{ended}");
    assert!(named.iter().all(|name| warnings[0].contains(name)), "{ended}");
    assert!(!ended.stderr.contains("acme-42") && !ended.stderr.contains(TRACE), "{ended}");

    let run = scratch.newest().await;
    for name in ["first", "second"] {
        let attempt = step(&run, name).attempts.first().unwrap();
        // What the second one gets has no value any more.
        let expected: &[&str] = if name == "first" { &named } else { &[] };
        assert_eq!(attempt.masked, expected, "{name}");
    }
    let shown = scratch.longshore(["runs", "show", "last"]).run().await.expecting(0);
    assert!(
        shown.stdout.contains("masked: variable `API_TOKEN` of server `tables`, variable `CUSTOMER`"),
        "{shown}"
    );
    let shown = scratch.longshore(["runs", "show", "last", "--json"]).run().await.expecting(0);
    assert!(shown.stdout.contains("\"masked\""), "{shown}");

    let line = ["servers", "call", "tables/echo", "-a", "text=acme-42"];
    let called = scratch.longshore(line).run().await.expecting(0);
    assert!(called.stderr.contains(named[1]) && called.stdout.contains("***"), "{called}");
    let mut visible: Value = serde_json::from_str(&scratch.read(".mcp.json")).unwrap();
    visible["mcpServers"]["tables"]["longshore"] = json!({ "visible_env": ["CUSTOMER"] });
    scratch.write(".mcp.json", visible.to_string());
    let called = scratch.longshore(line).run().await.expecting(0);
    assert!(!called.stderr.contains("CUSTOMER") && called.stdout.contains("acme-42"), "{called}");
}

#[tokio::test]
async fn values_and_unknown_names_are_refused_before_anything_is_kept() {
    let scratch = scratch();
    let value = format!("card_token={VALUE}");
    scratch.write("inputs.json", json!({ "card_token": [VALUE] }).to_string());
    let never = ["`card_token` is secret", "`secret:CARD_TOKEN`", "never the value itself"];
    let cases: [(&[&str], &[&str]); 3] = [
        (&["-i", &value], &never),
        (&["--input-file", "inputs.json"], &never),
        (&["-i", "card_token=secret:CARD_TOKN"], &["no secret `CARD_TOKN`", "did you mean `CARD_TOKEN`?"]),
    ];
    for (inputs, words) in cases {
        let line: Vec<_> = ["run", "workflow.yaml"].into_iter().chain(inputs.iter().copied()).collect();
        assert_unmentioned(&longshore(&scratch, &line).run().await.expecting(3).saying(words));
    }
    let unset = scratch.longshore(["run", "workflow.yaml", "-i", "card_token=secret:CARD_TOKEN"]);
    unset.run().await.expecting(3).saying(&["longshore.secrets.CARD_TOKEN", "`CARD_TOKEN` is not set"]);
    assert!(!scratch.path().join(".longshore").exists());
}
