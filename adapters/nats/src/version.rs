//! Check of the version of nats-server.

use semver::Version;

use super::error::{ConnectError, NEEDED_VERSION};

/// Refuses a server that is older than [`NEEDED_VERSION`], or whose version cannot be parsed.
pub(super) fn check_version(found: &str) -> Result<(), ConnectError> {
    let is_supported = match (Version::parse(found), Version::parse(NEEDED_VERSION)) {
        (Ok(found), Ok(needed)) => found >= needed,
        _ => false,
    };
    if is_supported {
        return Ok(());
    }
    Err(ConnectError::TooOld { found: found.to_owned(), needed: NEEDED_VERSION })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let cases = [
            ("2.14.8", true),
            ("2.15.1", true),
            ("2.14.10", true),
            ("3.0.0", true),
            ("2.15.0-preview.2", true),
            ("2.14.7", false),
            ("2.9.10", false),
            ("", false),
            ("unknown", false),
        ];
        for (version, is_supported) in cases {
            assert_eq!(check_version(version).is_ok(), is_supported, "{version}");
        }
        let refusal = check_version("2.9.10").expect_err("too old").to_string();
        assert!(refusal.contains("2.9.10") && refusal.contains("2.14.8"), "{refusal}");
    }
}
