//! Credentials that are written into an address or into arguments, recognised by their names.
//!
//! The rule, which `docs/servers.md` states for users:
//!
//! * In an address, the password of `user:password@`, a user name without a password, and the values of query parameters with the
//!   name of a credential are credentials.
//! * In arguments, the value of `--name=value`, `--name value` and `NAME=value` with the name of a credential, the value of a
//!   header such as `Authorization: Bearer value`, and the credentials in an argument that is an address are credentials.
//!
//! A name is that of a credential if its last word is in [`WORDS`]: `token`, `GITHUB_TOKEN`, `--api-key`, `clientSecret`.

use reqwest::Url;

/// The last words of names of credentials.
const WORDS: [&str; 19] = [
    "apikey",
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "key",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pat",
    "pwd",
    "secret",
    "sig",
    "signature",
    "token",
];

/// Words that, outside of addresses, name a credential only together with another word. `--key` and `--auth` may also name a column
/// or a method, whose value would be hidden in every answer.
const AMBIGUOUS_WORDS: [&str; 2] = ["auth", "key"];

/// Words that make a name such as `primary-key` the name of something other than a credential.
const OTHER_KEYS: [&str; 7] = ["foreign", "group", "partition", "primary", "public", "row", "sort"];

/// Returns the credentials in an address.
pub(super) fn in_address(address: &str) -> Vec<String> {
    let mut found = Vec::new();
    add_from_address(address, &mut found);
    found
}

fn add_from_address(address: &str, found: &mut Vec<String>) {
    let Ok(url) = Url::parse(address) else { return };
    if let Some(password) = url.password() {
        add_encoded(password, found);
    } else if matches!(url.scheme(), "http" | "https") {
        // With other schemes, such as ssh, a user name alone is the name of an account.
        add_encoded(url.username(), found);
    }
    for pair in url.query().unwrap_or_default().split(['&', ';']) {
        if let Some((name, value)) = pair.split_once('=')
            && is_credential(&decoded(name), true)
        {
            add_encoded(value, found);
        }
    }
}

/// Returns the credentials in the arguments of a command.
pub(super) fn in_arguments<'a>(args: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_value_of_option = false;
    for arg in args {
        let is_option = arg.starts_with('-');
        if is_value_of_option && !is_option {
            add_header_value(arg, &mut found);
        }
        is_value_of_option = is_option && !arg.contains('=') && is_credential(arg, false);
        add_from_argument(arg, &mut found);
    }
    found
}

fn add_from_argument(arg: &str, found: &mut Vec<String>) {
    if let Some((name, value)) = arg.split_once('=') {
        if is_name(name) && is_credential(name, false) {
            add_header_value(value, found);
        }
        add_from_header(value, found);
        add_if_address(value, found);
    }
    add_from_header(arg, found);
    add_if_address(arg, found);
}

fn add_if_address(text: &str, found: &mut Vec<String>) {
    if text.contains("://") {
        add_from_address(text, found);
    }
}

/// Adds the value of `Name: value` if the name is that of a credential, and the text after `Bearer`.
fn add_from_header(text: &str, found: &mut Vec<String>) {
    if let Some((name, value)) = text.split_once(':')
        && is_name(name)
        && is_credential(name, false)
    {
        add_header_value(value, found);
    }
    if text.split_once(' ').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
        add_header_value(text, found);
    }
}

/// Adds a value, and the value without its scheme, since a server may quote it without.
fn add_header_value(value: &str, found: &mut Vec<String>) {
    let value = value.trim();
    found.push(value.to_owned());
    found.extend(value.rsplit(' ').next().map(str::to_owned));
}

