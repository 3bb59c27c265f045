//! Invalid workflows and inputs: refused at once, with a position and advice, and without a trace in the data directory.

use std::fmt::Write as _;
use std::time::Duration;

use longshore_tests::longshore::EndedCommand;
use longshore_tests::scratch::Scratch;
use longshore_tests::tables::Tables;
use serde_json::json;

/// The limit for the refusal of a text of any size, also by a debug build.
const QUICKLY: Duration = Duration::from_secs(5);

fn scratch(workflow: &str) -> Scratch {
    let scratch = Scratch::with(workflow, &json!({}));
    scratch.servers(&json!({ "tables": Tables::of(scratch.path()).entry() }));
    scratch
}

/// Asserts that `validate` refuses a workflow, and that `run` refuses it before a call or a write.
async fn refused(workflow: &str, words: &[&str]) -> EndedCommand {
    let scratch = scratch(workflow);
    let validated = scratch.longshore(["validate", "workflow.yaml"]).run().await.expecting(3).saying(words);
    let run = scratch.run().await.expecting(3).saying(words);
    assert!(run.took < QUICKLY, "refused after {:?}", run.took);
    assert_eq!(run.stdout, "");
    assert_eq!(scratch.journal().lines(), 0, "nothing was called");
    scratch.longshore(["runs", "list"]).run().await.expecting(5);
    validated
}

fn calls(steps: &str) -> String {
    format!("longshore: v1\nname: bad\nsteps:\n{steps}")
}

#[tokio::test]
async fn text_that_is_not_yaml_or_json_is_refused_with_its_position() {
    refused("longshore: v1\nname: [bad\nsteps: 1\n", &["LS0002", "workflow.yaml:"]).await;
    refused("{\"longshore\": \"v1\", \"name\": \"bad\"", &["LS0002", "workflow.yaml:1"]).await;
    refused("", &["LS0007"]).await;
    refused("\u{0}\u{1}\u{fffd}", &["workflow.yaml"]).await;
}

#[tokio::test]
async fn all_problems_of_a_file_are_reported_in_one_pass() {
    let text = calls(
        "  - id: a\n    call: tables/echo\n    timeout: soon\n    retyr: 3\n  - id: b\n    call: tables/echo\n    with: 5\n",
    );
    refused(&text, &["`retry`", "LS0101", "LS0103", "LS0106", "workflow.yaml:6"]).await;
}

#[tokio::test]
async fn steps_that_wait_for_each_other_are_a_cycle() {
    let text = calls(
        "  - id: a\n    needs: [b]\n    call: tables/echo\n  - id: b\n    needs: [a]\n    call: tables/echo\n",
    );
    refused(&text, &["LS0111"]).await;
}

#[tokio::test]
async fn references_to_unknown_and_later_steps_are_refused() {
    let text = |first: &str| {
        calls(&format!(
            "  - id: fetch\n    call: tables/echo\n    with:\n      text: ${{{{ steps.{first}.output }}}}\n  \
               - id: store\n    call: tables/echo\n    with:\n      text: ${{{{ steps.fetsh.output }}}}\n"
        ))
    };
    refused(&text("unknown"), &["LS0107", "`fetch`"]).await;
    refused(&text("store"), &["LS0108"]).await;
}

#[tokio::test]
async fn text_of_ten_megabytes_is_refused_unread() {
    let text = calls("  - id: a\n    call: tables/echo\n") + "# " + &"x".repeat(10 * 1024 * 1024);
    refused(&text, &["LS0001"]).await;
}

#[tokio::test]
async fn workflow_of_ten_thousand_steps_is_refused() {
    let mut steps = String::new();
    for step in 0..10_000 {
        writeln!(steps, "  - id: s{step}\n    call: tables/echo").unwrap();
    }
    refused(&calls(&steps), &["LS0117"]).await;
}

#[tokio::test]
async fn text_of_a_thousand_levels_is_refused() {
    let nested = format!("{}1{}", "[".repeat(1_000), "]".repeat(1_000));
    let yaml = calls(&format!("  - id: a\n    call: tables/echo\n    with: {{ x: {nested} }}\n"));
    refused(&yaml, &["LS0003"]).await;
    let json = format!("{{\"longshore\": \"v1\", \"name\": \"bad\", \"x-deep\": {nested}}}");
    refused(&json, &["LS0003"]).await;
    let deep = format!("${{{{ {}1{} }}}}", "(".repeat(1_000), ")".repeat(1_000));
    refused(&calls(&format!("  - id: a\n    set:\n      x: {deep}\n")), &["LS0203"]).await;
}

#[tokio::test]
async fn unknown_server_is_refused_with_the_known_ones() {
    refused(&calls("  - id: a\n    call: tabels/echo\n"), &["tabels", "did you mean `tables`"]).await;
}

#[tokio::test]
async fn invalid_inputs_are_refused() {
    let text = "longshore: v1\nname: fits\ninputs:\n  n: { type: integer, required: true }\n  s: { type: string }\n\
                steps:\n  - id: a\n    call: tables/echo\n    with:\n      n: ${{ inputs.n }}\n\
                outputs:\n  n: ${{ steps.a.output.n }}\n";
    let scratch = scratch(text);
    scratch.write("inputs.json", r#"{ "n": 1, "s": [1] }"#);
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["`n`"]),
        (&["-i", "n=many"], &["`n`", "whole number", "many"]),
        (&["--input-file", "inputs.json"], &["`s`", "text"]),
        (&["-i", "n=1", "-i", "m=2"], &["`m`"]),
    ];
    for (inputs, words) in cases {
        let line = ["run", "workflow.yaml"].into_iter().chain(inputs.iter().copied());
        scratch.longshore(line).run().await.expecting(3).saying(words);
    }
    assert_eq!(scratch.journal().lines(), 0, "nothing was called");
    let fits = scratch.longshore(["run", "workflow.yaml", "-i", "n=1"]).run().await.expecting(0);
    assert_eq!(fits.json(), json!({"n": 1}));
}

#[tokio::test]
async fn missing_files_are_named() {
    let scratch = scratch(&calls("  - id: a\n    call: tables/echo\n"));
    let cases = [
        (["run", "none.yaml", "--json"].as_slice(), "none.yaml"),
        (&["validate", "none.yaml"], "none.yaml"),
        (&["run", "workflow.yaml", "--mcp-config", "none.json"], "none.json"),
        (&["run", "workflow.yaml", "--input-file", "none.inputs"], "none.inputs"),
        (&["resume", "--data", "none.data"], "none.data"),
        (&["runs", "list", "--data", "none.data"], "none.data"),
    ];
    for (line, name) in cases {
        let ended = scratch.longshore(line.iter().copied()).run().await.saying(&[name]);
        assert!(matches!(ended.code(), Some(3 | 5)), "{ended}");
    }
}
