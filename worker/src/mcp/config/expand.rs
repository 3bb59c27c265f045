//! Expansion of `${VAR}` in the servers file.
//!
//! There are three forms, as in other hosts of MCP servers: `${VAR}`, `${VAR:-default}` (the default also replaces an empty
//! value, as in a shell), and `${env:VAR}`. `$${` is the text `${`, as in Docker Compose. Pure: the environment is a function.

use std::fmt;

/// A text of the servers file, and its value with all variables expanded.
///
/// `Display` and `Debug` show the text of the file, so a message can name a command without the value of `${TOKEN}`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct ExpandedText {
    written: String,
    value: String,
}

impl ExpandedText {
    /// Returns the expanded text.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for ExpandedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for ExpandedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.written)
    }
}

/// Reason why a text cannot be expanded.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ExpandError {
    /// The variable is not set. Without this error the literal text `${TOKEN}` would be sent as a credential.
    #[error("variable `{0}` is not set; set it, or write `${{{0}:-default}}`")]
    Unset(String),
    /// The value would be the input of a person, and a worker has no user.
    #[error(
        "`${{input:{0}}}` asks a person for a value, which is not supported; use an environment variable"
    )]
    Input(String),
    /// The variable exists in the configuration of editors only.
    #[error("`${{{0}}}` is known to editors only; write the path, or a variable such as `${{HOME}}`")]
    Editor(String),
    /// The default holds another variable, and ends at the brace of that one for other hosts.
    #[error(
        "the default of `{0}` holds another variable, which is not supported; write a text as the default, or `${{{0}}}` alone"
    )]
    Nested(String),
    /// The text has none of the three forms.
    #[error(
        "`{0}` is not one of `${{VAR}}`, `${{VAR:-default}}`, `${{env:VAR}}`; write `$${{` where the text `${{` itself is meant, \
         such as for a shell"
    )]
    Malformed(String),
}

/// Variables of VS Code and editors that derive from it.
const EDITOR_VARIABLES: [&str; 5] =
    ["workspaceFolder", "workspaceFolderBasename", "userHome", "pathSeparator", "/"];

/// Expands every variable in a text. `used` is called with the name and value of each variable that was looked up.
pub(crate) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    used: &mut dyn FnMut(&str, &str),
) -> Result<ExpandedText, Vec<ExpandError>> {
    let (mut value, mut problems, mut rest) = (String::new(), Vec::new(), text);
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            value.push_str(before);
            value.push_str("${");
            rest = after;
            continue;
        }
        value.push_str(before);
        let Some((inside, tail)) = after.split_once('}') else {
            problems.push(ExpandError::Malformed(format!("${{{after}")));
            rest = "";
            break;
        };
        match variable(inside, env, used) {
            Ok(found) => value.push_str(&found),
            Err(problem) => problems.push(problem),
        }
        rest = tail;
    }
    value.push_str(rest);
    if problems.is_empty() { Ok(ExpandedText { written: text.to_owned(), value }) } else { Err(problems) }
}

fn variable(
    inside: &str,
    env: &dyn Fn(&str) -> Option<String>,
    used: &mut dyn FnMut(&str, &str),
) -> Result<String, ExpandError> {
    if let Some(id) = inside.strip_prefix("input:") {
        return Err(ExpandError::Input(id.to_owned()));
    }
    if EDITOR_VARIABLES.contains(&inside) {
        return Err(ExpandError::Editor(inside.to_owned()));
    }
    let inside = inside.strip_prefix("env:").unwrap_or(inside);
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if !is_variable_name(name) {
        return Err(ExpandError::Malformed(format!("${{{inside}}}")));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(ExpandError::Nested(name.to_owned()));
    }
    let found = env(name);
    if let Some(found) = &found {
        used(name, found);
    }
    match (found, default) {
        (Some(found), None) => Ok(found),
        (Some(found), Some(_)) if !found.is_empty() => Ok(found),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

/// Returns true if a text is a valid name of an environment variable: letters, digits and `_`, not starting with a digit.
pub(crate) fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("s3cret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn three_forms_are_expanded_unless_they_are_escaped() {
        let cases = [
            ("plain $HOME $ {x}", "plain $HOME $ {x}"),
            ("Bearer ${TOKEN}", "Bearer s3cret"),
            ("${env:TOKEN}!", "s3cret!"),
            ("${MISSING:-http://localhost:1}/mcp", "http://localhost:1/mcp"),
            ("${MISSING:-}", ""),
            ("${EMPTY}|${EMPTY:-full}", "|full"),
            ("${TOKEN}${TOKEN:-x}", "s3crets3cret"),
            ("$${TOKEN} ${TOKEN} $${TOKEN%.*} $${", "${TOKEN} s3cret ${TOKEN%.*} ${"),
            ("$$${TOKEN} $$ ${MISSING:-$}${TOKEN}", "$${TOKEN} $$ $s3cret"),
        ];
        for (text, value) in cases {
            let expanded = expand(text, &env, &mut |_, _| {});
            assert_eq!(expanded.as_ref().map(ExpandedText::value), Ok(value), "{text}");
        }
    }

    #[test]
    fn all_variables_that_cannot_be_expanded_are_reported() {
        let problems = expand("${A} ${input:key} ${TOKEN} ${9} ${B:-${C}} ${open", &env, &mut |_, _| {});
        let texts: Vec<String> = problems.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "variable `A` is not set; set it, or write `${A:-default}`",
                "`${input:key}` asks a person for a value, which is not supported; use an environment variable",
                "`${9}` is not one of `${VAR}`, `${VAR:-default}`, `${env:VAR}`; write `$${` where the text `${` itself is \
                 meant, such as for a shell",
                "the default of `B` holds another variable, which is not supported; write a text as the default, or `${B}` \
                 alone",
                "`${open` is not one of `${VAR}`, `${VAR:-default}`, `${env:VAR}`; write `$${` where the text `${` itself is \
                 meant, such as for a shell",
            ]
        );
    }

    #[test]
    fn expanded_text_is_shown_as_written() {
        let expanded = expand("--token=${TOKEN}", &env, &mut |_, _| {}).expect("set");
        assert_eq!(format!("{expanded} {expanded:?}"), "--token=${TOKEN} \"--token=${TOKEN}\"");
    }
}
