//! Values of variables and headers that are plainly no secrets.
//!
//! Every value of `env`, `inherit_env`, `${VAR}` and `headers` counts as a secret unless this file says otherwise, because a
//! credential may have any name. A value that is hidden by mistake changes what the next step gets, so what is plainly
//! configuration stays. `docs/servers.md` states the rule for users.

use std::path::Path;

/// Parts of a name that make its value a secret, whatever else the name says.
const CREDENTIAL_PARTS: [&str; 8] = ["KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CREDENTIAL", "COOKIE", "DSN"];

/// Names of settings that say where or how a program works.
const NAMES: [&str; 20] = [
    "CACHE_CONTROL",
    "DEBUG",
    "ENV",
    "ENVIRONMENT",
    "HOME",
    "HOST",
    "HOSTNAME",
    "LANG",
    "LANGUAGE",
    "LOCALE",
    "MODE",
    "NODE_ENV",
    "PATH",
    "PORT",
    "REGION",
    "TIMEZONE",
    "TZ",
    "USER_AGENT",
    "VERBOSE",
    "ACCEPT_LANGUAGE",
];

/// Ends of such names.
const SUFFIXES: [&str; 18] = [
    "_DIR",
    "_ENV",
    "_FORMAT",
    "_HOST",
    "_HOSTNAME",
    "_LANG",
    "_LANGUAGE",
    "_LEVEL",
    "_LOCALE",
    "_MODE",
    "_PATH",
    "_PORT",
    "_REGION",
    "_TIMEOUT",
    "_TIMEOUT_MS",
    "_TIMEZONE",
    "_VERSION",
    "_ZONE",
];

/// Words that are switched on and off with.
const SWITCHES: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "enabled", "disabled"];

/// Beginnings of tokens: of AI providers and Stripe, GitHub, GitLab, Slack, AWS, Google, Hugging Face, npm, PyPI, JWTs and keys.
const TOKEN_PREFIXES: [&str; 22] = [
    "sk-",
    "sk_",
    "rk_",
    "pk_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xox",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "hf_",
    "npm_",
    "pypi-",
    "eyJ",
    "whsec_",
    "-----BEGIN",
];

/// Letters and digits in one run from which on a text with both looks like a token: words and numbers of configuration are
/// shorter.
const TOKEN_CHARS: usize = 20;

/// Digits of a number that is hidden in spite of being one. A shorter one is a port, a size or a time.
const SECRET_DIGITS: usize = 9;

/// Returns true if the value of a variable or a header counts as a secret.
pub(super) fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    if SWITCHES.contains(&value.to_ascii_lowercase().as_str()) || is_existing_path(value) {
        return false;
    }
    if CREDENTIAL_PARTS.iter().any(|part| name.contains(part)) {
        return true;
    }
    let is_number = value.len() < SECRET_DIGITS && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_setting = NAMES.contains(&name.as_str()) || SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    !is_number && (!is_setting || looks_like_credential(value))
}

fn is_existing_path(value: &str) -> bool {
    let path = Path::new(value);
    path.is_absolute() && path.exists()
}

/// Returns true for an address with user information, the beginning of a known kind of token, and a long run of letters and
/// digits.
fn looks_like_credential(value: &str) -> bool {
    let has_user = value.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    });
    let is_token = |run: &str| {
        run.len() >= TOKEN_CHARS
            && run.contains(|c: char| c.is_ascii_digit())
            && run.contains(|c: char| c.is_ascii_alphabetic())
    };
    has_user
        || TOKEN_PREFIXES.iter().any(|prefix| value.starts_with(prefix))
        || value.split(|c: char| !c.is_ascii_alphanumeric()).any(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plainly_configuration_is_no_secret() {
        for (name, value) in [
            ("AWS_REGION", "eu-west-1"),
            ("aws_region", "eu-west-1"),
            ("PORT", "8080"),
            ("BATCH", "20261231"),
            ("FEATURE", "enabled"),
            ("FEATURE_AUTH", "disabled"),
            ("DATA", "/usr"),
            ("SSH_KEY_FILE", "/usr"),
            ("NODE_ENV", "production"),
            ("DB_HOST", "ip-10-0-12-34.eu-west-1.compute.internal"),
            ("X-Region", "europe"),
            ("Accept-Language", "de-CH,de;q=0.9"),
            ("LOG_LEVEL", "warning"),
            ("CACHE_DIR", "/srv/no/such/cache-2026"),
        ] {
            assert!(!is_secret(name, value), "{name}={value}");
        }
    }

    #[test]
    fn everything_else_is_a_secret() {
        for (name, value) in [
            ("CLUSTER", "eu-west"),
            ("API_TOKEN", "12345678"),
            ("AUTH_MODE", "sup3r-m0de"),
            ("PASSPHRASE_LEVEL", "hunter22"),
            ("NUMBER", "123456789"),
            ("DATA", "/no/such/folder"),
            ("DATA", "relative/folder"),
            ("PROXY_HOST", "http://user:pa55word@proxy:3128"),
            ("BUILD_VERSION", "ghp_abcdefgh"),
            ("BUILD_VERSION", "b1946ac92492d2347c6235b4d2611184"),
            ("Authorization", "Basic YTpi"),
            ("X-Cookie-Mode", "chocolate"),
            ("SENTRY_DSN", "https://abc@h/1"),
        ] {
            assert!(is_secret(name, value), "{name}={value}");
        }
    }
}
