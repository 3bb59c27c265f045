//! Recorded values of a run: arguments, outputs, reasons of skipped steps, and each failure in one place.

use serde_json::{Value, json};

use crate::folder::Folder;

const SEVERAL: &str = "
longshore: v1
name: several
inputs:
  who: { type: string, required: true }
  bulk: { default: '' }
steps:
  - { id: greet, call: test/echo, with: { text: 'Hello, ${{ inputs.who }}!', bulk: '${{ inputs.bulk }}' } }
  - { id: never, call: test/echo, if: 'inputs.who == \"nobody\"' }
  - id: group
    parallel:
      - { id: bad, call: test/fail, with: { row: 7 } }
  - { id: after, call: test/echo }
";

async fn shown(folder: &Folder) -> Value {
    let shown = folder.run(&["runs", "show", "last", "--json"]).await.expecting(0, &[]);
    shown.json_lines().into_iter().next().expect("a run")
}

#[tokio::test]
async fn run_is_shown_with_arguments_outputs_and_reasons() {
    let folder = Folder::with(SEVERAL);
    folder.run(&["run", "wf.yaml", "-i", "who=you"]).await.expecting(20, &[]);
    let run = shown(&folder).await;
    let step = |path: &str| {
        let steps = run["steps"].as_array().expect("steps");
        steps.iter().find(|step| step["path"] == path).expect("the step").clone()
    };
    assert_eq!(step("greet")["arguments"], json!({ "text": "Hello, you!", "bulk": "" }));
    assert_eq!(step("bad")["arguments"], json!({ "row": 7 }));
    assert_eq!(step("never")["skipped_because"], "`if: inputs.who == \"nobody\"` is false");
    assert_eq!(step("after")["skipped_because"], "`group` failed");

    let page = folder.run(&["runs", "show", "last"]).await.expecting(0, &[]).stdout;
    for line in [
        "with {\"bulk\":\"\",\"text\":\"Hello, you!\"}",
        "output {",
        "because `group` failed",
        "failed at  bad",
    ] {
        assert!(page.contains(line), "{line}: {page}");
    }
    assert_eq!(page.matches("row 7 has no number").count(), 1, "a failure is shown once: {page}");
}

#[tokio::test]
async fn beginning_of_large_arguments_is_recorded() {
    let folder = Folder::with(SEVERAL);
    let bulk = format!("bulk={}", "x".repeat(80_000));
    folder.run(&["run", "wf.yaml", "-i", "who=you", "-i", &bulk]).await.expecting(20, &[]);
    let run = shown(&folder).await;
    let arguments = &run["steps"].as_array().expect("steps").first().expect("a step")["arguments"];
    let beginning = arguments["beginning"]["text"].as_str().expect("a text");
    assert!(beginning.starts_with("{\"bulk\":\"xxx") && beginning.len() == 2_048, "{beginning}");
    assert!(arguments["beginning"]["bytes"].as_u64().is_some_and(|bytes| bytes > 80_000));
}

#[tokio::test]
async fn values_of_a_run_are_printed_in_full() {
    let folder = Folder::with(SEVERAL);
    let bulk = format!("bulk={}", "x".repeat(80_000));
    folder.run(&["run", "wf.yaml", "-i", "who=you", "-i", &bulk]).await.expecting(20, &[]);
    let page = folder.run(&["runs", "show", "last"]).await.expecting(0, &[]).stdout;
    assert!(page.contains("which `longshore runs output` prints"), "{page}");
    let large = folder.run(&["runs", "output", "last", "greet"]).await.expecting(0, &[]).json_lines();
    assert_eq!(large[0]["bulk"].as_str().map(str::len), Some(80_000));
    let line = ["runs", "output", "last", "greet", "-o", "greet.json"];
    folder.run(&line).await.expecting(0, &["written to greet.json"]);
    let written = std::fs::read_to_string(folder.path().join("greet.json")).expect("is written");
    assert_eq!(serde_json::from_str::<Value>(&written).expect("JSON"), large[0]);
    folder.run(&["runs", "output", "last"]).await.expecting(5, &["failed, so it has no outputs"]);
    folder.run(&["runs", "output", "last", "bad"]).await.expecting(5, &["failed, so it has no output"]);
    let words = ["was not kept", "steps.greet.content"];
    folder.run(&["runs", "output", "last", "greet", "--content"]).await.expecting(5, &words);
    folder.run(&["runs", "output", "last", "--content"]).await.expecting(2, &["<STEP>"]);
}

#[tokio::test]
async fn output_of_a_group_is_that_of_its_members() {
    let group = "longshore: v1\nname: group\nsteps: [{ id: both, parallel: [{ id: a, set: { x: 1 } }, { id: b, set: { x: 2 } }] }]\n";
    let folder = Folder::with(group);
    folder.run(&["run", "wf.yaml"]).await.expecting(0, &[]);
    folder
        .run(&["runs", "output", "last", "both"])
        .await
        .expecting(5, &["`both`", "is a group", "name one of them"]);
    let member = folder.run(&["runs", "output", "last", "b"]).await.expecting(0, &[]);
    assert_eq!(member.json_lines(), [json!({ "x": 2 })]);
}
