//! Environment variables of settings, and those that look like them.

use std::collections::BTreeMap;

use super::key::{PREFIX, SettingKey};
use crate::suggest;

/// Variables that are not settings of a cluster. They are read together with the options of the same meaning.
const OTHER_VARIABLES: [&str; 2] = ["LONGSHORE_CONFIG", "LONGSHORE_DATA"];

/// Returns the value of a variable that is not empty. Orchestrators set missing variables to an empty text.
pub(super) fn set<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
}

/// Returns problems with variables whose names begin like settings and are not settings.
pub(super) fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut known: Vec<String> = OTHER_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    for key in SettingKey::ALL {
        for variable in key.variables() {
            known.extend(key.file_variable(&variable));
            known.push(variable);
        }
    }
    known.sort();
    let names: Vec<&str> = known.iter().map(String::as_str).filter(|name| name.starts_with(PREFIX)).collect();
    let ours =
        environment.iter().filter(|(name, value)| name.starts_with(PREFIX) && !is_service_link(name, value));
    let unknown = ours.filter(|(name, _)| !names.contains(&name.as_str()));
    unknown
        .map(|(name, _)| format!("{name} is not the variable of a setting; {}", help(name, &names)))
        .collect()
}

/// Returns the variables that end as this one does, which lacks the table of its setting; otherwise the closest ones.
fn help(name: &str, names: &[&str]) -> String {
    let end = name.strip_prefix(PREFIX).map(|end| format!("__{end}")).unwrap_or_default();
    match names.iter().find(|known| known.ends_with(&end)) {
        Some(known) => format!("did you mean `{known}`?"),
        None => suggest::nearest(name, names),
    }
}

/// Returns true for variables in which Kubernetes describes services called `longshore` or `longshore-…`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, and `…_PORT` or `…_PORT_4222_TCP`, whose value is an address.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_port = name.split_once("_PORT_").map(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || of_port == Some(true)
        || name.ends_with("_PORT") && is_address
}
