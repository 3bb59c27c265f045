//! Recognition of ordinary settings among the values of variables and headers.
//!
//! Every value of `env`, `inherit_env`, `${VAR}` and `headers` counts as a secret unless this file recognises an ordinary
//! setting, because a credential may have any name. A setting that is hidden by mistake changes the input of the next step.
//! `docs/servers.md` states the rule for users.

use std::path::Path;

/// Parts of a name that make its value a secret.
const CREDENTIAL_PARTS: [&str; 13] = [
    "KEY",
    "TOKEN",
    "SECRET",
    "PASS",
    "AUTH",
    "CREDENTIAL",
    "COOKIE",
    "DSN",
    "PWD",
    "PRIVATE",
    "BEARER",
    "SIGNATURE",
    "SESSION",
];

/// Words of a name that make its value a secret. They are not matched as parts, because too many other words contain them, as
/// `SHIPPING` contains `PIN`.
const CREDENTIAL_WORDS: [&str; 8] = ["PAT", "PIN", "OTP", "JWT", "SIG", "SALT", "SEED", "PHRASE"];

/// Names of ordinary settings.
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

/// Suffixes of names of ordinary settings.
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

/// Values of switches.
const SWITCHES: [&str; 8] = ["true", "false", "yes", "no", "on", "off", "enabled", "disabled"];

/// Prefixes of tokens: of AI providers and Stripe, GitHub, GitLab, Slack, AWS, Google, Hugging Face, npm, PyPI, JWTs and keys.
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

/// The minimum length of a run of letters and digits that looks like a token. Words and numbers of ordinary settings are shorter.
const TOKEN_CHARS: usize = 20;

/// The minimum number of digits of a number that counts as a secret. A shorter one is a port, a size or a time.
const SECRET_DIGITS: usize = 9;

/// The length up to which a text of plain words is not a secret. A longer one may be a passphrase.
const LONGEST_WORDS_CHARS: usize = 15;

/// Maximum number of words in such a text, as in `public.sales_orders`.
const MOST_WORDS: usize = 3;

/// The length up to which letters count as a word or an abbreviation whatever their vowels.
const SHORT_WORD_CHARS: usize = 4;

/// Maximum number of consecutive consonants in a word, as in `worksheets`. Random letters often have more.
const MOST_CONSONANTS: usize = 4;

/// The source of a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ValueSource {
    /// The value is written into the servers file, where every reader of the file sees it.
    File,
    /// The value is that of a variable, at least in part.
    Environment,
}

/// Returns true if the value of a variable or a header counts as a secret.
pub(super) fn is_secret(name: &str, value: &str, source: ValueSource) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    if SWITCHES.contains(&value.to_ascii_lowercase().as_str()) || is_existing_path(value) {
        return false;
    }
    let is_credential_name = CREDENTIAL_PARTS.iter().any(|part| name.contains(part))
        || name.split('_').any(|word| CREDENTIAL_WORDS.contains(&word));
    if is_credential_name {
        return true;
    }
    if source == ValueSource::File && is_words(value) && !looks_like_credential(value) {
        return false;
    }
    let is_number = value.len() < SECRET_DIGITS && value.bytes().all(|byte| byte.is_ascii_digit());
    let is_setting = NAMES.contains(&name.as_str()) || SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
    !is_number && (!is_setting || looks_like_credential(value))
}

fn is_existing_path(value: &str) -> bool {
    let path = Path::new(value);
    path.is_absolute() && path.exists()
}

/// Returns true for a few words in lower case with separators, such as `orders`, `sales_orders` and `data/orders`.
fn is_words(value: &str) -> bool {
    let words: Vec<&str> = value.split(['_', '-', '.', '/']).take(MOST_WORDS + 1).collect();
    value.len() <= LONGEST_WORDS_CHARS && words.len() <= MOST_WORDS && words.into_iter().all(is_word)
}

fn is_word(word: &str) -> bool {
    let is_vowel = |c: char| "aeiouy".contains(c);
    let are_letters = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_pronounceable =
        word.contains(is_vowel) && word.split(is_vowel).all(|consonants| consonants.len() <= MOST_CONSONANTS);
    are_letters && (word.len() <= SHORT_WORD_CHARS || is_pronounceable)
}

/// Returns true for an address with user information, a text with the prefix of a token, and a text with a long run of letters
/// and digits.
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
    fn ordinary_setting_is_no_secret() {
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
            for source in [ValueSource::File, ValueSource::Environment] {
                assert!(!is_secret(name, value, source), "{name}={value}");
            }
        }
    }

    #[test]
    fn any_other_value_is_a_secret() {
        for (name, value) in [
            ("CLUSTER", "eu-west-2"),
            ("API_TOKEN", "12345678"),
            ("AUTH_MODE", "sup3r-m0de"),
            ("PASSPHRASE_LEVEL", "hunter22"),
            ("NUMBER", "123456789"),
            ("PIN", "1234567"),
            ("DATA", "/no/such/folder"),
            ("PROXY_HOST", "http://user:pa55word@proxy:3128"),
            ("BUILD_VERSION", "ghp_abcdefgh"),
            ("BUILD_VERSION", "b1946ac92492d2347c6235b4d2611184"),
            ("Authorization", "Basic YTpi"),
            ("X-Cookie-Mode", "chocolate"),
            ("SENTRY_DSN", "https://abc@h/1"),
        ] {
            for source in [ValueSource::File, ValueSource::Environment] {
                assert!(is_secret(name, value, source), "{name}={value}");
            }
        }
    }

    #[test]
    fn words_that_are_written_into_the_file_are_no_secrets() {
        for (name, value) in [
            ("TABLE", "orders"),
            ("TABLE", "sales_orders"),
            ("SCHEMA", "public.orders"),
            ("SHIPPING", "worksheets"),
            ("FILE", "data/sales.csv"),
            ("CLUSTER", "eu-west"),
            ("X-Tenant", "customers"),
        ] {
            assert!(!is_secret(name, value, ValueSource::File), "{name}={value}");
            assert!(is_secret(name, value, ValueSource::Environment), "{name}={value} of the environment");
        }
    }

    #[test]
    fn words_that_could_be_credentials_are_secrets() {
        for (name, value) in [
            ("PASSWORD", "orders"),
            ("MYSQL_PWD", "orders"),
            ("X-Api-Key", "orders"),
            ("PRIVATE_NOTE", "orders"),
            ("SALT", "orders"),
            ("TABLE", "Orders"),
            ("TABLE", "orders7"),
            ("TABLE", "correct-horse-battery"),
            ("TABLE", "qzxvkjwp"),
            ("TABLE", "bcdfghjklm"),
            ("TABLE", "red-or-blue-or"),
            ("TABLE", "orders-"),
            ("TABLE", "two words"),
        ] {
            assert!(is_secret(name, value, ValueSource::File), "{name}={value}");
        }
    }
}
