//! Secrets in the credential files that the configuration names: seeds, JWTs and private keys.
//!
//! NATS and TLS libraries read these files themselves. Their contents are also read here, so that they can be masked in
//! messages.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use longshore_worker::mcp::Secrets;

/// Size of the part of a file that is read. Credential files have some kilobytes.
const LIMIT_BYTES: u64 = 64 * 1024;

/// Adds each line with a part of a credential. A file that cannot be read is not reported here: the library that needs it
/// fails with a better message.
pub(super) fn add_lines(path: &Path, secrets: &mut Secrets) {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LIMIT_BYTES).read_to_string(&mut text));
    if read.is_ok() {
        text.lines()
            .map(str::trim)
            .filter(|line| is_secret(line))
            .for_each(|line| secrets.add_declared(line));
    }
}

/// Returns false for delimiters such as `-----BEGIN USER NKEY SEED-----`, and for the warnings between them.
fn is_secret(line: &str) -> bool {
    !line.starts_with('-') && !line.starts_with('#') && !line.contains(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_keys_are_masked_and_the_text_around_them_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("user.creds");
        let text = "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1QifQ\n------END NATS USER JWT------\n\n\
                    NKEYs are sensitive and should be treated as secrets.\n\n\
                    -----BEGIN USER NKEY SEED-----\r\nSUAGQXSEED\r\n------END USER NKEY SEED------\n";
        std::fs::write(&path, text).expect("written");
        let mut secrets = Secrets::default();
        add_lines(&path, &mut secrets);
        add_lines(Path::new("/no/such/file"), &mut secrets);
        let masked = secrets
            .hide("SUAGQXSEED of eyJ0eXAiOiJKV1QifQ: treated as secrets. -----BEGIN NATS USER JWT-----");
        assert_eq!(masked, "*** of ***: treated as secrets. -----BEGIN NATS USER JWT-----");
    }
}
