//! `longshore runs output`: prints one value of a run in full.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use longshore_machine::RunValue;
use longshore_proto::{Payload, RunId, StepPath};
use rustix::fs::OFlags;
use serde_json::Value;

use super::data_dir::DirectoryRuns;
use super::source::{RunSource, RunUse, find_cluster_run, find_local_run};
use crate::args::RunsOutputArgs;
use crate::cluster::{Client, ValuePart};
use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// Size of the largest value that is fetched in parts. No store keeps a larger one.
const LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Prints a value of a run, or writes it to a file.
pub(in super::super) async fn output(
    args: RunsOutputArgs,
    config: &Config,
    output: &Output,
) -> Result<Exit, Failure> {
    let source = RunSource::choose(&args.source, config, output).await?;
    let fetched = match &source {
        RunSource::DataDir(local) => from_data(local, &args).await,
        RunSource::Cluster(client) => from_cluster(client, &args).await,
    };
    source.close().await;
    let text = fetched?;
    match &args.file {
        Some(file) => {
            write(file, &text)?;
            output.message(&format!("{} bytes written to {}", text.len(), file.display()));
        }
        None => match serde_json::from_str::<Value>(&text) {
            Ok(value) => output.value(&value)?,
            Err(_) => output.text(&text)?,
        },
    }
    Ok(Exit::Success)
}

async fn from_data(local: &DirectoryRuns, args: &RunsOutputArgs) -> Result<String, Failure> {
    let run = find_local_run(local, &args.run).await?.summary.run;
    let none = |error: String| Failure::new(Exit::NotFound, error);
    match local.value(run, &RunValue::of(args.step.clone(), args.content)).await? {
        Payload::Inline(value) => Ok(value.to_string()),
        Payload::Blob { digest, .. } => {
            let bytes = local.directory().backend.blobs.get(digest).await?;
            let bytes = bytes
                .ok_or_else(|| none(format!("the large value {} of {run} is missing", digest.short())))?;
            String::from_utf8(bytes)
                .map_err(|error| none(format!("the value of {run} is not UTF-8 text: {error}")))
        }
    }
}

async fn from_cluster(client: &Client, args: &RunsOutputArgs) -> Result<String, Failure> {
    let run = find_cluster_run(client, &args.run, RunUse::Show).await?;
    parts(client, run, args.step.as_ref(), args.content).await
}

/// Fetches the parts of a value one after the other, and joins them.
async fn parts(
    client: &Client,
    run: RunId,
    step: Option<&StepPath>,
    is_content: bool,
) -> Result<String, Failure> {
    let mut text = String::new();
    loop {
        let ValuePart { bytes, offset, text: part } = client.value(run, step, is_content, text.len()).await?;
        let follows = offset == text.len() && (!part.is_empty() || bytes == text.len());
        text.push_str(&part);
        if !follows || text.len() > bytes || bytes > LIMIT_BYTES {
            return Err(Failure::new(
                Exit::Error,
                format!("the parts of the value of {run} do not fit together"),
            ));
        }
        if text.len() == bytes {
            return Ok(text);
        }
    }
}

/// Writes a file that other users may not read; the permissions of an existing file stay. Links are not followed, because
/// other users may be able to create them in the folder.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let written = options.open(file).and_then(|mut opened| opened.write_all(text.as_bytes()));
    written.map_err(|error| {
        let is_link = file.is_symlink();
        let help = if is_link {
            "it is a link: name the file itself"
        } else {
            "name a file in a folder that you may write to"
        };
        Failure::new(Exit::Error, format!("cannot write {}: {error}", file.display())).help(help)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn value_file_is_private_and_never_written_through_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, link) = (folder.path().join("value"), folder.path().join("link"));
        write(&file, "a long value").expect("writes");
        write(&file, "short").expect("writes again");
        assert_eq!(std::fs::read_to_string(&file).expect("reads"), "short");
        assert_eq!(file.metadata().expect("exists").permissions().mode() & 0o777, 0o600);
        symlink(&file, &link).expect("links");
        assert!(write(&link, "other").is_err());
        symlink(folder.path().join("absent"), folder.path().join("dangling")).expect("links");
        assert!(write(&folder.path().join("dangling"), "other").is_err());
        assert_eq!(std::fs::read_to_string(&file).expect("reads"), "short");
    }
}
