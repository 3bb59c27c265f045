//! References to secrets, and their places in the arguments of a call.
//!
//! Only workers have the values. A client names a secret in an input, as `secret:CARD_TOKEN`. The scheduler adds to the
//! job a list of the places in the arguments where such a reference is to be replaced, and the worker inserts the value
//! right before the call. The list is separate from the arguments, so no text of an input or a tool can add a place.

use serde::{Deserialize, Serialize};

use crate::SecretName;

/// Prefix of a reference to a secret.
const PREFIX: &str = "secret:";

impl SecretName {
    /// Parses a reference such as `secret:CARD_TOKEN`. Returns `None` for any other text, which may be a secret value
    /// that was given by mistake, so no error repeats it.
    pub fn from_reference(text: &str) -> Option<Self> {
        text.strip_prefix(PREFIX)?.parse().ok()
    }

    /// Returns the reference to the secret, such as `secret:CARD_TOKEN`.
    pub fn reference(&self) -> String {
        format!("{PREFIX}{self}")
    }
}

/// A place in the arguments of a call where a reference is replaced by the value of a secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecretPlace {
    /// JSON Pointer (RFC 6901) to the text that contains the reference.
    pub pointer: String,
    /// Byte offset of the reference within that text.
    pub at: usize,
    /// Name of the secret.
    pub name: SecretName,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_prefix_and_a_valid_name_are_a_reference() {
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
