//! The table of the cases: every folder has a row and a test, and every row has a folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::cases::folder::cases;

/// Returns the folders of the cases, without `lib`, the code that their servers share.
fn folders() -> BTreeSet<String> {
    let entries = fs::read_dir(cases()).expect("the cases").flatten().filter(|entry| entry.path().is_dir());
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "lib").collect()
}

/// Returns the first cell of each row of the table, without back-ticks.
fn rows() -> Vec<String> {
    let text = fs::read_to_string(cases().join("README.md")).expect("the table");
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn every_case_has_one_row_of_the_table() {
    let (folders, rows) = (folders(), rows());
    assert!(folders.len() > 30, "{folders:?}");
    assert_eq!(rows, folders.into_iter().collect::<Vec<_>>(), "the rows are in the order of the folders");
}

#[test]
fn every_row_has_four_cells() {
    let text = fs::read_to_string(cases().join("README.md")).expect("the table");
    for row in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        assert!(cells.last().is_some_and(|state| state.starts_with("as expected")), "{row}");
    }
}

#[test]
fn every_case_has_a_test_that_runs_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/end_to_end/cases");
    let files = fs::read_dir(tests).expect("the tests").flatten().map(|entry| entry.path());
    let text: String = files.map(|file| fs::read_to_string(file).unwrap_or_default()).collect();
    let runs = |name: &String| {
        ["Case::of", "Case::served", "one_page_is_enough"]
            .iter()
            .any(|start| text.contains(&format!("{start}(\"{name}\")")))
    };
    let without: Vec<_> = folders().into_iter().filter(|name| !runs(name)).collect();
    assert!(without.is_empty(), "cases without a test: {without:?}");
}

#[test]
fn servers_of_cases_use_only_the_standard_library() {
    let modules =
        "fcntl http json mcphttp mcpstdio os signal struct subprocess sys termios threading time uuid";
    let known: BTreeSet<&str> = modules.split(' ').collect();
    let mut seen = 0;
    for folder in folders().into_iter().chain(["lib".to_owned()]) {
        for file in fs::read_dir(cases().join(folder)).expect("a folder").flatten().map(|entry| entry.path())
        {
            if file.extension().is_none_or(|extension| extension != "py") {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&file).expect("a server");
            assert!(text.starts_with("\"\"\""), "{} says what it is", file.display());
            let imports = text.lines().filter_map(|line| {
                line.strip_prefix("import ").or_else(|| line.strip_prefix("from ")?.split(" import").next())
            });
            for module in imports.flat_map(|line| line.split(", ")) {
                let top = module.split('.').next().unwrap_or_default();
                assert!(known.contains(top), "{} imports {module}", file.display());
            }
        }
    }
    assert!(seen > 30, "{seen} servers");
}
