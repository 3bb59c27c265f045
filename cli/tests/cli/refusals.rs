//! Refusals and warnings, and their messages.

use serde_json::json;

use crate::folder::{CommandResult, ECHO, Folder};

#[tokio::test]
async fn refusals_come_before_anything_is_written() {
    let folder = Folder::with(ECHO);
    folder.run(&["run", "wf.yaml"]).await.expecting(3, &["`who` is required", "help:"]);
    folder.run(&["run", "wf.yaml", "-i", "whom=x"]).await.expecting(3, &["did you mean `who`?"]);
    folder.run(&["run", "none.yaml"]).await.expecting(5, &["none.yaml"]);
    folder.run(&["run", "wf.yaml", "-i", "who"]).await.expecting(2, &["name=value"]);
    folder.write("wf.yaml", &ECHO.replace("test/echo", "tset/echo").replace(", required: true", ""));
    folder.run(&["run", "wf.yaml"]).await.expecting(3, &["`greet`", "`tset`", "did you mean `test`?"]);
    std::fs::remove_file(folder.path().join(".mcp.json")).expect("removes");
    folder.run(&["run", "wf.yaml"]).await.expecting(3, &["no servers file .mcp.json", "--mcp-config"]);
    assert!(!folder.path().join(".longshore").exists(), "nothing was written");
    folder.run(&["runs", "list"]).await.expecting(5, &[".longshore"]);
    let looked_for = folder.path().canonicalize().expect("a path").join(".longshore");
    let looked_for = format!("there is no data directory {}", looked_for.display());
    folder.run(&["resume"]).await.expecting(5, &[&looked_for, "--data"]);
}

#[tokio::test]
async fn wrong_options_are_refused_with_advice() {
    let folder = Folder::with("longshore: v1\nname: fine\nsteps:\n  - call: test/echo\n");
    folder.run(&["run", "wf.yaml", "--slots", "0"]).await.expecting(2, &["a whole number from 1 to 65535"]);
    for command in [["run", "wf.yaml"], ["runs", "list"], ["runs", "show"]] {
        let arguments = [command.as_slice(), &["--data", ".mcp.json"]].concat();
        let arguments = if command[1] == "show" { [&arguments[..], &["x"]].concat() } else { arguments };
        folder.run(&arguments).await.expecting(2, &[".mcp.json is not a directory: name a directory"]);
    }
    let mut command = folder.command(&["runs", "list"]);
    command.env("LONGSHORE_LOG", "inof");
    let ended = CommandResult::of(command.spawn().expect("starts")).await;
    ended.expecting(2, &["LONGSHORE_LOG: `inof` is not a log level", "did you mean `info`?"]);
}

#[tokio::test]
async fn warnings_are_shown_and_refuse_nothing() {
    let folder = Folder::with(
        "longshore: v1\nname: zip\ninputs: { zip: { default: '1' } }\nsteps:\n  - set: { zip: 02142, text: '{{ zip }}' }\n",
    );
    let words = ["warning[LS0501]", "write `\"02142\"`", "warning[LS0502]", "write `${{ inputs.zip }}`"];
    folder.run(&["run", "wf.yaml"]).await.expecting(0, &words);
    folder.write("in.yaml", "zip: 02142\n");
    let words_of_inputs = ["warning[LS0501]", "in.yaml:1:6"];
    folder.run(&["run", "wf.yaml", "--input-file", "in.yaml"]).await.expecting(0, &words_of_inputs);
    folder.write("in.yaml", "- zip\n");
    let refused = ["LS0007", "inputs are a map", "the input file in.yaml cannot be read"];
    folder.run(&["run", "wf.yaml", "--input-file", "in.yaml"]).await.expecting(3, &refused);
    let text = folder.run(&["validate", "wf.yaml"]).await.expecting(0, &words);
    assert_eq!(text.stdout, "wf.yaml: `zip` is valid, with 2 warnings\n");
    let json = folder.run(&["validate", "wf.yaml", "--json"]).await.expecting(0, &[]);
    let validation: serde_json::Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(validation["valid"], json!(true));
    let found = |key: &str| {
        validation["warnings"].as_array().map(|all| all.iter().map(|one| one[key].clone()).collect())
    };
    assert_eq!(found("code"), Some(vec![json!("LS0501"), json!("LS0502")]));
    assert_eq!(found("severity"), Some(vec![json!("warning"), json!("warning")]));
}

