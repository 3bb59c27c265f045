//! Keys and spellings of other workflow languages, and their equivalents in this language.

use longshore_proto::{ServerName, ToolName};

use super::fields::get;
use crate::document::{MapEntry, NodeKind};

const INPUTS: &str = "values that a run is given are declared under `inputs`";
const STEPS: &str =
    "what to do is one list of `steps`; steps that run at the same time are members of `parallel`";
const SERVERS: &str = "servers come from the worker's configuration, never from a workflow";
const NO_ENVIRONMENT: &str = "a workflow sees no environment variables; pass values as `inputs`";
const AFTER_FAILURE: &str = "write `if: failure()` at a last step, which then runs when something failed";

/// Top-level keys of other languages.
const FILE_KEYS: [(&[&str], &str); 11] = [
    (
        &["on", "trigger", "schedule", "cron"],
        "`longshore run` starts a run; a workflow of this version does not start by itself",
    ),
    (&["jobs", "tasks", "stages", "actions", "nodes", "states", "do", "workflow", "pipeline"], STEPS),
    (&["env", "environment"], NO_ENVIRONMENT),
    (&["servers", "mcpServers"], SERVERS),
    (&["version", "apiVersion", "schemaVersion"], "the version of the format is the value of `longshore`"),
    (&["params", "parameters", "args", "arguments", "input"], INPUTS),
    (&["vars", "variables"], "values that a run is given are `inputs`, and a `set` step computes others"),
    (&["output", "result", "results", "returns"], "what a run gives is declared under `outputs`"),
    (&["id", "title"], "the name of the workflow is `name`"),
    (&["retry", "retries"], "write it below `defaults`, where it holds for all calls, or at one step"),
    (&["catch", "on-error", "on_error", "onError", "ensure"], AFTER_FAILURE),
];

const CALL: &str = "write `call: server/tool`";
const NO_SHELL: &str = "a step runs no command; a tool of a server does the work: `call: server/tool`";

/// Keys of other languages that select the kind of a step.
const STEP_KINDS: [(&[&str], &str); 3] = [
    (
        &["uses", "tool", "action", "function", "task", "invoke", "use", "activity", "operation", "server"],
        CALL,
    ),
    (&["run", "script", "command", "cmd", "shell", "exec", "bash", "image"], NO_SHELL),
    (&["vars", "variables", "assign", "let", "compute"], "write `set: { name: value }`"),
];

const LATER_FAILURE: &str = "`continue-on-error: true` lets the run continue, and a later step with `if: failure()` runs when something failed";

/// Keys of other languages for the arguments of a tool.
const ARGUMENT_KEYS: [(&[&str], &str); 2] = [
    (
        &["args", "arguments", "params", "parameters", "input", "inputs", "payload"],
        "the arguments of the tool are `with`",
    ),
    (&["env", "environment"], "a step sees no environment variables; pass values in `with`"),
];

/// Other keys of steps in other languages.
const STEP_KEYS: [(&[&str], &str); 10] = [
    (&["when", "condition", "only-if", "only_if", "where"], "write `if`"),
    (
        &[
            "depends_on",
            "depends-on",
            "dependsOn",
            "depends",
            "dependencies",
            "requires",
            "after",
            "runAfter",
            "run_after",
        ],
        "write `needs`, a list of ids",
    ),
    (&["on-error", "on_error", "onError", "catch", "rescue", "on-failure", "on_failure"], LATER_FAILURE),
    (
        &["ignore_errors", "ignore-errors", "allow-failure", "allow_failure", "continueOnFail", "optional"],
        "write `continue-on-error: true`",
    ),
    (
        &["loop", "for", "with_items", "matrix", "strategy", "each", "items"],
        "loops over steps are not built yet",
    ),
    (
        &["choice", "choose", "branch", "branches", "case", "then", "elif"],
        "give each of the steps its own `if`",
    ),
    (&["register", "outputs", "result", "save", "store"], "what a step gave is read as `steps.<id>.output`"),
    (&["description", "title", "label", "comment"], "a text for people is `name`"),
    (&["next", "goto", "end", "start"], "steps run from top to bottom; `needs` names others to wait for"),
    (&["type", "kind"], "a step says what it does by one of the keys `call`, `set` and `parallel`"),
];

