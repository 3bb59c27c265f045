//! The house rules that a program can check.

mod imports;
mod type_names;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// The limit for a file: a longer one has more than one subject.
const LONGEST_LINES: usize = 450;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// The source folders of the crates.
const CRATES: [&str; 16] = [
    "proto/src",
    "suggest/src",
    "workflow/src",
    "ports/src",
    "adapters/embedded/src",
    "adapters/nats/src",
    "adapters/redis/src",
    "adapters/tls/src",
    "scheduler/src",
    "scheduler/machine/src",
    "worker/src",
    "worker/attempt/src",
    "harness/src",
    "bench/src",
    "cli/src",
    "tests/src",
];

/// Returns every Rust file of the workspace with its text, by its path from the root.
fn sources() -> Vec<(String, String)> {
    let parts = [
        "proto",
        "suggest",
        "workflow",
        "ports",
        "adapters",
        "scheduler",
        "worker",
        "harness",
        "bench",
        "cli",
        "tests",
        "examples",
    ];
    let mut open: Vec<_> = parts.map(|part| root().join(part)).into();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() && !["target", "node_modules"].contains(&name) && !name.starts_with('.') {
                open.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).unwrap_or_default();
                let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
                found.push((shown, text));
            }
        }
    }
    assert!(found.len() > 50, "the walk finds the workspace: {} files", found.len());
    found
}

/// Returns the files that break a rule.
fn offenders(broken: impl Fn(&str, &str) -> bool) -> Vec<String> {
    sources().into_iter().filter(|(path, text)| broken(path, text)).map(|(path, _)| path).collect()
}

/// Returns the lines of a manifest's `[dependencies]`.
fn dependencies(part: &str) -> String {
    let manifest = fs::read_to_string(root().join(part).join("Cargo.toml")).unwrap_or_default();
    let after = manifest.split_once("[dependencies]").map(|(_, after)| after.to_owned()).unwrap_or_default();
    let list = after.split("\n[").next().unwrap_or_default().to_owned();
    assert!(list.contains("workspace = true"), "{part} has a list of dependencies");
    list
}

#[test]
fn every_file_has_a_header() {
    let without = offenders(|_, text| !text.starts_with("//! "));
    assert!(without.is_empty(), "files without a header: {without:#?}");
}

#[test]
fn files_are_short_and_named_for_their_subject() {
    let long = offenders(|_, text| text.lines().count() > LONGEST_LINES);
    assert!(long.is_empty(), "files of over {LONGEST_LINES} lines: {long:#?}");
    let vague = offenders(|path, _| {
        let name = Path::new(path).file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        ["mod", "util", "utils", "helper", "helpers", "manager", "common", "misc"].contains(&name)
    });
    assert!(vague.is_empty(), "files with a vague name: {vague:#?}");
}

/// A file beside the folders would be a program of its own, and one without a module would not be compiled.
#[test]
fn every_end_to_end_test_is_in_their_program() {
    let names = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let tests = root().join("tests/tests");
    let programs: Vec<_> = names(&tests).into_iter().filter(|name| name.ends_with(".rs")).collect();
    assert!(programs.is_empty(), "move these to tests/tests/end_to_end: {programs:?}");
    let folder = tests.join("end_to_end");
    let modules = fs::read_to_string(folder.join("main.rs")).unwrap_or_default();
    let files = names(&folder).into_iter().filter_map(|name| name.strip_suffix(".rs").map(str::to_owned));
    let files: Vec<_> = files.filter(|name| name != "main").collect();
    assert!(files.len() > 10, "the files are where this test looks: {files:?}");
    let missing: Vec<_> = files.iter().filter(|name| !modules.contains(&format!("mod {name};"))).collect();
    assert!(missing.is_empty(), "files that main.rs does not name: {missing:?}");
}

/// `./verify` runs no documentation tests.
#[test]
fn no_code_block_of_the_documentation_is_a_test() {
    let is_test = |text: &str| {
        let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("//"));
        let fences = comments.filter_map(|line| line.get(1..)?.trim_start().strip_prefix("```"));
        fences.step_by(2).any(|label| !["text", "sh"].contains(&label))
    };
    let tests = offenders(|_, text| is_test(text));
    assert!(tests.is_empty(), "files with a code block that is neither `text` nor `sh`: {tests:#?}");
    assert!(is_test("/// ```\n/// let it = 1;\n/// ```"), "the rule finds one");
}