#[tokio::test]
async fn warning_about_a_variable_is_shown_again_once_its_value_has_another_fault() {
    let folder = Folder::with("longshore: v1\nname: fine\nsteps:\n  - set: { a: 1 }\n");
    let api = json!({ "url": "https://127.0.0.1:1/", "headers": { "Authorization": "Bearer ${TOKEN}" } });
    folder.write("mcp.json", &json!({ "mcpServers": { "api": api } }).to_string());
    let run = async |token: &str| {
        let mut command = folder.command(&["run", "wf.yaml", "--mcp-config", "mcp.json"]);
        command.env("TOKEN", token);
        CommandResult::of(command.spawn().expect("starts")).await.expecting(0, &[]).stderr
    };
    let (empty, space) =
        ("the variable `TOKEN` is empty", "the variable `TOKEN` begins or ends with a space");
    assert!(run("").await.contains(empty));
    assert!(!run("").await.contains(empty), "once");
    assert!(run("s3cret-token ").await.contains(space));
    assert!(!run("s3cret-token ").await.contains("warning"), "once");
}

#[tokio::test]
async fn path_that_the_user_gave_is_not_masked_for_a_short_setting() {
    let folder = Folder::with(ECHO);
    let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/echo_server.py");
    let test = json!({ "command": "python3", "args": [echo], "env": { "MODEX": "${WHERE}" } });
    folder.write(".mcp.json", &json!({ "mcpServers": { "test": test } }).to_string());
    let mut command = folder.command(&["run", "wf.yaml", "-i", "who=reports", "--data", "data/reports"]);
    command.env("WHERE", "reports");
    let ended = CommandResult::of(command.spawn().expect("starts")).await;
    let ended = ended.expecting(0, &["its data is in data/reports", "of server `test`"]);
    assert!(ended.stdout.contains("Hello, ***!"), "answers are masked: {ended:?}");
}

#[tokio::test]
async fn validate_finds_problems_in_text_servers_and_tools() {
    let folder = Folder::with(ECHO);
    let fine = folder.run(&["validate", "wf.yaml", "--online"]).await.expecting(0, &[]);
    assert_eq!(fine.stdout, "wf.yaml: `echo` is valid\n");
    folder.write("tool.yaml", &ECHO.replace("test/echo", "test/ecko"));
    folder.run(&["validate", "tool.yaml"]).await.expecting(0, &[]);
    let words = ["LS0403", "has no tool `ecko`", "tool.yaml:7:29", "did you mean `echo`?"];
    folder.run(&["validate", "tool.yaml", "--online"]).await.expecting(3, &words);
    folder.write("server.yaml", &ECHO.replace("test/echo", "tset/echo"));
    let words = ["LS0401", "no server `tset`", "server.yaml:7:24", "did you mean `test`?"];
    folder.run(&["validate", "server.yaml"]).await.expecting(3, &words);
    let strict = ECHO.replace("test/echo", "test/strict").replace("text:", "txt:");
    folder.write("strict.yaml", &strict.replace("}!' }", "}!', count: many }"));
    folder.run(&["validate", "strict.yaml"]).await.expecting(0, &[]);
    let words = [
        "LS0404",
        "takes no argument `txt`",
        "did you mean `text`?",
        "LS0405",
        "requires the argument `text`",
        "add `text` to `with`",
        "LS0406",
        "`count` must be of type integer, and this is string",
        "strict.yaml has 3 problems",
    ];
    folder.run(&["validate", "strict.yaml", "--online"]).await.expecting(3, &words);
    folder.write("open.yaml", &ECHO.replace("test/echo", "test/open").replace("}!' }", "}!', cuont: 1 }"));
    let words = ["warning[LS0503]", "`cuont` is not an argument of `test/open`", "did you mean `count`?"];
    let open = folder.run(&["validate", "open.yaml", "--online"]).await.expecting(0, &words);
    assert_eq!(open.stdout, "open.yaml: `echo` is valid, with one warning\n");
    folder.write("bad.yaml", &ECHO.replace("steps:", "setps:"));
    let bad = folder
        .run(&["validate", "bad.yaml", "wf.yaml"])
        .await
        .expecting(3, &["bad.yaml:6", "`steps`", "LS0"]);
    assert_eq!(bad.stdout, "wf.yaml: `echo` is valid\n", "the second file is checked all the same");

    let json =
        folder.run(&["validate", "bad.yaml", "wf.yaml", "--json"]).await.expecting(3, &[]).json_lines();
    assert_eq!([&json[0]["valid"], &json[1]["valid"]], [&json!(false), &json!(true)]);
    assert!(
        json[0]["problems"].as_array().is_some_and(|all| all.iter().any(|one| one["line"] == 6)),
        "{json:#?}"
    );
}

