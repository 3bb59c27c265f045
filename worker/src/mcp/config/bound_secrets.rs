//! The secrets that runs may name: `longshore.secrets` of the servers file.
//!
//! A run names a secret as `secret:CARD_TOKEN`, and its value is filled into the arguments directly before the call. Each secret is
//! bound to the servers that may receive it, and optionally to tools and namespaces. A user who may start runs may name any
//! secret for any tool, so only the binding limits its use.

use std::borrow::Cow;
use std::collections::BTreeMap;

use longshore_proto::{Fault, FaultClass, SecretName, SecretPlace, ServerName, ToolName};
use serde_json::{Map, Value};

pub use super::binding::SecretRecipient;
use super::binding::{self, SecretBinding};
use super::expand::{ExpandError, expand};
use super::fields::ObjectFields;
use super::secret::{SHORTEST_DECLARED_BYTES, SecretValue, Secrets};

/// Path of the secrets in the servers file.
pub(super) const PLACE: &str = "longshore.secrets";

/// The secrets that runs may name, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct BoundSecrets(BTreeMap<SecretName, BoundSecret>);

/// A secret, and the calls that may receive it.
#[derive(Clone, Debug)]
struct BoundSecret {
    value: SecretValue,
    binding: SecretBinding,
}

/// Reads the `longshore` object of the file. Problems never repeat a value, or a text that may have one.
pub(super) fn read(
    own: Value,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> BoundSecrets {
    let mut bound_secrets = BoundSecrets::default();
    let Some(mut fields) = ObjectFields::of("longshore".to_owned(), own, problems) else {
        return bound_secrets;
    };
    let secrets = fields.take("secrets");
    for unknown in fields.rest() {
        fields.refuse(&unknown, "no such setting; there is `secrets`");
    }
    let secrets = match secrets {
        None => return bound_secrets,
        Some(Value::Object(secrets)) => secrets,
        Some(_) => {
            problems.push(format!("{PLACE}: must be an object of secrets"));
            return bound_secrets;
        }
    };
    for (name, entry) in secrets {
        let name: SecretName = match name.parse() {
            Ok(name) => name,
            Err(error) => {
                problems.push(format!("{PLACE}: {error}"));
                continue;
            }
        };
        if let Some(secret) = secret(&name, entry, env, problems) {
            bound_secrets.0.insert(name, secret);
        }
    }
    bound_secrets
}

fn secret(
    name: &SecretName,
    entry: Value,
    env: &dyn Fn(&str) -> Option<String>,
    problems: &mut Vec<String>,
) -> Option<BoundSecret> {
    if entry.is_string() {
        problems.push(format!(
            "{PLACE}.{name}: must say which servers may receive it: \
             {{\"value\": \"${{{name}}}\", \"servers\": [\"<server>\"]}}"
        ));
        return None;
    }
    let mut fields = ObjectFields::of(format!("{PLACE}.{name}"), entry, problems)?;
    let text = fields.take_text("value");
    if text.is_none() {
        fields.refuse("value", "is missing; write a variable, such as `${CARD_TOKEN}`");
    }
    let binding = binding::read(&mut fields);
    for unknown in fields.rest() {
        fields.refuse(&unknown, "no such setting; there are value, servers, tools, namespaces");
    }
    match value(&text?, env) {
        Ok(value) => Some(BoundSecret { value: SecretValue(value), binding: binding? }),
        Err(why) => {
            problems.extend(why.iter().map(|why| format!("{PLACE}.{name}: {why}")));
            None
        }
    }
}

fn value(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, Vec<String>> {
    let expanded = expand(text, env, &mut |_, _| {}).map_err(|errors| {
        let said = |error: &ExpandError| match error {
            ExpandError::Malformed(_) => {
                "has a variable that is not one of `${VAR}`, `${VAR:-default}`, `${env:VAR}`; write `$${` where the text `${` \
                 itself is meant"
                    .to_owned()
            }
            ExpandError::Unset(_)
            | ExpandError::Input(_)
            | ExpandError::Editor(_)
            | ExpandError::Nested(_) => error.to_string(),
        };
        errors.iter().map(said).collect::<Vec<_>>()
    })?;
    match expanded.value() {
        "" => Err(vec!["is empty, and an empty secret protects nothing".to_owned()]),
        value => Ok(value.to_owned()),
    }
}

impl BoundSecrets {
    /// Returns the names of the secrets.
    pub(crate) fn names(&self) -> impl Iterator<Item = &SecretName> {
        self.0.keys()
    }

    /// Returns true if a secret exists and is bound to a call.
    pub(super) fn gives(&self, name: &SecretName, to: &SecretRecipient<'_>) -> bool {
        self.find(name, to).is_some()
    }

    /// Returns the secrets that calls of a tool may receive in at least one namespace.
    pub(super) fn bound_to<'v>(
        &'v self,
        server: &'v ServerName,
        tool: &'v ToolName,
    ) -> impl Iterator<Item = &'v SecretName> {
        let bound = self.0.iter().filter(move |(_, secret)| secret.binding.allows_tool(server, tool));
        bound.map(|(name, _)| name)
    }

    /// Returns warnings about secrets that cannot be hidden.
    pub(super) fn warnings(&self) -> Vec<String> {
        let short = self.0.iter().filter(|(_, secret)| secret.value.0.len() < SHORTEST_DECLARED_BYTES);
        let said = short.map(|(name, _)| {
            format!(
                "{PLACE}.{name} has less than {SHORTEST_DECLARED_BYTES} bytes: it is too short to be hidden in answers of \
                 tools"
            )
        });
        said.collect()
    }

    /// Adds all values to those that are hidden.
    pub(super) fn add_to(&self, secrets: &mut Secrets) {
        self.0.values().for_each(|secret| secrets.add_declared(&secret.value.0));
    }

    /// Returns the arguments with the values of the secrets filled in.
    ///
    /// # Errors
    /// A secret does not exist, or is not bound to this call. The fault is the same for both, so that names cannot be found by
    /// trying.
    pub(crate) fn fill<'a>(
        &self,
        to: &SecretRecipient<'_>,
        arguments: &'a Map<String, Value>,
        places: &[SecretPlace],
    ) -> Result<Cow<'a, Map<String, Value>>, Fault> {
        if places.is_empty() {
            return Ok(Cow::Borrowed(arguments));
        }
        let mut filled = Value::Object(arguments.clone());
        // From the last to the first, because a value moves only the text after it.
        for place in places.iter().rev() {
            let secret = self.find(&place.name, to).ok_or_else(|| not_given(&place.name, to))?;
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
        }
        match filled {
            Value::Object(arguments) => Ok(Cow::Owned(arguments)),
            _ => Err(Fault::new(FaultClass::Internal, "the arguments are not an object")),
        }
    }

    fn find(&self, name: &SecretName, to: &SecretRecipient<'_>) -> Option<&SecretValue> {
        let secret = self.0.get(name).filter(|secret| secret.binding.allows(to))?;
        Some(&secret.value)
    }
}

fn not_given(name: &SecretName, to: &SecretRecipient<'_>) -> Fault {
    let problem = format!(
        "this worker gives no secret `{name}` to {to}: add it under `{PLACE}` of the worker's servers file, bound to that \
         server, tool and namespace"
    );
    Fault::new(FaultClass::Unauthorised, problem)
}
