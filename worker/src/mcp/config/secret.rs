//! Values that must not be seen.
//!
//! Credentials reach a server through `${VAR}`, `env` and `headers`. [`Secret`] carries one without printing it;
//! [`Secrets`] takes them out of what a server itself says, before that becomes a log line or a fault.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Number, Value};

/// A value that prints as `***`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Shorter values are not hidden: they are ports and switches, and would blot out half of every message.
const SHORTEST_SECRET_CHARS: usize = 6;

/// The same for what was declared as a secret by name, in bytes: of so few, most letters of a text would be gone, and
/// counting the asterisks would tell what the secret is.
pub(super) const SHORTEST_DECLARED_BYTES: usize = 4;

/// All values of one server's entry that must not be seen, the longest first.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// One more value to hide.
    pub(crate) fn add(&mut self, value: &str) {
        if value.chars().count() >= SHORTEST_SECRET_CHARS {
            self.keep(value);
        }
    }

    fn keep(&mut self, value: &str) {
        if self.0.iter().any(|known| known == value) {
            return;
        }
        self.0.push(value.to_owned());
        // A secret that contains another one must go first, or its remainder would stay.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// One more value that was declared as a secret: it is hidden also where it stands within JSON text, and each line of
    /// it by itself, because logs are read by lines.
    pub(super) fn add_declared(&mut self, value: &str) {
        if value.len() < SHORTEST_DECLARED_BYTES {
            return;
        }
        self.keep(value);
        let json = Value::from(value).to_string();
        let inside = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
        self.keep(inside);
        self.keep(&ascii(inside));
        value.lines().map(str::trim).filter(|line| line.len() < value.len()).for_each(|line| self.add(line));
    }

    /// Whether there is nothing to hide.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value without any of the values in its texts, keys and numbers.
    pub(crate) fn hide_in(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide(&text).into_owned()),
            Value::Array(items) => items.into_iter().map(|item| self.hide_in(item)).collect(),
            Value::Object(entries) => {
                let entries = entries.into_iter();
                entries.map(|(key, item)| (self.hide(&key).into_owned(), self.hide_in(item))).collect()
            }
            Value::Number(number) => match self.hide(&number.to_string()) {
                Cow::Borrowed(_) if !self.0.iter().any(|secret| is_long_number(secret, &number)) => {
                    number.into()
                }
                _ => "***".into(),
            },
            Value::Null | Value::Bool(_) => value,
        }
    }

    /// The text without any of the values.
    pub(crate) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.as_str()) {
                Cow::Owned(text.replace(secret.as_str(), "***"))
            } else {
                text
            }
        })
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden", self.0.len())
    }
}

/// Text within JSON with everything beyond ASCII escaped, as many libraries write it.
fn ascii(inside: &str) -> String {
    let mut text = String::new();
    for c in inside.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

/// Whether a number is a secret of so many digits that JSON has rounded it: most of them would still be there.
fn is_long_number(secret: &str, number: &Number) -> bool {
    number.is_f64() && secret.parse::<f64>().is_ok_and(|secret| number.as_f64() == Some(secret))
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
    fn prints_nothing_of_itself() {
        let mut secrets = Secrets::default();
        secrets.add("token-1");
        assert_eq!(format!("{:?} {:?}", secrets, Secret("token-1".into())), "1 hidden ***");
    }
}
