//! Tests that no output shows the credentials of addresses, wherever an address is given.
//!
//! Commands and options are taken from `--help`, and settings from `doctor`, so that new ones are tested too.

use futures::{StreamExt, stream};
use serde_json::Value;

use crate::folder::{CommandResult, ECHO, Folder};

/// Part of every credential.
const MARK: &str = "m4rked";

/// Addresses with a user, a password, a token, a parameter and a fragment, some of them wrong, and one within a text.
const ADDRESSES: [&str; 6] = [
    "nats://m4rked-user:m4rked@127.0.0.1:1",
    "nats://m4rked-token@127.0.0.1:1",
    "https://127.0.0.1:1/path?token=m4rked#m4rked",
    "redis://:m4rked/with/slashes@127.0.0.1:1/0",
    "see nats://user:m4rked space m4rked@127.0.0.1:1",
    r#"nats://user:quoted"m4rked@127.0.0.1:1"#,
];

/// Number of commands that run at once.
const COMMANDS_AT_ONCE: usize = 4;

/// Variables that do not have the name of a setting.
const VARIABLES: [&str; 13] = [
    "NATS_URL",
    "NATS_URL_FILE",
    "NATS_CREDS",
    "REDIS_URL",
    "REDIS_URL_FILE",
    "LONGSHORE_NATS__URL_FILE",
    "LONGSHORE_REDIS__URL_FILE",
    "LONGSHORE_CONFIG",
    "LONGSHORE_DATA",
    "LONGSHORE_MCP_CONFIG",
    "LONGSHORE_LOG",
    "RUST_LOG",
    "LONGSHORE_NO_SUCH_SETTING",
];

/// A command line, and a variable of its environment.
struct Trial {
    line: Vec<String>,
    variable: Option<(String, String)>,
}

impl Trial {
    async fn run(&self, folder: &Folder) -> CommandResult {
        let line: Vec<&str> = self.line.iter().map(String::as_str).collect();
        let mut command = folder.command(&line);
        // Nothing listens at these addresses.
        command.env("NATS_URL", "nats://127.0.0.1:1").env("REDIS_URL", "redis://127.0.0.1:1");
        command.env("LONGSHORE_CONNECT_DEADLINE", "50ms").env("LONGSHORE_LOG", "trace");
        if let Some((name, value)) = &self.variable {
            command.env(name, value);
        }
        CommandResult::of(command.spawn().expect("starts")).await
    }
}

/// Runs all trials and checks that none prints a credential.
async fn require_no_credential(folder: &Folder, trials: Vec<Trial>) {
    assert!(trials.len() > 10, "there are enough trials");
    let results = stream::iter(&trials).map(async |trial| (trial, trial.run(folder).await));
    let mut results = results.buffer_unordered(COMMANDS_AT_ONCE);
    while let Some((Trial { line, variable }, ended)) = results.next().await {
        let printed = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!printed.contains(MARK), "{line:?} {variable:?}: {printed}");
        assert_ne!(ended.status.code(), None, "{line:?} {variable:?}: {printed}");
    }
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

async fn help(folder: &Folder, command: &[String]) -> String {
    let line = [command, &words(&["--help"])].concat();
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    folder.run(&line).await.expecting(0, &[]).stdout
}

/// Returns every command without subcommands, with its help.
async fn commands(folder: &Folder) -> Vec<(Vec<String>, String)> {
    let (mut found, mut open) = (Vec::new(), vec![Vec::new()]);
    while let Some(command) = open.pop() {
        let text = help(folder, &command).await;
        if text.contains("<COMMAND>") {
            let lines = text.lines().filter_map(|line| line.strip_prefix("  "));
            let named = lines.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
            let names = named.filter_map(|line| line.split_once("  ")).map(|(name, _)| name);
            for name in names.filter(|name| !name.contains(' ') && *name != "help") {
                open.push([&command[..], &words(&[name])].concat());
            }
        } else {
            found.push((command, text));
        }
    }
    found
}

