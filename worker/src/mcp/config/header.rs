//! The headers of an HTTP server, and the problems of their values.

use std::str::FromStr;

use reqwest::header::{HeaderName, HeaderValue};

use super::expansion::EntryExpansion;
use super::fields::ObjectFields;
use super::ordinary::{self, ValueSource};
use super::origin::origin;

/// Headers of the protocol, which an entry must not set.
const RESERVED_HEADERS: [&str; 7] = [
    "accept",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
];

/// Names of authentication schemes. Hiding one would hide the word in most messages about credentials.
const SCHEMES: [&str; 5] = ["Basic", "Bearer", "ApiKey", "Api-Key", "Token"];

/// Reads the field `headers`. Values are hidden from now on, since each may be a credential, except ordinary settings and values
/// made of visible variables.
pub(super) fn headers(
    fields: &mut ObjectFields<'_>,
    expansion: &mut EntryExpansion<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let texts = fields.take_text_map("headers").unwrap_or_default();
    let mut headers = Vec::new();
    for (name, text) in &texts {
        let field = format!("headers.{name}");
        let (mut broken, mut odd) = (None, None);
        let (mut variables, mut is_empty, visible) = (Vec::new(), true, expansion.visible);
        let expanded = expansion.secret_with(&field, text, &mut |variable, value| {
            variables.push(variable.to_owned());
            is_empty &= value.is_empty();
            if value.contains(['\n', '\r']) {
                broken = Some((variable.to_owned(), value.trim_end().contains(['\n', '\r'])));
            } else if let Some(what) =
                oddity(value).filter(|_| !value.is_empty() || has_no_default(text, variable))
            {
                odd = Some(format!("the variable `{variable}` {what}"));
            }
        });
        let Some(value) = expanded else { continue };
        if let Some(odd) = odd {
            expansion.warn(format!("{field}: {odd}"));
        }
        let is_visible = !variables.is_empty() && variables.iter().all(|name| visible.contains(name));
        let source = if value.value() == text { ValueSource::File } else { ValueSource::Environment };
        // Without the value of a variable, as in `Bearer ${EMPTY}`, the rest is the text of the file.
        let has_credential = (variables.is_empty() || !is_empty) && !is_scheme(value.value());
        if has_credential && !is_visible && ordinary::is_secret(name, value.value(), source) {
            let origin = origin("header", name, expansion.place);
            expansion.secrets.add_setting(value.value(), &origin);
            // A server may quote a credential without its scheme.
            expansion.secrets.add_setting(value.value().rsplit(' ').next().unwrap_or_default(), &origin);
        }
        match header(name, value.value(), broken) {
            Ok(header) => headers.push(header),
            Err(why) => fields.refuse(&field, why),
        }
    }
    headers
}

/// Returns true for the name of an authentication scheme without a credential.
fn is_scheme(value: &str) -> bool {
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(value.trim()))
}

/// Checks one header. `broken` is the name of a variable whose value has a line break, and true if text follows the break.
fn header(
    name: &str,
    value: &str,
    broken: Option<(String, bool)>,
) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_str(name).map_err(|_| "is not the name of a header")?;
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err("belongs to the protocol and is set for you".to_owned());
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| match broken {
        Some((variable, true)) => {
            format!("the variable `{variable}` holds a line break, which no header may hold")
        }
        Some((variable, false)) => format!(
            "the variable `{variable}` ends with a line break, which no header may hold; set it without the break, in a \
             shell with `{variable}=\"$(cat FILE)\"`"
        ),
        None if value.contains(['\n', '\r']) => "holds a line break, which no header may hold".to_owned(),
        None => "has a control character, which no header may hold".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Describes a property of a variable's value that is unusual for a credential.
fn oddity(value: &str) -> Option<&'static str> {
    if value.is_empty() {
        return Some("is empty");
    }
    if value.trim().len() < value.len() {
        return Some("begins or ends with a space");
    }
    (!value.is_ascii()).then_some("holds a character beyond ASCII, which few servers accept")
}

fn has_no_default(text: &str, variable: &str) -> bool {
    text.contains(&format!("${{{variable}}}")) || text.contains(&format!("${{env:{variable}}}"))
}
