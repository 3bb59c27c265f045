//! Secret values, and their replacement by `***` in texts and JSON values.
//!
//! [`SecretValue`] is a value that is never printed. [`Secrets`] has all values that a process must hide, in every
//! [form](super::forms) in which a tool may repeat them, and replaces them in answers, faults and lines of standard error.

mod cut;
mod find;
mod joined;
mod lines;
mod token;

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json::{Number, Value};

use super::forms::{self, ValueForms};
use super::literal;
use find::{FoundSecrets, SecretFinder};
pub(crate) use lines::LineMask;
use token::is_whole_token;

/// A value that prints as `***`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct SecretValue(pub(crate) String);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// The text that replaces a secret.
const MASK: &str = "***";

/// The shortest value of a variable or a header that is hidden. Shorter ones are ports and switches, and hiding them would make
/// most messages unreadable.
const SHORTEST_SECRET_CHARS: usize = 6;

/// The shortest declared secret that is hidden. A shorter one is in most texts by accident, and the number of asterisks would
/// reveal it.
pub(super) const SHORTEST_DECLARED_BYTES: usize = 4;

/// The minimum length of a value of a variable or a header that is hidden within a longer run of letters and digits. A shorter one
/// may be a common word that is a part of another word, as `orders` is of `reorders`.
const SHORTEST_ANYWHERE_CHARS: usize = 16;

/// The values that a process must hide.
///
/// Clones share the search automaton, which is built when it is first needed.
#[derive(Clone, Default)]
pub struct Secrets {
    /// All forms of all values, except base64.
    texts: BTreeMap<String, FormUse>,
    /// Forms in base64.
    base64: BTreeMap<String, FormUse>,
    finder: Arc<OnceLock<SecretFinder>>,
}

/// The properties of a form: where it is hidden, and the origins of its values.
#[derive(Clone, Debug, Default)]
struct FormUse {
    /// The form is hidden only as a whole token, and not within a longer run of letters and digits.
    is_whole_token: bool,
    /// Descriptions of the variables and headers with such a value.
    origins: BTreeSet<Arc<str>>,
}

impl FormUse {
    /// Adds another value with the same form.
    fn merge(&mut self, other: Self) {
        self.is_whole_token &= other.is_whole_token;
        self.origins.extend(other.origins);
    }
}

impl Secrets {
    /// Adds a value that looks like a credential, if it has at least six characters.
    pub fn add(&mut self, value: &str) {
        if value.chars().count() >= SHORTEST_SECRET_CHARS {
            self.add_forms(value, &FormUse::default());
        }
        self.add_lines(value, &FormUse::default());
    }

    /// Adds the value of a variable or a header, if it has at least six characters. `origin` describes the variable or header and its
    /// server.
    pub(super) fn add_setting(&mut self, value: &str, origin: &str) {
        let of = |text: &str| FormUse {
            is_whole_token: text.chars().count() < SHORTEST_ANYWHERE_CHARS,
            origins: [Arc::from(origin)].into(),
        };
        if value.chars().count() >= SHORTEST_SECRET_CHARS {
            self.add_forms(value, &of(value));
        }
        self.add_lines(value, &of(value));
    }

    /// Adds a value that was declared as a secret, such as a password, if it has at least four bytes.
    pub fn add_declared(&mut self, value: &str) {
        if value.len() >= SHORTEST_DECLARED_BYTES {
            self.add_forms(value, &FormUse::default());
        }
        self.add_lines(value, &FormUse::default());
    }