/// Returns the options in a help text that have a value.
fn options(help: &str) -> Vec<String> {
    let words = help.lines().filter(|line| line.trim_start().starts_with('-'));
    let named = words.filter_map(|line| line.trim_start().split_once(" <"));
    let long = named.filter_map(|(names, _)| names.split(", ").find(|name| name.starts_with("--")));
    long.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn address_in_any_option_or_argument_is_printed_without_credentials() {
    let folder = Folder::with(ECHO);
    let mut trials = Vec::new();
    for (command, help) in commands(&folder).await {
        let usage = help.lines().find(|line| line.starts_with("Usage:")).expect("a usage");
        let positional = usage.matches('<').count();
        // As each positional argument, and as one more.
        for (address, count) in ADDRESSES.iter().zip([positional, positional + 1].into_iter().cycle()) {
            let line = [&command[..], &vec![(*address).to_owned(); count]].concat();
            trials.push(Trial { line, variable: None });
        }
        for (number, option) in options(&help).into_iter().enumerate() {
            let address = ADDRESSES[number % ADDRESSES.len()];
            for address in [ADDRESSES[0], address] {
                let rest = vec!["none.yaml".to_owned(); positional];
                trials.push(Trial {
                    line: [&command[..], &[option.clone(), address.to_owned()], &rest].concat(),
                    variable: None,
                });
            }
        }
    }
    let tried = |option: &str| trials.iter().any(|trial| trial.line.iter().any(|word| word == option));
    for option in
        ["--config", "--mcp-config", "--connect-deadline", "--metrics-listen", "--nats-creds", "--namespace"]
    {
        assert!(tried(option), "{option}");
    }
    require_no_credential(&folder, trials).await;
}

/// Returns the names of settings that `doctor` lists.
async fn settings(folder: &Folder) -> Vec<String> {
    let line = words(&["doctor", "--json"]);
    let report = Trial { line, variable: None }.run(folder).await;
    let report: Value = serde_json::from_str(&report.stdout).expect("a report");
    let settings = report.get("settings").and_then(Value::as_array).expect("settings");
    let names = settings.iter().filter_map(|setting| setting.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn address_in_any_variable_is_printed_without_credentials() {
    let folder = Folder::with(ECHO);
    let of_setting = |name: &String| format!("LONGSHORE_{}", name.replace('.', "__").to_ascii_uppercase());
    let mut variables: Vec<String> = settings(&folder).await.iter().map(of_setting).collect();
    variables.extend(VARIABLES.map(str::to_owned));
    let lines: [&[&str]; 6] = [
        &["doctor"],
        &["doctor", "--json"],
        &["worker"],
        &["scheduler"],
        &["runs", "list", "--verbose"],
        &["run", "--help"],
    ];
    let mut trials = Vec::new();
    for (number, variable) in variables.iter().enumerate() {
        for (position, line) in lines.iter().enumerate() {
            let address = ADDRESSES[(number + position) % ADDRESSES.len()];
            for address in [ADDRESSES[0], address] {
                let variable = Some((variable.clone(), address.to_owned()));
                trials.push(Trial { line: words(line), variable });
            }
        }
    }
    require_no_credential(&folder, trials).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn address_in_a_file_is_printed_without_credentials() {
    let folder = Folder::with(ECHO);
    let mut trials = Vec::new();
    let names = settings(&folder).await;
    for (number, name) in names.iter().map(String::as_str).chain(["no_such_setting"]).enumerate() {
        for address in [ADDRESSES[0], ADDRESSES[number % ADDRESSES.len()]] {
            let file = format!("{}-{}.toml", name, trials.len());
            let value = serde_json::to_string(address).expect("a text");
            folder.write(&file, &format!("{name} = {value}\n"));
            for line in [&["doctor"][..], &["doctor", "--json"], &["worker"], &["runs", "list"]] {
                trials.push(Trial {
                    line: [words(line), words(&["--config", &file])].concat(),
                    variable: None,
                });
            }
        }
    }
    for (number, address) in ADDRESSES.iter().enumerate() {
        let value = serde_json::to_string(address).expect("a text");
        folder.write(&format!("broken-{number}.toml"), &format!("{value} = [{value}, {{ x = {value} }}]\n"));
        folder.write(&format!("wf-{number}.yaml"), &ECHO.replace("test/echo", &value));
        let steps = format!(
            "{{ id: {value}, call: test/echo, needs: [{value}], timeout: {value}, {value}: 1, if: {value}, with: 1 }}"
        );
        let all = format!(
            "longshore: v1\nname: all\ninputs: {{ {value}: {{ type: {value} }} }}\nsteps: [{steps}]\n"
        );
        folder.write(&format!("all-{number}.yaml"), &all);
        folder.write(&format!("name-{number}.yaml"), &ECHO.replace("name: echo", &format!("name: {value}")));
        folder.write(
            &format!("servers-{number}.json"),
            &format!(r#"{{"mcpServers": {{"a": {{"command": "true", "timeout": {value}}}, {value}: {{"url": {value}}}}}}}"#),
        );
        for line in [
            words(&["doctor", "--config", &format!("broken-{number}.toml")]),
            words(&["validate", "--json", &format!("wf-{number}.yaml"), &format!("name-{number}.yaml")]),
            words(&["validate", "--json", &format!("all-{number}.yaml")]),
            words(&["validate", &format!("wf-{number}.yaml"), &format!("name-{number}.yaml"), address]),
            words(&["validate", &format!("all-{number}.yaml")]),
            words(&["run", &format!("name-{number}.yaml")]),
            words(&["servers", "list", "--mcp-config", &format!("servers-{number}.json")]),
            words(&["servers", "list", "--json", "--mcp-config", &format!("servers-{number}.json")]),
            words(&["servers", "tools", "--mcp-config", &format!("servers-{number}.json")]),
            words(&["servers", "trust", &format!("servers-{number}.json")]),
        ] {
            trials.push(Trial { line, variable: None });
        }
    }
    require_no_credential(&folder, trials).await;
}
