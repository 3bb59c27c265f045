//! The secrets that runs may name: `longshore.secrets` of the servers file.
//!
//! A run names one, as `secret:CARD_TOKEN`; its value is put into the arguments here, right before the call, and taken
//! out of whatever comes back of that call. Nobody else ever sees it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use longshore_proto::{Fault, FaultClass, SecretName, SecretPlace, closest};
use serde_json::{Map, Value};

use super::super::call::{Answer, CallFault};
use super::expand::{ExpandError, expand};
use super::fields::Fields;
use super::secret::{SHORTEST_DECLARED_BYTES, Secret, Secrets};

/// Where the secrets stand in the servers file.
const PLACE: &str = "longshore.secrets";

/// Secrets that are named when one is not found.
const MOST_NAMED: usize = 20;

/// Secrets by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vault(BTreeMap<SecretName, Secret>);

/// Reads the `longshore` object of the file. No problem repeats a value, or a text that may hold one.
pub(super) fn read(own: Value, env: &dyn Fn(&str) -> Option<String>, problems: &mut Vec<String>) -> Vault {
    let mut vault = Vault::default();
    let Some(mut fields) = Fields::of("longshore".to_owned(), own, problems) else { return vault };
    let texts = fields.take_text_map("secrets").unwrap_or_default();
    for unknown in fields.rest() {
        fields.refuse(&unknown, "no such setting; there is `secrets`");
    }
    for (name, text) in texts {
        let name: SecretName = match name.parse() {
            Ok(name) => name,
            Err(error) => {
                problems.push(format!("{PLACE}: {error}"));
                continue;
            }
        };
        match value(&text, env) {
            Ok(value) => drop(vault.0.insert(name, Secret(value))),
            Err(why) => problems.extend(why.iter().map(|why| format!("{PLACE}.{name}: {why}"))),
        }
    }
    vault
}

fn value(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<String>> {
    let expanded = expand(text, env, &mut |_, _| {}).map_err(|errors| {
        let said = |error: &ExpandError| match error {
            ExpandError::Malformed(_) => {
                "holds what is none of `${VAR}`, `${VAR:-default}`, `${env:VAR}`".to_owned()
            }
            ExpandError::Unset(_) | ExpandError::Input(_) => error.to_string(),
        };
        errors.iter().map(said).collect::<Vec<_>>()
    })?;
    match expanded.value() {
        "" => Err(vec!["is empty, and an empty secret keeps nobody out".to_owned()]),
        value => Ok(value.to_owned()),
    }
}

impl Vault {
    /// What there is, by name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.0.keys()
    }

    /// What is odd about them.
    pub(super) fn warnings(&self) -> Vec<String> {
        let short = self.0.iter().filter(|(_, secret)| secret.0.len() < SHORTEST_DECLARED_BYTES);
        let said = short.map(|(name, _)| {
            format!(
                "{PLACE}.{name} has less than {SHORTEST_DECLARED_BYTES} bytes: it is too short to be taken out of \
                 what tools answer"
            )
        });
        said.collect()
    }

    /// Has them all hidden.
    pub(super) fn add_to(&self, secrets: &mut Secrets) {
        self.0.values().for_each(|secret| secrets.add_declared(&secret.0));
    }

    /// The arguments with the secrets in their places.
    pub(crate) fn fill<'a>(
        &self,
        arguments: &'a Map<String, Value>,
        places: &[SecretPlace],
    ) -> Result<Filled<'a>, Fault> {
        let mut hidden = Secrets::default();
        if places.is_empty() {
            return Ok(Filled { arguments: Cow::Borrowed(arguments), hidden });
        }
        let mut filled = Value::Object(arguments.clone());
        // From the last to the first: what is put in moves only what stands behind it.
        for place in places.iter().rev() {
            let secret = self.0.get(&place.name).ok_or_else(|| self.unknown(&place.name))?;
            let reference = place.name.reference();
            let end = place.at.saturating_add(reference.len());
            match filled.pointer_mut(&place.pointer) {
                Some(Value::String(text)) if text.get(place.at..end) == Some(reference.as_str()) => {
                    text.replace_range(place.at..end, &secret.0);
                }
                _ => {
                    let problem = format!("the arguments have no place for a secret at `{}`", place.pointer);
                    return Err(Fault::new(FaultClass::Internal, problem));
                }
            }
            hidden.add_declared(&secret.0);
        }
        match filled {
            Value::Object(arguments) => Ok(Filled { arguments: Cow::Owned(arguments), hidden }),
            _ => Err(Fault::new(FaultClass::Internal, "the arguments are not an object")),
        }
    }

    fn unknown(&self, name: &SecretName) -> Fault {
        let names = || self.names().map(SecretName::as_str);
        let known: Vec<_> = names().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
        let more = if names().count() > known.len() { ", ..." } else { "" };
        let has = if known.is_empty() { "none".to_owned() } else { format!("{}{more}", known.join(", ")) };
        let near = closest(name.as_str(), names()).map(|near| format!("; did you mean `{near}`?"));
        let problem = format!(
            "this worker has no secret `{name}` under `{PLACE}` of its servers file; it has {has}{}",
            near.unwrap_or_default()
        );
        Fault::new(FaultClass::Unauthorised, problem)
    }
}

/// Arguments with secrets in them, for one call. Never printed.
pub(crate) struct Filled<'a> {
    arguments: Cow<'a, Map<String, Value>>,
    hidden: Secrets,
}

impl Filled<'_> {
    /// What to send.
    pub(crate) fn arguments(&self) -> &Map<String, Value> {
        &self.arguments
    }

    /// What came of the call, without the secrets that went into it.
    pub(crate) fn masked(&self, result: Result<Answer, CallFault>) -> Result<Answer, CallFault> {
        if self.hidden.is_empty() {
            return result;
        }
        let hide = |text: String| self.hidden.hide(&text).into_owned();
        match result {
            Ok(Answer { value, content, is_error, error_text }) => Ok(Answer {
                value: self.hidden.hide_in(value),
                content: self.hidden.hide_in(content),
                is_error,
                error_text: hide(error_text),
            }),
            Err(CallFault { fault, sent }) => {
                Err(CallFault { fault: Fault { message: hide(fault.message), ..fault }, sent })
            }
        }
    }
}