    /// Adds the credentials in the arguments of a command, which are recognised by their names.
    pub fn add_from_arguments<'a>(&mut self, args: impl IntoIterator<Item = &'a str>) {
        literal::in_arguments(args).iter().for_each(|value| self.add(value));
    }

    /// Adds the credentials in an address.
    pub(super) fn add_from_address(&mut self, address: &str) {
        literal::in_address(address).iter().for_each(|value| self.add(value));
    }

    /// Returns the descriptions of the variables and headers whose values are hidden.
    pub(super) fn origins(&self) -> BTreeSet<Arc<str>> {
        self.texts.values().flat_map(|form| form.origins.iter().cloned()).collect()
    }

    /// Adds all values of another set.
    pub fn merge(&mut self, other: &Self) {
        merge(&mut self.texts, other.texts.clone());
        merge(&mut self.base64, other.base64.clone());
        self.finder = Arc::default();
    }

    /// Stops hiding the short values of variables and headers that occur in a text which the user gave, such as the path of a
    /// data directory: messages repeat it, and commands in them are to be copied. Declared secrets stay hidden.
    pub fn show_settings_in(&mut self, text: &str) {
        let is_in =
            |form: &str| text.match_indices(form).any(|(at, _)| is_whole_token(text, &(at..at + form.len())));
        self.texts.retain(|form, of| !(of.is_whole_token && is_in(form)));
        self.finder = Arc::default();
    }

    /// Adds each line of a value separately, because logs and error messages are split into lines.
    fn add_lines(&mut self, value: &str, of: &FormUse) {
        let lines = value.lines().map(str::trim).filter(|line| line.len() < value.len());
        for line in lines.filter(|line| line.chars().count() >= SHORTEST_SECRET_CHARS) {
            self.add_forms(line, of);
        }
    }

    /// Adds the forms in which a value may occur in a text; see `forms`.
    fn add_forms(&mut self, value: &str, of: &FormUse) {
        let ValueForms { texts, base64 } = forms::of(value);
        merge(&mut self.texts, texts.into_iter().map(|form| (form, of.clone())));
        // Within base64 a form is always next to letters and digits.
        let anywhere = FormUse { is_whole_token: false, ..of.clone() };
        merge(&mut self.base64, base64.into_iter().map(|form| (form, anywhere.clone())));
        self.finder = Arc::default();
    }

    /// Returns the text with all values hidden.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.hide_noting(text, &mut BTreeSet::new())
    }

    /// Hides values like [`Secrets::hide`], and adds the origins of the found values to `noted`.
    pub(crate) fn hide_noting<'a>(&self, text: &'a str, noted: &mut BTreeSet<Arc<str>>) -> Cow<'a, str> {
        let FoundSecrets { parts, origins } = self.find(text);
        if parts.is_empty() {
            return Cow::Borrowed(text);
        }
        noted.extend(origins);
        Cow::Owned(without(text, &parts))
    }

    fn find(&self, text: &str) -> FoundSecrets {
        if self.texts.is_empty() && self.base64.is_empty() {
            return FoundSecrets::default();
        }
        self.finder.get_or_init(|| SecretFinder::new(&self.texts, &self.base64)).find(text)
    }

    /// Returns the values in all forms in which they are searched.
    fn forms(&self) -> impl Iterator<Item = &String> {
        self.texts.keys().chain(self.base64.keys())
    }

    /// Returns a JSON value with all values hidden in its texts, keys and numbers.
    pub(crate) fn hide_in(&self, value: Value) -> Value {
        self.hide_in_noting(value, &mut BTreeSet::new())
    }

    /// Hides values like [`Secrets::hide_in`], and adds the origins of the found values to `noted`.
    pub(crate) fn hide_in_noting(&self, value: Value, noted: &mut BTreeSet<Arc<str>>) -> Value {
        match value {
            Value::String(text) => match self.hide_noting(&text, noted) {
                Cow::Borrowed(_) => Value::String(text),
                Cow::Owned(hidden) => Value::String(hidden),
            },
            Value::Array(items) => items.into_iter().map(|item| self.hide_in_noting(item, noted)).collect(),
            Value::Object(entries) => {
                let mut hide = |(key, item): (String, Value)| {
                    (self.hide_noting(&key, noted).into_owned(), self.hide_in_noting(item, noted))
                };
                entries.into_iter().map(&mut hide).collect()
            }
            Value::Number(number) if self.is_secret_number(&number, noted) => MASK.into(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value,
        }
    }

    fn is_secret_number(&self, number: &Number, noted: &mut BTreeSet<Arc<str>>) -> bool {
        if matches!(self.hide_noting(&number.to_string(), noted), Cow::Owned(_)) {
            return true;
        }
        let rounded = self.texts.iter().find(|(form, _)| number.is_f64() && is_rounded(form, number));
        noted.extend(rounded.into_iter().flat_map(|(_, of)| of.origins.iter().cloned()));
        rounded.is_some()
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} hidden", self.forms().count())
    }
}