/// Returns the help for a top-level key.
pub(super) fn file_key(key: &str) -> Option<&'static str> {
    find(&FILE_KEYS, key)
}

/// Returns the help for a key that selects the kind of a step.
pub(super) fn step_kind(key: &str) -> Option<&'static str> {
    find(&STEP_KINDS, key)
}

/// Returns the help for another key of a step. `known` are the keys that the step may have.
pub(super) fn step_key(entry: &MapEntry, known: &[&str]) -> Option<String> {
    let is_known = |key| known.contains(&key);
    timeout(entry)
        .filter(|_| is_known("timeout"))
        .or_else(|| retries(entry).filter(|_| is_known("retry")))
        .or_else(|| find(&ARGUMENT_KEYS, &entry.key).filter(|_| is_known("with")).map(str::to_owned))
        .or_else(|| find(&STEP_KEYS, &entry.key).map(str::to_owned))
}

fn find(table: &[(&[&str], &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(keys, _)| keys.contains(&key)).map(|(_, help)| *help)
}

/// Returns the help for keys such as `timeout-minutes: 5`.
fn timeout(entry: &MapEntry) -> Option<String> {
    let key = kebab(&entry.key);
    let unit = match key.strip_prefix("timeout-")? {
        "minutes" | "mins" | "min" | "m" => "m",
        "seconds" | "secs" | "sec" | "s" => "s",
        "ms" | "millis" | "milliseconds" => "ms",
        _ => return None,
    };
    Some(match &entry.value.kind {
        NodeKind::Number(number) if number.is_u64() => format!("write `timeout: {number}{unit}`"),
        _ => format!("write `timeout: 5{unit}`"),
    })
}

/// Returns the help for keys such as `retries: 3`, which do not count the first attempt, and `attempts: 3`, which do.
fn retries(entry: &MapEntry) -> Option<String> {
    let counts_first = match kebab(&entry.key).as_str() {
        "retries" | "max-retries" | "retry-count" => false,
        "attempts" | "max-attempts" => true,
        _ => return None,
    };
    let given = match &entry.value.kind {
        NodeKind::Number(number) => number.as_u64().filter(|number| *number < 1_000).unwrap_or(2),
        _ => 2,
    };
    let attempts = if counts_first { given.max(1) } else { given + 1 };
    Some(format!("write `retry: {attempts}`, which is the number of attempts, the first one counted"))
}

/// Converts a key from `snake_case` or `camelCase` to lower case with dashes.
pub(super) fn kebab(key: &str) -> String {
    let mut kebab = String::new();
    for character in key.chars().take(80) {
        if character.is_ascii_uppercase() && !kebab.is_empty() && !kebab.ends_with('-') {
            kebab.push('-');
        }
        kebab.push(if character == '_' { '-' } else { character.to_ascii_lowercase() });
    }
    kebab
}

/// Recognises the format of a file without the key `longshore`.
pub(super) fn format(entries: &[MapEntry]) -> Option<&'static str> {
    let has = |key| get(entries, key).is_some();
    if has("jobs") {
        Some("a GitHub Actions workflow")
    } else if has("apiVersion") && has("kind") {
        Some("a Kubernetes or Argo manifest")
    } else if has("StartAt") && has("States") {
        Some("a state machine of AWS Step Functions")
    } else if has("document") && has("do") {
        Some("a workflow of Serverless Workflow")
    } else {
        None
    }
}

/// Converts the spellings of MCP clients (`mcp__server__tool`, `server.tool`, `server:tool`) to `server/tool`.
pub(super) fn tool(text: &str) -> Option<String> {
    if text.contains('/') {
        return None;
    }
    let (server, tool) = match text.strip_prefix("mcp__") {
        Some(rest) => rest.split_once("__")?,
        None => ["__", "::", ":", "."].iter().find_map(|separator| text.split_once(separator))?,
    };
    let is_name = server.parse::<ServerName>().is_ok() && tool.parse::<ToolName>().is_ok();
    is_name.then(|| format!("{server}/{tool}"))
}
