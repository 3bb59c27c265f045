//! Numbers that a person gives a test through the environment, to repeat a failure.

use std::str::FromStr;

/// Returns the value of a variable, such as `KILL_SEED`, if it is set and can be read.
pub fn given<T: FromStr>(name: &str) -> Option<T> {
    #[expect(clippy::disallowed_methods, reason = "the person who repeats a failure says with which seed")]
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