#[tokio::test]
async fn validate_finds_problems_of_servers_in_a_text_with_errors_and_names_each_once() {
    let folder = Folder::with(ECHO);
    let text = std::fs::read_to_string(folder.path().join(".mcp.json")).expect("reads");
    let entries =
        r#"{"mcpServers":{"gone": {"command": "/no/such/program"}, "unset": {"command": "${NOT_SET_1}"},"#;
    folder.write(".mcp.json", &text.replacen("{\"mcpServers\":{", entries, 1));
    folder.write(
        "broken.yaml",
        "longshore: v1
name: broken
steps:
  - { id: one, call: gone/x, with: { a: '${{ inputs.missing }}' } }
  - { id: two, call: gone/y, needs: [none] }
  - { call: gone/z, timeout: soon }
  - { id: four, call: gone/z }
  - { id: five, call: unset/x }
  - { id: six, call: unset/x }
  - { id: seven, call: test/ecko }
  - { id: eight, call: test/strict, with: { txt: 1 } }
",
    );
    let ended = folder.run(&["validate", "broken.yaml", "--online", "--json"]).await.expecting(3, &[]);
    let json = ended.json_lines();
    let problems = json[0]["problems"].as_array().expect("problems");
    let of = |code: &str| -> Vec<&str> {
        let found = problems.iter().filter(|problem| problem["code"] == code);
        found.filter_map(|problem| problem["message"].as_str()).collect()
    };
    let [gone, unset] = of("LS0402")[..] else { panic!("{problems:#?}") };
    assert!(gone.contains("/no/such/program"), "{gone}");
    assert!(gone.starts_with("steps `one`, `two`, `#3` and 1 more: "), "{gone}");
    assert!(unset.contains("NOT_SET_1") && unset.starts_with("steps `five`, `six`: "), "{unset}");
    assert_eq!(of("LS0403"), ["the server `test` has no tool `ecko`"]);
    let of_text =
        problems.iter().filter(|problem| !["LS0402", "LS0403"].map(Some).contains(&problem["code"].as_str()));
    let lines: Vec<_> = of_text.map(|problem| problem["line"].as_u64()).collect();
    assert_eq!(lines, [4, 5, 6].map(Some), "{problems:#?}");
    let words = ["LS0402", "broken.yaml:4:22", "LS0403", "broken.yaml has 6 problems"];
    folder.run(&["validate", "broken.yaml", "--online"]).await.expecting(3, &words);
}

#[tokio::test]
async fn refused_command_line_says_what_is_meant_whatever_variables_are_set() {
    let folder = Folder::with(ECHO);
    let refused = async |line: &[&str], words: &[&str]| {
        let mut command = folder.command(line);
        command.env("LONGSHORE_MCP_CONFIG", ".mcp.json").env("LONGSHORE_DATA", "data");
        CommandResult::of(command.spawn().expect("starts")).await.expecting(2, words)
    };
    refused(&["run"], &["Usage: longshore run <WORKFLOW>"]).await;
    refused(&["servers", "call"], &["Usage: longshore servers call <SERVER/TOOL> [JSON]"]).await;
    refused(&["run", "wf.yaml", "-i", "@-"], &["on stdin is read with --input-file -"]).await;
    refused(&["run", "wf.yaml", "-i", "in.json"], &["from a file with --input-file FILE"]).await;
    refused(&["run", "wf.yaml", "in.json"], &["unexpected argument 'in.json'", "with `--input-file FILE`"])
        .await;
    folder.write("in.json", "{\"who\": \"me\"}");
    let words = ["this is no workflow", "a file of inputs is given with --input-file"];
    let one = folder.run(&["run", "in.json"]).await.expecting(3, &words);
    assert!(one.stderr.contains("has one problem"), "{one:#?}");
}

