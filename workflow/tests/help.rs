//! The pieces of workflows in messages and explanations: each compiles in some place.

#![expect(clippy::expect_used, reason = "a surprise ends the test")]

use std::fs;
use std::path::Path;

use longshore_workflow::{codes, compile, explain};

/// Pieces that show a mistake, or that are not parts of a workflow.
const NOT_PROPOSED: [&str; 1] = ["${{ inputs.a ? 'b' : 'c' }}"];

/// Returns the sources of the crate without comments and tests, by file.
fn sources() -> Vec<(String, String)> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.is_dir() {
                open.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" && !path.ends_with("tests/work.rs") {
                let text = fs::read_to_string(&path).expect("a text");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let code: String = code
                    .lines()
                    .filter(|line| !line.trim_start().starts_with("//"))
                    .map(|line| format!("{line}\n"))
                    .collect();
                found.push((name, code));
            }
        }
    }
    found
}

/// Returns the pieces in backticks within the string literals of a source.
fn in_backticks(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in code.replace("\\\n", "").lines() {
        let mut parts = line.split('`').skip(1);
        while let (Some(piece), Some(_)) = (parts.next(), parts.next()) {
            found.push(piece.replace("\\\"", "\""));
        }
    }
    found
}

fn is_yaml(piece: &str) -> bool {
    let has_placeholder = piece.split('{').skip(1).any(|rest| {
        rest.split_once('}')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
    });
    (piece.contains(": ") || piece.starts_with("- ")) && !matches!(piece, ": " | "- ") && !has_placeholder
}

/// Returns true if the piece compiles in one of the places where it can occur.
fn compiles(piece: &str) -> bool {
    let indented = |spaces: usize| format!("{}{piece}", " ".repeat(spaces));
    let head = "longshore: v1\nname: demo\n";
    let inputs = "inputs: { url: {}, x: {}, a: {}, b: {}, order_id: {}, card_token: { secret: true } }\n";
    let steps = "steps:\n  - { id: fetch, call: x/y }\n  - { id: store, call: x/y }\n";
    let texts = [
        format!("{head}{inputs}{steps}{piece}\n"),
        format!("{head}{piece}\n{steps}"),
        format!("{piece}\nname: demo\n{steps}"),
        format!("longshore: v1\n{piece}\n{steps}"),
        format!("{head}{inputs}{piece}\n"),
        format!("{head}{inputs}{steps}{}\n", indented(2)),
        format!("{head}{inputs}{steps}  - call: x/y\n{}\n", indented(4)),
        format!("{head}{inputs}{steps}  - {piece}\n"),
        format!("{head}{inputs}{steps}  - call: x/y\n    with:\n{}\n", indented(6)),
        format!("{head}{inputs}{steps}  - call: x/y\n    with: {piece}\n"),
        format!("{head}{inputs}{steps}  - call: x/y\n    with:\n      x: {piece}\n"),
        format!("{head}{inputs}{steps}  - call: x/y\n    retry:\n{}\n", indented(6)),
        format!("{head}inputs:\n{}\n{steps}", indented(2)),
        format!("{head}inputs:\n  one:\n{}\n{steps}", indented(4)),
        format!("{head}inputs:\n  one:\n    type: array\n{}\n{steps}", indented(4)),
        format!("{head}inputs:\n  one:\n    secret: true\n{}\n{steps}", indented(4)),
        format!("{head}inputs: {{ one: {piece} }}\n{steps}"),
    ];
    texts.iter().any(|text| compile(text).is_ok())
}

#[test]
fn pieces_in_messages_compile() {
    let mut broken = Vec::new();
    let mut count = 0;
    for (file, code) in sources() {
        for piece in in_backticks(&code).into_iter().filter(|piece| is_yaml(piece)) {
            // In a format string, braces are doubled.
            let single = piece.replace("{{", "{").replace("}}", "}");
            count += 1;
            if !compiles(&piece) && !compiles(&single) && !NOT_PROPOSED.contains(&piece.as_str()) {
                broken.push(format!("{file}: {piece}"));
            }
        }
    }
    assert!(count > 20, "the pieces are where this test looks: {count}");
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn pieces_in_explanations_compile() {
    let pieces = codes().filter_map(explain).flat_map(in_backticks).filter(|piece| is_yaml(piece));
    let broken: Vec<_> =
        pieces.filter(|piece| !compiles(piece) && !NOT_PROPOSED.contains(&piece.as_str())).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
