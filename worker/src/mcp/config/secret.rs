//! Values that must not be seen, and a text or a JSON value without them.
//!
//! [`Secret`] carries a value without printing it. [`Secrets`] holds all values that a process must keep to itself, in
//! every [form](super::forms) in which a tool may repeat them, and replaces them by `***` in whatever servers say: answers,
//! faults, lines of standard error.

mod cut;
mod find;
mod joined;
mod lines;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json::{Number, Value};

use super::super::call::Answer;
use super::forms::{self, Forms};
use find::Finder;
pub(crate) use lines::LineMask;

/// A value that prints as `***`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The text in the place of a secret.
const MASK: &str = "***";

/// Shorter values of variables and headers are not hidden: they are ports and switches, and would blot out half of every
/// message.
const SHORTEST_SECRET_CHARS: usize = 6;

/// The same for declared secrets, in bytes: of so few, most letters of a text would be gone, and counting the asterisks
/// would tell what the secret is.
pub(super) const SHORTEST_DECLARED_BYTES: usize = 4;

/// The values that a process must not show.
///
/// Clones share the search automaton, which is built when it is first needed.
#[derive(Clone, Default)]
pub struct Secrets {
    /// Every form of every value.
    forms: Forms,
    finder: Arc<OnceLock<Finder>>,
}

impl Secrets {
    /// Adds the value of a variable or a header, unless it has less than six characters.
    pub fn add(&mut self, value: &str) {
        if value.chars().count() >= SHORTEST_SECRET_CHARS {
            self.add_forms(value);
        }
        self.add_lines(value);
    }

    /// Adds a value that was declared as a secret, such as a password, unless it has less than four bytes.
    pub fn add_declared(&mut self, value: &str) {
        if value.len() >= SHORTEST_DECLARED_BYTES {
            self.add_forms(value);
        }
        self.add_lines(value);
    }

    /// Adds all values of another set.
    pub fn merge(&mut self, other: &Self) {
        self.forms.merge(other.forms.clone());
        self.finder = Arc::default();
    }

    /// Adds each line of a value by itself: logs and error messages are cut into lines.
    fn add_lines(&mut self, value: &str) {
        let lines = value.lines().map(str::trim).filter(|line| line.len() < value.len());
        for line in lines.filter(|line| line.chars().count() >= SHORTEST_SECRET_CHARS) {
            self.add_forms(line);
        }
    }

    fn add_forms(&mut self, value: &str) {
        self.forms.merge(forms::of(value));
        self.finder = Arc::default();
    }

    /// Returns the text without any of the values.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.find(text) {
            parts if parts.is_empty() => Cow::Borrowed(text),
            parts => Cow::Owned(without(text, &parts)),
        }
    }

    /// Returns the parts of a text that hold values, in order. No two of them overlap.
    fn find(&self, text: &str) -> Vec<Range<usize>> {
        if self.forms.is_empty() {
            return Vec::new();
        }
        let Forms { texts, base64 } = &self.forms;
        self.finder.get_or_init(|| Finder::new(texts, base64)).find(text)
    }

    /// Returns the value without any of the values in its texts, keys and numbers.
    pub(crate) fn hide_in(&self, value: Value) -> Value {
        match value {
            _ if self.forms.is_empty() => value,
            Value::String(text) => match self.hide(&text) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(hidden) => Value::String(hidden),
            },
            Value::Array(items) => items.into_iter().map(|item| self.hide_in(item)).collect(),
            Value::Object(entries) => {
                let entries = entries.into_iter();
                entries.map(|(key, item)| (self.hide(&key).into_owned(), self.hide_in(item))).collect()
            }
            Value::Number(number) if self.is_secret_number(&number) => MASK.into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    /// Returns the answer of a tool without any of the values.
    pub(crate) fn hide_in_answer(&self, answer: Answer) -> Answer {
        let Answer { value, content, meta, is_error, error_text } = answer;
        Answer {
            value: self.hide_in(value),
            content: self.hide_in(content),
            meta: self.hide_in(meta),
            is_error,
            error_text: self.hide(&error_text).into_owned(),
        }
    }

    fn is_secret_number(&self, number: &Number) -> bool {
        let is_hidden = matches!(self.hide(&number.to_string()), Cow::Owned(_));
        is_hidden || (number.is_f64() && self.forms.texts.iter().any(|form| is_rounded(form, number)))
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden", self.forms.iter().count())
    }
}

/// Returns a text with `***` in place of each of these parts.
fn without(text: &str, parts: &[Range<usize>]) -> String {
    let (mut hidden, mut end) = (String::with_capacity(text.len()), 0);
    for part in parts {
        hidden.push_str(text.get(end..part.start).unwrap_or_default());
        hidden.push_str(MASK);
        end = part.end;
    }
    hidden.push_str(text.get(end..).unwrap_or_default());
    hidden
}

/// Whether a number is a secret of so many digits that JSON has rounded it: most of the digits would still be there.
fn is_rounded(form: &str, number: &Number) -> bool {
    form.parse::<f64>().is_ok_and(|secret| number.as_f64() == Some(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn takes_declared_secrets_out_of_values() {
        let mut secrets = Secrets::default();
        for secret in [
            "pin4",
            "abc",
            "say \"é\"",
            "4111111111111111",
            "123456789012345678901234",
            "one line\nsecond line",
        ] {
            secrets.add_declared(secret);
        }
        let cases = [
            (json!({"pin4": ["x pin4 y", null, true, 7]}), json!({"***": ["x *** y", null, true, 7]})),
            (json!("abc is short"), json!("abc is short")),
            (json!(r#"{"a":"say \"é\""}"#), json!(r#"{"a":"***"}"#)),
            (json!(r#"{"a":"say \"\u00e9\""}"#), json!(r#"{"a":"***"}"#)),
            (json!(4_111_111_111_111_111_u64), json!("***")),
            (json!(123_456_789_012_345_678_901_234.0), json!("***")),
            (json!("error: second line"), json!("error: ***")),
            (json!(7.5), json!(7.5)),
        ];
        for (value, wanted) in cases {
            assert_eq!(secrets.hide_in(value.clone()), wanted, "{value}");
        }
    }

    #[test]
    fn takes_every_secret_out_of_a_text() {
        let mut secrets = Secrets::default();
        for secret in ["token-1", "token-1-and-more", "8080"] {
            secrets.add(secret);
        }
        assert_eq!(secrets.hide("token-1-and-more, token-1; port 8080"), "***, ***; port 8080");
    }

    #[test]
    fn values_that_are_added_later_are_found_as_well() {
        let mut secrets = Secrets::default();
        secrets.add("token-1");
        assert_eq!(secrets.hide("token-1 token-2"), "*** token-2");
        let mut more = Secrets::default();
        more.add("token-2");
        secrets.merge(&more);
        assert_eq!(secrets.hide("token-1 token-2"), "*** ***");
    }

    #[test]
    fn prints_nothing_of_itself() {
        let mut secrets = Secrets::default();
        secrets.add("token-1");
        let shown = format!("{:?} {:?}", secrets, Secret("token-1".into()));
        assert!(shown.ends_with(" hidden ***") && !shown.contains("token"), "{shown}");
    }
}
