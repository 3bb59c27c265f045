//! Parts of an answer that a terminal cannot show: images, audio, resources that are not text, and links to resources.
//! Messages name them, and all but links can be saved as files.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longshore_proto::ServerName;
use serde_json::Value;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Number of file names that are tried until one is free.
const MAX_NAMES_TRIED: usize = 1_000;

/// A part that is not text.
#[derive(Debug, Eq, PartialEq)]
struct Attachment<'a> {
    /// Number of the part in the answer, from 1.
    number: usize,
    mime_type: &'a str,
    /// The data in base64.
    data: &'a str,
}

/// Saves the attachments of an answer in a directory, or prints a message about each.
pub(super) fn show_or_save(content: &Value, save: Option<&Path>, output: &Output) -> Result<(), Failure> {
    for attachment in found(content) {
        let Attachment { number, mime_type, data } = attachment;
        if let Some(directory) = save {
            let path = attachment.save(directory)?;
            output.message(&format!("part {number} ({mime_type}) is saved as {}", path.display()));
        } else {
            let bytes = data.len() / 4 * 3;
            output.message(&format!(
                "part {number} of the answer is {mime_type} of about {bytes} bytes: --save DIR writes it to a file"
            ));
        }
    }
    Ok(())
}

/// Prints the addresses of the resources that an answer of `server` links to.
pub(super) fn show_links(content: &Value, server: &ServerName, output: &Output) {
    let links = links(content);
    for (number, uri) in &links {
        output.address(&format!("part {number} of the answer is a link to "), uri);
    }
    if !links.is_empty() {
        // The command shows `URI` instead of the address, because a shell may interpret characters of the address.
        output.message(&format!("`longshore servers read {server} URI` reads the resource of a link"));
    }
}

/// Returns the number of each link among the parts of the answer, from 1, and its address.
fn links(content: &Value) -> Vec<(usize, &str)> {
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    parts
        .iter()
        .enumerate()
        .filter(|(_, part)| part.get("type").and_then(Value::as_str) == Some("resource_link"))
        .filter_map(|(index, part)| Some((index + 1, part.get("uri")?.as_str()?)))
        .collect()
}

fn found(content: &Value) -> Vec<Attachment<'_>> {
    let parts = content.as_array().map(Vec::as_slice).unwrap_or_default();
    parts.iter().enumerate().filter_map(|(index, part)| attachment(index + 1, part)).collect()
}

/// Returns the attachment in a part: an image, audio, or an embedded resource.
fn attachment(number: usize, part: &Value) -> Option<Attachment<'_>> {
    let resource = part.get("resource");
    let data = part.get("data").or_else(|| resource?.get("blob"))?.as_str()?;
    let mime_type = part.get("mimeType").or_else(|| resource?.get("mimeType")).and_then(Value::as_str);
    Some(Attachment { number, mime_type: mime_type.unwrap_or("application/octet-stream"), data })
}

impl Attachment<'_> {
    /// Writes the data to a new file, which other users may not read, and returns the path. Existing files are not replaced.
    fn save(&self, directory: &Path) -> Result<PathBuf, Failure> {
        let number = self.number;
        let bytes = STANDARD.decode(self.data).map_err(|error| {
            let message = format!("part {number} of the answer is not valid base64: {error}");
            Failure::new(Exit::Error, message)
                .help("the server sent it in this form; --json prints it unchanged")
        })?;
        let failed = |path: &Path, error: std::io::Error| {
            Failure::new(Exit::Error, format!("{} cannot be written: {error}", path.display()))
        };
        std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
        for copy in 1..=MAX_NAMES_TRIED {
            let suffix = if copy == 1 { String::new() } else { format!("-{copy}") };
            let path = directory.join(format!("part-{number}{suffix}.{}", extension(self.mime_type)));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(mut file) => {
                    file.write_all(&bytes).map_err(|error| failed(&path, error))?;
                    return Ok(path);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&path, error)),
            }
        }
        let message =
            format!("{} holds {MAX_NAMES_TRIED} files for part {number} already", directory.display());
        Err(Failure::new(Exit::Error, message).help("save into another directory"))
    }
}

/// Returns the usual file name extension.
fn extension(mime_type: &str) -> &'static str {
    match mime_type.split(';').next().unwrap_or_default().trim() {
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/svg+xml" => "svg",
        "audio/wav" | "audio/x-wav" => "wav",
        "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "application/pdf" => "pdf",
        _ => "bin",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn links_are_found_with_their_numbers() {
        let content = json!([
            { "type": "text", "text": "see" },
            { "type": "resource_link", "uri": "demo://a", "name": "a" },
            { "type": "resource", "resource": { "uri": "x:z", "text": "plain" } },
            { "type": "resource_link", "uri": "demo://b", "name": "b" },
        ]);
        assert_eq!(links(&content), [(2, "demo://a"), (4, "demo://b")]);
    }

    #[test]
    fn images_and_binary_resources_are_saved_without_replacing_files() {
        let content = json!([
            { "type": "text", "text": "see" },
            { "type": "image", "data": "aGk=", "mimeType": "image/png" },
            { "type": "resource", "resource": { "uri": "x:y", "blob": "AAE=" } },
            { "type": "resource", "resource": { "uri": "x:z", "text": "plain" } },
        ]);
        let found = found(&content);
        let summary: Vec<_> = found.iter().map(|part| (part.number, part.mime_type)).collect();
        assert_eq!(summary, [(2, "image/png"), (3, "application/octet-stream")]);
        let folder = tempfile::tempdir().expect("a folder");
        let paths: Vec<_> = (0..2).map(|_| found[0].save(folder.path()).expect("it is saved")).collect();
        let mode = |path: &PathBuf| std::fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert!(paths.iter().all(|path| mode(path) == 0o600), "for this user alone");
        assert_eq!(paths, ["part-2.png", "part-2-2.png"].map(|name| folder.path().join(name)));
        assert_eq!(std::fs::read(&paths[1]).expect("a file"), b"hi");
        let broken = Attachment { number: 1, mime_type: "image/png", data: "?" };
        assert!(broken.save(folder.path()).expect_err("refused").message.contains("not valid base64"));
    }
}
