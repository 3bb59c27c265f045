//! Conversion of the spellings of other hosts to the documented one, which `entry` reads.
//!
//! Hosts of MCP servers have the same entries with different field names: Windsurf writes `serverUrl`, Gemini CLI `httpUrl`, OpenCode
//! a `command` that is a list. The prompt to trust a servers file uses the same function, so it shows what is started.

use serde_json::{Map, Value};

/// Fields of other hosts, each with the documented field of the same meaning.
const ALIASES: [(&str, &str); 5] = [
    ("transport", "type"),
    ("transportType", "type"),
    ("serverUrl", "url"),
    ("httpUrl", "url"),
    ("environment", "env"),
];

/// The documented fields.
const KNOWN_FIELDS: [&str; 9] =
    ["type", "command", "args", "env", "cwd", "url", "headers", "disabled", "longshore"];

/// Fields for the user interface of other hosts. They do not affect the start or the calls of a server, so they cause no warning.
const OF_OTHER_HOSTS: [&str; 9] =
    ["$schema", "alwaysAllow", "autoApprove", "description", "gallery", "icon", "iconPath", "name", "trust"];

/// Converts an entry to the documented spelling, without fields, variables and headers that are `null`. Returns the contradictions.
pub(super) fn canonical(entry: &mut Value) -> Vec<String> {
    let Value::Object(entry) = entry else { return Vec::new() };
    entry.retain(|_, value| !value.is_null());
    let mut problems = Vec::new();
    for (alias, field) in ALIASES {
        let Some(value) = entry.remove(alias) else { continue };
        match entry.get(field) {
            Some(other) if *other != value => {
                problems.push(format!("{alias}: contradicts `{field}`; keep one of them"));
            }
            _ => drop(entry.insert(field.to_owned(), value)),
        }
    }
    for field in ["env", "headers"] {
        if let Some(Value::Object(texts)) = entry.get_mut(field) {
            texts.retain(|_, value| !value.is_null());
        }
    }
    if let Some(enabled) = entry.get("enabled").and_then(Value::as_bool) {
        entry.remove("enabled");
        if !enabled {
            entry.insert("disabled".to_owned(), Value::Bool(true));
        }
    }
    if let Some(Value::Array(_)) = entry.get("command") {
        split_command(entry, &mut problems);
    }
    problems
}

/// Splits a `command` that is a list into the program and its arguments.
fn split_command(entry: &mut Map<String, Value>, problems: &mut Vec<String>) {
    let Some(Value::Array(words)) = entry.remove("command") else { return };
    let mut words = words.into_iter();
    entry.insert("command".to_owned(), words.next().unwrap_or_default());
    let mut args: Vec<Value> = words.collect();
    match entry.remove("args") {
        None => {}
        Some(Value::Array(more)) => args.extend(more),
        Some(_) => problems.push("args: must be a list of texts, one for each argument".to_owned()),
    }
    entry.insert("args".to_owned(), Value::Array(args));
}

/// Returns the warning about a field that is not read. Returns `None` for a field that only other hosts need.
pub(super) fn unknown_field(field: &str) -> Option<String> {
    if OF_OTHER_HOSTS.contains(&field) {
        return None;
    }
    Some(match field {
        "envFile" | "env_file" => {
            "is not read; set the variables in the environment of Longshore, and name them in `longshore.inherit_env`"
                .to_owned()
        }
        "timeout" => "is not read, because its unit differs between hosts; set `longshore.call_timeout_ms`".to_owned(),
        "disabledTools" | "includeTools" | "excludeTools" | "tools" => {
            "is not read: a workflow may call every tool of the server".to_owned()
        }
        "cmd" | "exec" | "executable" | "program" => "is not a known field; did you mean `command`?".to_owned(),
        _ if is_known(field) => "has no effect with this transport".to_owned(),
        _ => match longshore_suggest::closest(field, KNOWN_FIELDS) {
            Some(near) => format!("is not a known field; did you mean `{near}`?"),
            None => "is not a known field".to_owned(),
        },
    })
}

/// Returns true if a field is documented.
pub(super) fn is_known(field: &str) -> bool {
    KNOWN_FIELDS.contains(&field)
}

