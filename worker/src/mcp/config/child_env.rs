//! The environment of a child process: a short list of harmless variables, those that `inherit_env` names, and those that `env`
//! sets.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ordinary::{self, ValueSource};
use super::origin::origin;
use super::secret::{SecretValue, Secrets};

/// Variables that every child process inherits. Programs need them to find files and to choose a language, and none has a
/// credential. The list is that of the official MCP libraries, plus locale, time zone and temporary folder.
const INHERITED: [&str; 11] =
    ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Variables with the network configuration of this machine, which every child process inherits too. Without them a server behind
/// a proxy fails with errors that name neither the proxy nor the certificate. A password in the address of a proxy is hidden.
const NETWORK: [&str; 14] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "NODE_USE_ENV_PROXY",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Returns true for a variable whose whole value is not a credential.
fn is_public(name: &str) -> bool {
    // The working directory of Longshore is in the path of every file that a server names.
    name == "PWD" || INHERITED.contains(&name) || NETWORK.contains(&name)
}

/// Adds the inherited variables. Those that the entry sets itself are not replaced.
pub(super) fn inherit_env(
    child: &mut BTreeMap<String, SecretValue>,
    inherit: &[String],
    env: &dyn Fn(&str) -> Option<String>,
) {
    for name in INHERITED.into_iter().chain(NETWORK).chain(inherit.iter().map(String::as_str)) {
        if !child.contains_key(name)
            && let Some(value) = env(name)
        {
            child.insert(name.to_owned(), SecretValue(value));
        }
    }
}

/// Adds the values of the child's environment to `secrets`, except those of harmless and of visible variables. `place` is the path
/// of the entry in the file, and `written` its field `env`.
pub(super) fn hide_env(
    place: &str,
    env: &BTreeMap<String, SecretValue>,
    written: Option<&Value>,
    visible: &[String],
    secrets: &mut Secrets,
) {
    for (name, SecretValue(value)) in env {
        let text = written.and_then(|written| written.get(name)).and_then(Value::as_str);
        let source = if text == Some(value.as_str()) { ValueSource::File } else { ValueSource::Environment };
        if is_hidden(name, value, source, visible) {
            secrets.add_setting(value, &origin("variable", name, place));
        } else if NETWORK.contains(&name.as_str()) || !visible.contains(name) {
            secrets.add_from_address(value);
        }
    }
}

/// Returns true if the value of a variable counts as a secret.
pub(super) fn is_hidden(name: &str, value: &str, source: ValueSource, visible: &[String]) -> bool {
    let is_visible = is_public(name) || visible.iter().any(|visible| visible == name);
    !is_visible && ordinary::is_secret(name, value, source)
}
