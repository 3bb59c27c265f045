//! Values that must not be seen.
//!
//! Credentials reach a server through `${VAR}`, `env` and `headers`. [`Secret`] carries one without printing it;
//! [`Secrets`] takes them out of what a server itself says, before that becomes a log line or a fault.

use std::borrow::Cow;
use std::fmt;

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

/// All values of one server's entry that must not be seen, the longest first.
#[derive(Clone, Default)]
pub(crate) struct Secrets(Vec<String>);

impl Secrets {
    /// One more value to hide.
    pub(crate) fn add(&mut self, value: &str) {
        if value.chars().count() < SHORTEST_SECRET_CHARS || self.0.iter().any(|known| known == value) {
            return;
        }
        self.0.push(value.to_owned());
        // A secret that contains another one must go first, or its remainder would stay.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
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

#[cfg(test)]
mod tests {
    use super::*;

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