#[tokio::test]
async fn validate_counts_a_file_that_cannot_be_read_as_invalid() {
    let folder = Folder::with("longshore: v1\nname: fine\nsteps:\n  - call: test/echo\n");
    std::fs::write(folder.path().join("latin.yaml"), b"name: \xff").expect("writes");
    let words = ["none.yaml cannot be read", "latin.yaml is not UTF-8"];
    let files = ["validate", "none.yaml", "latin.yaml", "wf.yaml"];
    let ended = folder.run(&files).await.expecting(3, &words);
    assert_eq!(ended.stdout, "wf.yaml: `fine` is valid\n");
    let ended = folder.run(&[&files[..], &["--json"]].concat()).await.expecting(3, &[]);
    let json = ended.json_lines();
    let valid: Vec<_> = json.iter().map(|one| (one["file"].as_str(), one["valid"].as_bool())).collect();
    let expected = [("none.yaml", false), ("latin.yaml", false), ("wf.yaml", true)];
    assert_eq!(valid, expected.map(|(file, valid)| (Some(file), Some(valid))));
    assert!(json[0]["error"].as_str().is_some_and(|error| error.contains("cannot be read")), "{json:#?}");
}

#[tokio::test]
async fn mistake_in_an_entry_does_not_affect_the_other_servers() {
    let folder = Folder::with(ECHO);
    let text = std::fs::read_to_string(folder.path().join(".mcp.json")).expect("reads");
    let entries = r#"{ // copied from elsewhere
        "words": {"command": "python3 server.py", "args": "x"}, "off": {"disabled": true, "url": "TODO"},"#;
    folder.write(".mcp.json", &text.replacen("{\"mcpServers\":{", &format!("{{\"mcpServers\":{entries}"), 1));
    folder.run(&["run", "wf.yaml", "-i", "who=you"]).await.expecting(0, &[]);
    let listed = folder.run(&["servers", "list", "--json"]).await.expecting(1, &[]).json_lines();
    let seen: Vec<_> = listed.iter().map(|one| (&one["server"], &one["status"])).collect();
    assert_eq!(
        seen,
        [
            (&json!("off"), &json!("disabled")),
            (&json!("test"), &json!("ready")),
            (&json!("words"), &json!("unusable"))
        ]
    );
    let unusable = ["error: the server `words` of .mcp.json cannot be used: args: must be a list"];
    let tools = folder.run(&["servers", "tools"]).await.expecting(1, &unusable);
    assert!(tools.stdout.contains("test/echo"), "{tools:#?}");
    let page = folder.run(&["servers", "list"]).await.expecting(1, &[]);
    assert!(page.stdout.contains("args: must be a list of texts, not text"), "{page:#?}");
    folder.write("words.yaml", &ECHO.replace("test/echo", "words/echo"));
    let words = ["the server `words` of .mcp.json cannot be used", "args: must be a list"];
    folder.run(&["run", "words.yaml", "-i", "who=you"]).await.expecting(3, &words);
    folder.write(".mcp.json", "{ \"mcpServers\": {\n  \"s\" {} } }");
    folder
        .run(&["run", "wf.yaml", "-i", "who=you"])
        .await
        .expecting(3, &["not valid JSON at line 2, column 7"]);
}

#[tokio::test]
async fn validate_finds_secrets_that_a_call_does_not_get() {
    let folder = Folder::with(&ECHO.replace("required: true", "secret: true, default: 'secret:CARD'"));
    let text = std::fs::read_to_string(folder.path().join(".mcp.json")).expect("reads");
    let secrets = |tool: &str| {
        let own = json!({"secrets": {"CARD": {"value": "v4lue", "servers": ["test"], "tools": [tool]}}});
        folder.write(".mcp.json", &text.replacen('{', &format!("{{\"longshore\":{own},"), 1));
    };
    secrets("test/echo");
    folder.run(&["validate", "wf.yaml"]).await.expecting(0, &[]);
    secrets("test/fail");
    let words = ["LS0407", "does not give the secret `CARD` of the input `who` to `test/echo`", "wf.yaml:7:"];
    folder.run(&["validate", "wf.yaml"]).await.expecting(3, &words);
}