fn merge(forms: &mut BTreeMap<String, FormUse>, more: impl IntoIterator<Item = (String, FormUse)>) {
    for (form, of) in more {
        match forms.entry(form) {
            Entry::Vacant(entry) => drop(entry.insert(of)),
            Entry::Occupied(mut entry) => entry.get_mut().merge(of),
        }
    }
}

/// Replaces these parts of a text by `***`.
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

/// Returns true if a number is a secret whose many digits were rounded in JSON: most of its digits would still be visible.
fn is_rounded(form: &str, number: &Number) -> bool {
    form.parse::<f64>().is_ok_and(|secret| number.as_f64() == Some(secret))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn declared_secrets_are_hidden_in_json_values() {
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
    fn every_secret_is_hidden_in_a_text() {
        let mut secrets = Secrets::default();
        for secret in ["token-1", "token-1-and-more", "8080"] {
            secrets.add(secret);
        }
        assert_eq!(secrets.hide("token-1-and-more, token-1; port 8080"), "***, ***; port 8080");
    }

    #[test]
    fn short_values_are_hidden_as_whole_tokens_and_their_origins_noted() {
        let mut secrets = Secrets::default();
        secrets.add_setting("orders", "variable `TABLE` of server `shop`");
        secrets.add_setting("orders", "variable `QUEUE` of server `mail`");
        secrets.add_setting("0123456789abcdef", "header `X-Id` of server `api`");
        let hidden = |text: &str| {
            let mut noted = BTreeSet::new();
            let text = secrets.hide_noting(text, &mut noted).into_owned();
            (text, noted.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let text = "reorders, orders2 and preorders";
        assert_eq!(hidden(text), (text.to_owned(), Vec::new()));
        let of_orders = ["variable `QUEUE` of server `mail`", "variable `TABLE` of server `shop`"];
        assert_eq!(hidden("db.orders;"), ("db.***;".to_owned(), of_orders.map(String::from).to_vec()));
        let (text, masked) = hidden("id0123456789abcdef0");
        assert_eq!(
            (text.as_str(), masked.as_slice()),
            ("id***0", &["header `X-Id` of server `api`".to_owned()][..])
        );
        assert_eq!(hidden("b3JkZXJz").0, "***", "in base64");
        secrets.add_declared("orders");
        assert_eq!(secrets.hide("reorders"), "re***", "a declared secret is hidden everywhere");
    }

    #[test]
    fn short_settings_in_a_text_of_the_user_are_shown() {
        let mut secrets = Secrets::default();
        secrets.add_setting("reports", "variable `WHERE` of server `shop`");
        secrets.add_setting("orders", "variable `TABLE` of server `shop`");
        secrets.add_declared("hunter2");
        for given in ["/tmp/hunter2/reports", "preorders"] {
            secrets.show_settings_in(given);
        }
        assert_eq!(secrets.hide("/tmp/hunter2/reports orders"), "/tmp/***/reports ***");
    }

    #[test]
    fn values_that_are_added_later_are_hidden() {
        let mut secrets = Secrets::default();
        secrets.add("token-1");
        assert_eq!(secrets.hide("token-1 token-2"), "*** token-2");
        let mut more = Secrets::default();
        more.add("token-2");
        secrets.merge(&more);
        assert_eq!(secrets.hide("token-1 token-2"), "*** ***");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let mut secrets = Secrets::default();
        secrets.add("token-1");
        let shown = format!("{:?} {:?}", secrets, SecretValue("token-1".into()));
        assert!(shown.ends_with(" hidden ***") && !shown.contains("token"), "{shown}");
    }
}