/// Adds a value as it is written in an address, and decoded.
fn add_encoded(value: &str, found: &mut Vec<String>) {
    found.push(value.to_owned());
    found.push(decoded(value));
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Returns true if a text may be the name of an option, a variable or a header.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Returns true if the last word of a name is one of [`WORDS`]. `allows_ambiguous` accepts a name that is only `key` or `auth`.
fn is_credential(name: &str, allows_ambiguous: bool) -> bool {
    let words = words(name);
    let mut from_last = words.iter().rev().map(String::as_str);
    let (Some(last), before) = (from_last.next(), from_last.next()) else { return false };
    let is_other_key = last == "key" && before.is_some_and(|before| OTHER_KEYS.contains(&before));
    let is_ambiguous = before.is_none() && AMBIGUOUS_WORDS.contains(&last);
    WORDS.contains(&last) && !is_other_key && (allows_ambiguous || !is_ambiguous)
}

/// Returns the words of a name in lower case: of `--api-key`, `API_KEY` and `apiKey` they are `api` and `key`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lowercase = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (was_lowercase && c.is_uppercase());
        if begins {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        was_lowercase = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::super::secret::Secrets;

    fn hidden_in_address(address: &str) -> String {
        let mut secrets = Secrets::default();
        secrets.add_from_address(address);
        secrets.hide(address).into_owned()
    }

    fn hidden_in(args: &[&str]) -> String {
        let mut secrets = Secrets::default();
        secrets.add_from_arguments(args.iter().copied());
        secrets.hide(&args.join(" ")).into_owned()
    }

    #[test]
    fn credentials_in_addresses_are_found() {
        for (address, shown) in [
            ("https://user:pa55word@h/mcp?pass=w0rdpass&n=1", "https://user:***@h/mcp?pass=***&n=1"),
            ("https://ghp_123456@h/", "https://***@h/"),
            ("http://h/mcp?key=SUPERSECRET&user=someone", "http://h/mcp?key=***&user=someone"),
            ("http://h/?api_key=abc%2Fdefgh&accessToken=1234567", "http://h/?api_key=***&accessToken=***"),
            (
                "http://h/s/path-secret?page=1234567&keyword=monkeys",
                "http://h/s/path-secret?page=1234567&keyword=monkeys",
            ),
            ("no address", "no address"),
        ] {
            assert_eq!(hidden_in_address(address), shown);
        }
        let mut secrets = Secrets::default();
        secrets.add_from_address("http://h/?token=abc%2Fdefgh");
        assert_eq!(secrets.hide("bad token abc/defgh"), "bad token ***", "decoded");
    }

    #[test]
    fn credentials_in_arguments_are_found() {
        for (args, shown) in [
            (&["--api-key", "abcdefg", "--name", "something"][..], "--api-key *** --name something"),
            (&["--token=abcdefg", "API_KEY=hijklmn"], "--token=*** API_KEY=***"),
            (&["--header", "Authorization: Bearer abcdefg"], "--header Authorization: ***"),
            (&["--header=Authorization:Bearer abcdefg"], "--header=Authorization:***"),
            (&["-H", "X-Api-Key:abcdefg"], "-H X-Api-Key:***"),
            (&["Bearer abcdefg"], "***"),
            (
                &["postgres://u:pa55word@h/db", "--db=postgres://u:w0rdpass@h/db"],
                "postgres://u:***@h/db --db=postgres://u:***@h/db",
            ),
            (&["--token", "--verbose-mode"], "--token --verbose-mode"),
            (
                &["--sort-key", "created_at", "--key", "created_at", "--auth", "oauth-device"],
                "--sort-key created_at --key created_at --auth oauth-device",
            ),
            (
                &["--token-file", "/run/secrets/x", "--max-tokens", "1000000"],
                "--token-file /run/secrets/x --max-tokens 1000000",
            ),
        ] {
            assert_eq!(hidden_in(args), shown);
        }
        let mut secrets = Secrets::default();
        secrets.add_from_arguments(["--header", "Authorization: Bearer abcdefg"]);
        assert_eq!(secrets.hide("no user abcdefg"), "no user ***", "without its scheme");
    }
}
