//! Workflow files with unusual bytes, in other dialects, with units, and in unusual folders.

use longshore_tests::longshore::Longshore;
use serde_json::json;

use crate::cases::folder::{Case, SERVERS, WORKFLOW};

#[tokio::test]
async fn byte_order_marks_carriage_returns_and_all_scripts_are_read() {
    let case = Case::of("14-workflow-bytes");
    let windows = case.run("windows.yaml").await.expecting(0).json();
    assert_eq!(windows, json!({ "out": { "text": "first line\nsecond line\n", "more": 3 } }));
    case.run("bom.json").await.expecting(0);
    assert_eq!(case.step("a").await.output, Some(json!({ "t": "\u{1f600}" })));
    let unicode = case.run("unicode.yaml").await.expecting(0).json();
    assert_eq!(unicode.pointer("/k"), Some(&json!("значение")));
    assert_eq!(unicode.pointer("/n"), Some(&json!([2, 6])), "two ways to write é are two keys");
    let kept = unicode.pointer("/all").expect("the arguments");
    assert_eq!((&kept["nul"], &kept["esc"]), (&json!("a\0b"), &json!("\u{1b}[31mred")));
    case.run("nbsp.yaml").await.expecting(0);
}

#[tokio::test]
async fn tabs_and_utf_16_are_refused_with_advice() {
    let case = Case::of("14-workflow-bytes");
    case.run("tabs.yaml").await.expecting(3).saying(&["tabs.yaml:4:2", "a tab cannot indent", "use spaces"]);
    case.run("utf16.yaml").await.expecting(3).saying(&["is not UTF-8 text", "save it as UTF-8"]);
}

#[tokio::test]
async fn placeholders_of_other_languages_are_text_with_a_warning() {
    let case = Case::of("41-dialects");
    let ended = case.run(WORKFLOW).await.expecting(0);
    assert_eq!(ended.stderr.matches("warning[LS0502]").count(), 6, "{ended}");
    assert_eq!(ended.stderr.matches("write `${{ inputs.who }}`").count(), 6, "{ended}");
    assert_eq!(ended.json().pointer("/a/jinja"), Some(&json!("{{ inputs.who }}")));
}

#[tokio::test]
async fn keys_of_other_languages_are_refused_with_the_right_key() {
    let case = Case::of("41-dialects");
    let ended = case.longshore(["validate", "unclosed.yaml", "gha.yaml", "mixed.yaml"]).run().await;
    ended.expecting(3).saying(&[
        "unclosed.yaml:5:25",
        "close it with `}}`",
        "this is a GitHub Actions workflow",
        "write `nightly-build`",
        "write `fetch_page`",
        "write `call: server/tool`",
        "write `retry: 4`, which is the number of attempts",
        "write `needs: [other]`",
        "write `call: s/echo`",
        "the arguments of the tool are `with`",
        "write `timeout: 5m`",
        "write `needs`, a list of ids",
        "a step runs no command",
        "write `continue-on-error`",
        "`PT30S` is not a duration",
        "mixed.yaml has 13 problems",
    ]);
}

#[tokio::test]
async fn each_duration_and_retry_with_a_wrong_unit_is_refused() {
    let case = Case::of("63-units");
    let ended = case.longshore(["validate", WORKFLOW]).run().await.expecting(3);
    ended.saying(&[
        "workflow.yaml:3:10",
        "write `3600s`;",
        "`90` is not a duration",
        "`attempts: 3` tries at most three times",
        "write `500ms`;",
        "write `90s`;",
        "`1.5h` is not a duration",
        "write `90m`;",
        "`2 minutes` is not a duration",
        "write `2m`;",
        "as in `retry: 3`, or `retry: { attempts: 3, delay: 2s }`",
        "`timeout` must be longer than zero",
        "`retry` is a whole number from 1 to 1000",
        "`00:05:00` is not a duration",
        "write `5s`;",
        "`backoff` cannot be `expo`",
    ]);
}

#[tokio::test]
async fn paths_with_spaces_work_and_are_quoted_in_help() {
    let case = Case::of("64-paths");
    let folder = case.path().join("my wörk dir");
    std::fs::create_dir(&folder).expect("a folder");
    case.write("my wörk dir/my flow.yaml", &case.read(WORKFLOW));
    let data = folder.join("data dir").display().to_string();
    let line = ["run", "my wörk dir/my flow.yaml", "--data", &data];
    let ended = case.longshore(line).run().await.expecting(20);
    let quoted = format!("--data '{data}'` shows every attempt");
    ended.saying(&["1 is divided by zero", &quoted]);
}

#[tokio::test]
async fn empty_environment_is_sufficient() {
    let case = Case::of("64-paths");
    let data = case.path().join("data").display().to_string();
    let longshore = Longshore::new(&case.path(), ["run", WORKFLOW, "--data", &data]).without_environment();
    longshore.run().await.expecting(20).saying(&["1 is divided by zero"]);
}

#[tokio::test]
async fn inputs_are_read_from_json_with_a_byte_order_mark_and_from_yaml() {
    let case = Case::of("65-elsewhere");
    for (file, text) in [(None, "x"), (Some("bom.json"), "from file"), (Some("inputs.yaml"), "from yaml")] {
        let more: Vec<&str> = file.into_iter().flat_map(|file| ["--input-file", file]).collect();
        let found = case.running(WORKFLOW, &more).run().await.expecting(0).json();
        assert_eq!(found, json!({ "a": format!("got {{\"text\": \"{text}\"}}") }));
    }
}

#[tokio::test]
async fn program_not_found_from_another_folder_is_quoted() {
    let case = Case::of("65-elsewhere");
    let at = |file: &str| case.path().join(file).display().to_string();
    let (workflow, servers, data) = (at(WORKFLOW), at(SERVERS), at("data"));
    let elsewhere = tempfile::tempdir().expect("a folder");
    let line = ["run", &workflow, "--mcp-config", &servers, "--data", &data];
    let ended = case.longshore_in(elsewhere.path(), line).run().await.expecting(20);
    ended.saying(&["the server could not be started", "can't open file", "server.py"]);
}
