//! Secrets as everybody but a worker knows them: names, and the places in arguments that they belong into.
//!
//! A value stands in the configuration of the workers alone. Whoever submits a run names it, as `secret:CARD_TOKEN`;
//! the scheduler says beside the arguments where that name stands for the value; the worker puts the value there right
//! before the call. Because the places travel beside the arguments, no text of an input or a tool can make one.

use serde::{Deserialize, Serialize};

use crate::SecretName;

/// What a reference to a secret begins with.
const PREFIX: &str = "secret:";

impl SecretName {
    /// The secret that a text such as `secret:CARD_TOKEN` refers to; nothing if it is no reference. A text that is none
    /// may be a value given by mistake, so no error repeats it.
    pub fn from_reference(text: &str) -> Option<Self> {
        text.strip_prefix(PREFIX)?.parse().ok()
    }

    /// The reference: `secret:CARD_TOKEN`.
    pub fn reference(&self) -> String {
        format!("{PREFIX}{self}")
    }
}

/// A place in the arguments of a call where a reference stands for the value of a secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecretPlace {
    /// The way to the text that holds the reference: a JSON Pointer (RFC 6901).
    pub pointer: String,
    /// Where in that text the reference begins, in bytes.
    pub at: usize,
    /// The secret.
    pub name: SecretName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_name_behind_a_prefix_and_nothing_else() {
        let longest = format!("secret:{}", "X".repeat(63));
        for text in ["secret:CARD_TOKEN", "secret:_a1", &longest] {
            let name = SecretName::from_reference(text).expect("a reference");
            assert_eq!(name.reference(), text);
        }
        let too_long = format!("{longest}X");
        for text in
            ["", "secret:", "CARD_TOKEN", "secret: A", "secret:1A", "secret:A-B", "secret:A ", &too_long]
        {
            assert_eq!(SecretName::from_reference(text), None, "{text}");
        }
    }
}
