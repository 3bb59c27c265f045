//! Text that a command reads from a file or from stdin, of bounded size and in UTF-8.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::exit::Exit;
use crate::failure::Failure;

/// Size of the longest text. A workflow may have 1 MiB, which its compiler checks. Inputs are kept in memory by every
/// scheduler; larger data belongs in a file that a tool reads.
const LIMIT_BYTES: u64 = 16 * 1024 * 1024;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// Reads a file. `what` says what it should hold: "workflow", "servers file".
pub(crate) fn read(path: &Path, what: &str) -> Result<String, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, what, &error))?;
    text(file, path, what)
}

/// Reads a file, or stdin if the path is `-`.
pub(crate) fn read_or_stdin(path: &Path, what: &str) -> Result<String, Failure> {
    if is_stdin(path) { text(io::stdin().lock(), shown(path), what) } else { read(path, what) }
}

/// Returns true for the path that means stdin.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Returns the path as users see it.
pub(crate) fn shown(path: &Path) -> &Path {
    if is_stdin(path) { Path::new("stdin") } else { path }
}

fn text(source: impl Read, path: &Path, what: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    source.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, what, &error))?;
    if bytes.len() as u64 > LIMIT_BYTES {
        let message = format!("the {what} {} has more than {LIMIT_BYTES} bytes", path.display());
        return Err(Failure::new(Exit::Invalid, message)
            .help("pass large data by the name of a file that a tool reads"));
    }
    // Editors on Windows write a byte order mark, which has no meaning in UTF-8.
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).map(<[u8]>::to_vec).unwrap_or(bytes);
    String::from_utf8(bytes).map_err(|error| {
        let byte = error.utf8_error().valid_up_to() + 1;
        let message = format!("the {what} {} is not UTF-8 text: byte {byte} is invalid", path.display());
        Failure::new(Exit::Invalid, message).help("save it as UTF-8")
    })
}

fn unreadable(path: &Path, what: &str, error: &io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
    let at = path.to_str().and_then(|path| path.strip_prefix('@')).filter(|_| exit == Exit::NotFound);
    Failure::new(exit, format!("the {what} {} cannot be read: {error}", path.display()))
        .maybe_help(at.map(|path| format!("write the path without `@`: {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(source: impl Read) -> String {
        text(source, Path::new("wf.yaml"), "workflow").expect_err("refused").message
    }

    #[test]
    fn text_that_is_not_utf8_or_too_long_is_refused() {
        assert_eq!(text(&b"a: 1"[..], Path::new("x"), "workflow").expect("text"), "a: 1");
        assert_eq!(text(&b"\xef\xbb\xbfa: 1"[..], Path::new("x"), "workflow").expect("text"), "a: 1");
        assert_eq!(refusal(&b"ab\xffc"[..]), "the workflow wf.yaml is not UTF-8 text: byte 3 is invalid");
        assert_eq!(refusal(io::repeat(b' ')), "the workflow wf.yaml has more than 16777216 bytes");
    }

    #[test]
    fn path_with_an_at_sign_is_answered_with_the_path() {
        for (path, help) in [
            ("@-", "write the path without `@`: -"),
            ("@no/in.json", "write the path without `@`: no/in.json"),
        ] {
            assert_eq!(read(Path::new(path), "input file").expect_err("none").help.as_deref(), Some(help));
        }
    }

    #[test]
    fn missing_file_is_named() {
        let missing = read(Path::new("/no/such/file"), "servers file").expect_err("there is none");
        assert_eq!(missing.exit, Exit::NotFound);
        assert!(
            missing.message.starts_with("the servers file /no/such/file cannot be read"),
            "{}",
            missing.message
        );
    }
}
