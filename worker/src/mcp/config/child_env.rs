//! The environment of a child process, put together from nothing: a short list of harmless variables, what `inherit_env`
//! names, and what `env` sets.

use std::collections::BTreeMap;

use serde_json::Value;

use super::ordinary::{self, Source};
use super::origin::origin;
use super::secret::{Secret, Secrets};

/// What every child process gets of our environment: what programs need to find files and speak a language, and
/// nothing that carries a credential. The list is that of the official MCP libraries, plus locale, time zone and
/// temporary folder.
const INHERITED: [&str; 11] =
    ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Variables that say how this machine reaches the network, which every child process gets as well. Without them a server
/// behind a proxy fails in ways that name neither the proxy nor the certificate. A password in the address of a proxy is
/// hidden.
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

/// Variables whose values are no credentials as a whole.
fn is_public(name: &str) -> bool {
    // The folder in which Longshore was started is in the path of every file that a server names.
    name == "PWD" || INHERITED.contains(&name) || NETWORK.contains(&name)
}

/// Adds what a child process inherits; what the entry sets itself wins.
pub(super) fn inherit_env(
    child: &mut BTreeMap<String, Secret>,
    inherit: &[String],
    env: &dyn Fn(&str) -> Option<String>,
) {
    for name in INHERITED.into_iter().chain(NETWORK).chain(inherit.iter().map(String::as_str)) {
        if !child.contains_key(name)
            && let Some(value) = env(name)
        {
            child.insert(name.to_owned(), Secret(value));
        }
    }
}

/// Has the values of the environment hidden, except those of variables that are harmless or said to be. `place` is that of the
/// entry in the file, `written` the field `env` of the entry.
pub(super) fn hide_env(
    place: &str,
    env: &BTreeMap<String, Secret>,
    written: Option<&Value>,
    visible: &[String],
    secrets: &mut Secrets,
) {
    for (name, Secret(value)) in env {
        let text = written.and_then(|written| written.get(name)).and_then(Value::as_str);
        let source = if text == Some(value.as_str()) { Source::File } else { Source::Environment };
        if is_hidden(name, value, source, visible) {
            secrets.add_setting(value, &origin("variable", name, place));
        } else if NETWORK.contains(&name.as_str()) || !visible.contains(name) {
            secrets.add_from_address(value);
        }
    }
}

/// Returns true for the value of a variable that counts as a secret.
pub(super) fn is_hidden(name: &str, value: &str, source: Source, visible: &[String]) -> bool {
    let is_visible = is_public(name) || visible.iter().any(|visible| visible == name);
    !is_visible && ordinary::is_secret(name, value, source)
}