#[test]
fn machines_are_pure() {
    let banned = ["tokio", "async ", ".await", "SystemTime", "Instant::", "rand::", "HashMap", "HashSet"];
    let pure = |path: &str| {
        path.starts_with("scheduler/machine/src")
            || path.starts_with("worker/attempt/src")
            || path == "worker/src/mcp/classify.rs"
    };
    let looked_at = sources().iter().filter(|(path, _)| pure(path)).count();
    assert!(looked_at > 10, "the pure files are where this test looks: {looked_at}");
    let impure = offenders(|path, text| {
        let mut code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        pure(path) && code.any(|line| banned.iter().any(|word| line.contains(word)))
    });
    assert!(impure.is_empty(), "pure files that are not: {impure:#?}");
}

#[test]
fn pure_crates_have_no_dependency_that_does_io() {
    for part in ["proto", "suggest", "workflow", "scheduler/machine", "worker/attempt"] {
        let list = dependencies(part);
        for banned in ["tokio", "async", "reqwest", "rusqlite", "redis", "rand", "rmcp", "mio", "socket"] {
            assert!(!list.contains(banned), "{part} depends on {banned}");
        }
    }
}

#[test]
fn dependencies_go_one_way() {
    let ours = |part: &str, allowed: &[&str]| {
        let list = dependencies(part);
        let found: Vec<_> = list
            .lines()
            .filter_map(|line| line.split(['.', ' ']).next())
            .filter(|name| name.starts_with("longshore-") && !allowed.contains(name))
            .map(str::to_owned)
            .collect();
        assert!(found.is_empty(), "{part} depends on {found:?}");
    };
    ours("proto", &[]);
    ours("suggest", &[]);
    ours("workflow", &["longshore-proto", "longshore-suggest"]);
    ours("ports", &["longshore-proto"]);
    ours("scheduler/machine", &["longshore-proto", "longshore-workflow"]);
    ours("scheduler", &["longshore-proto", "longshore-workflow", "longshore-ports", "longshore-machine"]);
    ours("worker/attempt", &["longshore-proto"]);
    ours("worker", &["longshore-proto", "longshore-suggest", "longshore-ports", "longshore-attempt"]);
    ours("harness", &[]);
    ours("bench", &["longshore-proto", "longshore-harness"]);
    ours("adapters/tls", &[]);
    ours("adapters/embedded", &["longshore-proto", "longshore-ports"]);
    ours("adapters/redis", &["longshore-proto", "longshore-ports", "longshore-tls"]);
    // This adapter also serves the requests that the scheduler answers.
    ours("adapters/nats", &["longshore-proto", "longshore-ports", "longshore-scheduler", "longshore-tls"]);
}

#[test]
fn adapters_are_named_only_where_a_process_is_composed() {
    // Each adapter, and the only part of the command line that may name it.
    let adapters =
        [("embedded", "cli/src/embedded"), ("nats", "cli/src/cluster"), ("redis", "cli/src/cluster")];
    for (adapter, place) in adapters {
        let named = offenders(|path, text| {
            path.starts_with("cli/src")
                && !path.starts_with(place)
                && text.contains(&format!("longshore_{adapter}::"))
        });
        assert!(named.is_empty(), "{adapter} named outside of {place}: {named:#?}");
    }
}

#[test]
fn every_page_of_the_documentation_is_in_its_index() {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap_or_default();
    let entries = fs::read_dir(root().join("docs")).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let pages: Vec<_> = names.filter(|name| name.ends_with(".md") && name != "README.md").collect();
    assert!(pages.len() > 10, "the walk finds the pages: {pages:?}");
    let missing: Vec<_> = pages.iter().filter(|page| !index.contains(&format!("]({page})"))).collect();
    assert!(missing.is_empty(), "pages that docs/README.md does not list: {missing:?}");
}

#[test]
fn the_glossary_has_every_word_of_the_code() {
    let words = fs::read_to_string(root().join("proto/src/lib.rs")).unwrap_or_default();
    let words: Vec<_> = words
        .lines()
        .filter_map(|line| line.strip_prefix("//! | ")?.split_once(" |"))
        .map(|(word, _)| word.to_lowercase())
        .filter(|word| word != "word")
        .collect();
    assert!(words.len() > 5, "the table is where this test looks: {words:?}");
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap_or_default();
    let missing: Vec<_> = words.iter().filter(|word| !glossary.contains(&format!("| {word} |"))).collect();
    assert!(missing.is_empty(), "words of proto/src/lib.rs that docs/glossary.md lacks: {missing:?}");
}