/// Returns the transport that a `type` names, in lower case and without `-` and `_`: `streamable_http`, `HTTP`.
pub(super) fn transport_word(kind: &str) -> String {
    kind.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).flat_map(char::to_lowercase).collect()
}

/// Returns the problem of a `command` that has arguments, as in a shell.
pub(super) fn arguments_in_command(command: &str) -> Option<String> {
    let mut words = command.split_whitespace();
    let program = words.next().filter(|program| program.len() < command.trim().len())?;
    // A path may have spaces, unless an option follows.
    if program.contains(['/', '\\']) && !words.any(|word| word.starts_with('-')) {
        return None;
    }
    Some(format!(
        "names the program alone; write `\"command\": \"{program}\"`, and the rest into `args`, one text for each argument"
    ))
}

/// Returns the problem of a path that begins with `~`.
pub(super) fn shell_home(path: &str) -> Option<String> {
    let rest = path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    Some(format!("`~` is not filled in, because no shell reads it; write `${{HOME}}{rest}`"))
}

/// Returns the warning about an argument that begins with a variable in the spelling of shells.
pub(super) fn shell_variable(arg: &str) -> Option<String> {
    let name =
        arg.strip_prefix('$')?.split('/').next().filter(|name| super::expand::is_variable_name(name))?;
    Some(format!("`${name}` is not filled in, because no shell reads it; write `${{{name}}}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn canonical_of(mut entry: Value) -> (Value, Vec<String>) {
        let problems = canonical(&mut entry);
        (entry, problems)
    }

    #[test]
    fn spellings_of_other_hosts_become_the_documented_one() {
        for (written, read) in [
            (json!({"serverUrl": "u", "transport": "http"}), json!({"url": "u", "type": "http"})),
            (json!({"httpUrl": "u", "url": null}), json!({"url": "u"})),
            (json!({"transportType": "stdio", "type": "stdio"}), json!({"type": "stdio"})),
            (
                json!({"command": ["npx", "-y"], "args": ["x"]}),
                json!({"command": "npx", "args": ["-y", "x"]}),
            ),
            (json!({"command": "c", "environment": {"A": "1"}}), json!({"command": "c", "env": {"A": "1"}})),
            (json!({"command": "c", "enabled": true}), json!({"command": "c"})),
            (json!({"command": "c", "enabled": false}), json!({"command": "c", "disabled": true})),
        ] {
            assert_eq!(canonical_of(written), (read, Vec::new()));
        }
        let (_, problems) = canonical_of(json!({"httpUrl": "u", "url": "v"}));
        assert_eq!(problems, ["httpUrl: contradicts `url`; keep one of them"]);
    }

    #[test]
    fn command_with_arguments_is_a_problem_and_a_path_with_spaces_is_not() {
        for command in ["python3 server.py", "npx -y x", "/usr/bin/node --x server.js", " uvx x"] {
            assert!(arguments_in_command(command).is_some_and(|why| why.contains("`args`")), "{command}");
        }
        for command in ["python3", "/opt/my servers/run", "C:\\Program Files\\x.exe", "${HOME}/my dir/x", ""]
        {
            assert_eq!(arguments_in_command(command), None, "{command}");
        }
    }

    #[test]
    fn warning_about_other_names_of_the_command_proposes_command() {
        for word in ["cmd", "exec", "executable", "program", "comand"] {
            assert!(unknown_field(word).is_some_and(|help| help.contains("`command`")), "{word}");
        }
        assert!(unknown_field("cwdd").is_some_and(|help| help.contains("`cwd`")));
    }

    #[test]
    fn shell_spellings_are_reported() {
        assert!(shell_home("~/bin/x").is_some_and(|why| why.ends_with("write `${HOME}/bin/x`")));
        assert!(shell_variable("$PWD/x").is_some_and(|why| why.ends_with("write `${PWD}`")));
        assert_eq!((shell_home("~user/x"), shell_home("/a/~")), (None, None));
        assert_eq!(
            (shell_variable("${PWD}/x"), shell_variable("echo $PWD"), shell_variable("$")),
            (None, None, None)
        );
    }
}
