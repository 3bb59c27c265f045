//! A workflow that calls five servers, four of them by other authors, and passes results from one server to the next.
//!
//! It runs in one process and on a cluster, and must have the same outputs.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::scratch::Scratch;
use crate::tables::Tables;
use crate::tools::Tools;

/// The workflow.
pub const WORKFLOW: &str = r#"
longshore: v1
name: five-servers
inputs:
  folder: { type: string, required: true }
steps:
  - id: ask
    parallel:
      - id: noon
        call: time/convert_time
        with: { source_timezone: UTC, time: "12:00", target_timezone: Asia/Tokyo }
      - id: weather
        call: everything/get-structured-content
        with: { location: Chicago }
      - id: history
        call: git/git_log
        with: { repo_path: "${{ inputs.folder }}" }
      - id: list
        call: tables/list_files
  - id: sum
    call: everything/get-sum
    with:
      a: ${{ steps.weather.output.humidity }}
      b: ${{ steps.list.output.files[0].bytes }}
  - id: write
    call: files/write_file
    with:
      path: ${{ inputs.folder }}/answer.txt
      content: ${{ steps.noon.output.target.timezone }} and ${{ steps.sum.output }}
  - id: read
    call: files/read_text_file
    with: { path: "${{ inputs.folder }}/answer.txt" }
    retry: 2
  - id: same
    call: tables/echo
    with:
      text: ${{ steps.read.output.content }}
      committed: ${{ contains(steps.history.output, 'the first commit') }}
outputs:
  text: ${{ steps.same.output.text }}
  committed: ${{ steps.same.output.committed }}
  warm: ${{ steps.weather.output.temperature > 0 }}
"#;

/// Makes a folder with the workflow, a table and a Git repository.
///
/// # Panics
/// When it cannot be made.
pub fn folder() -> Scratch {
    let scratch = Scratch::with(WORKFLOW, &json!({}));
    scratch.write("sales.csv", "product,units\ntea,2\n");
    for arguments in [
        &["init", "--quiet"][..],
        &[
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.test",
            "commit",
            "-qm",
            "the first commit",
            "--allow-empty",
        ],
    ] {
        let git = Command::new("git").args(arguments).current_dir(scratch.path()).status();
        assert!(git.is_ok_and(|status| status.success()), "git {arguments:?}");
    }
    scratch
}

/// Returns the entries of all servers over stdio, for a servers file.
pub fn over_stdio(tools: &Tools, folder: &Path) -> Value {
    json!({
        "tables": Tables::of(folder).entry(),
        "everything": tools.everything().entry(),
        "files": tools.filesystem(folder).entry(),
        "time": tools.time().entry(),
        "git": tools.git(folder).entry(),
    })
}

/// Returns the outputs of the workflow.
pub fn expected() -> Value {
    // 82 is the humidity that server-everything has for Chicago, 20 the size of the table.
    json!({"text": "Asia/Tokyo and The sum of 82 and 20 is 102.", "committed": true, "warm": true})
}
