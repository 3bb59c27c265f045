//! Which versions of nats-server can be used.

use super::error::{ConnectError, NEEDED_VERSION};

/// Refuses a server that is too old.
pub(super) fn check_version(found: &str) -> Result<(), ConnectError> {
    if number(found) >= number(NEEDED_VERSION) {
        return Ok(());
    }
    Err(ConnectError::TooOld { found: found.to_owned(), needed: NEEDED_VERSION })
}

/// A version in three numbers; whatever follows them (`-beta.1`) is left out. A text that is none is the oldest.
fn number(version: &str) -> [u32; 3] {
    let mut parts = version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
    [(); 3].map(|()| parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_not_texts() {
        let cases = [
            ("2.14.8", true),
            ("2.15.1", true),
            ("2.14.10", true),
            ("3.0.0", true),
            ("2.15.0-preview.2", true),
            ("2.14.7", false),
            ("2.9.10", false),
            ("2.14.8", true),
            ("", false),
            ("unknown", false),
        ];
        for (version, good) in cases {
            assert_eq!(check_version(version).is_ok(), good, "{version}");
        }
        let refusal = check_version("2.9.10").expect_err("too old").to_string();
        assert!(refusal.contains("2.9.10") && refusal.contains("2.14.8"), "{refusal}");
    }
}
