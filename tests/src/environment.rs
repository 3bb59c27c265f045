//! Environment variables by which the caller of the tests repeats a failure or asks for more rounds.

use std::str::FromStr;

/// The variable that `./verify --long` sets. Its name does not begin with `LONGSHORE_`: the started processes inherit it, and refuse
/// variables with that beginning that they do not know.
const LONG: &str = "LONG_TESTS";

/// Returns the value of a variable, such as `KILL_SEED`, if it is set and valid.
pub fn variable<T: FromStr>(name: &str) -> Option<T> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the caller of the tests gives the seed of the run to repeat"
    )]
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Returns the number of rounds of a test: a few, or as many as `./verify --long` asks for.
pub fn rounds(few: usize, many: usize) -> usize {
    if variable::<String>(LONG).is_some() { many } else { few }
}
