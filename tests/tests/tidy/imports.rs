//! Imports between the files of a crate: no file uses itself by way of others, so that each can be read after those it uses.

use std::collections::{BTreeMap, BTreeSet};

use crate::{CRATES, sources};

/// The files that each file of a crate uses, by their module paths. The path of the root file is empty.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn files_of_a_crate_import_each_other_in_one_direction() {
    let sources = sources();
    let (mut looked_at, mut in_cycles) = (0, Vec::new());
    for folder in CRATES {
        let files = sources.iter().filter_map(|(path, text)| {
            let name = path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
            Some((if ["lib", "main"].contains(&name) { "" } else { name }.replace('/', "::"), text.as_str()))
        });
        let imports = imports(&files.collect());
        looked_at += imports.len();
        in_cycles.extend(cycles(imports).into_iter().map(|name| format!("{folder}: {name}")));
    }
    assert!(looked_at > 300, "the files are where this test looks: {looked_at}");
    assert!(
        in_cycles.is_empty(),
        "files that are part of cycles, or lead from one to another: {in_cycles:#?}"
    );
}

fn imports(files: &BTreeMap<String, &str>) -> Imports {
    let used = |module: &str, text: &str| {
        let paths = used_paths(module, text).into_iter().map(|path| file_of(&path, files));
        paths.filter(|file| file != module).collect()
    };
    files.iter().map(|(module, text)| (module.clone(), used(module, text))).collect()
}

/// Returns the file with the longest path that a path begins with.
fn file_of(path: &[String], files: &BTreeMap<String, &str>) -> String {
    let beginnings =
        (0..=path.len()).rev().map(|length| path.iter().take(length).cloned().collect::<Vec<_>>());
    beginnings.map(|path| path.join("::")).find(|path| files.contains_key(path)).unwrap_or_default()
}

/// Returns the paths from the root of the crate that the `use` declarations of a file outside of its tests name.
fn used_paths(module: &str, text: &str) -> Vec<Vec<String>> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let own: Vec<String> = module.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let starts = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "];
    let mut paths = Vec::new();
    for (place, _) in code.match_indices('\n').chain([(0, "")]) {
        let rest = code.get(place..).unwrap_or_default().trim_start_matches('\n');
        let Some(declaration) = starts.iter().find_map(|start| rest.strip_prefix(start)) else { continue };
        let declaration = declaration.split(';').next().unwrap_or_default();
        for path in expanded(&declaration.split_whitespace().collect::<Vec<_>>().join(" ")) {
            paths.extend(from_root(&path, &own));
        }
    }
    paths
}

/// Returns a path from the root of the crate. `None` for a path of another crate.
fn from_root(path: &str, own: &[String]) -> Option<Vec<String>> {
    let mut names = path.split("::").peekable();
    let mut base = match *names.peek()? {
        "crate" => {
            names.next();
            Vec::new()
        }
        "self" => {
            names.next();
            own.to_vec()
        }
        "super" => own.to_vec(),
        _ => return None,
    };
    while names.next_if(|name| *name == "super").is_some() {
        base.pop();
    }
    Some(base.into_iter().chain(names.map(|name| name.trim().to_owned())).collect())
}

/// Returns the paths of a declaration without its braces: `a::{b, c::{d, e}}` gives three.
fn expanded(declaration: &str) -> Vec<String> {
    let Some((before, inside)) = declaration.trim().split_once('{') else {
        let path = declaration.trim().split(" as ").next().unwrap_or_default();
        return if path.is_empty() { Vec::new() } else { vec![path.to_owned()] };
    };
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inside.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.iter().flat_map(|part| expanded(part)).map(|path| format!("{before}{path}")).collect()
}

/// Returns the files that are left when those that use no other one, or that no other one uses, are removed again and again.
fn cycles(mut imports: Imports) -> BTreeSet<String> {
    loop {
        let used: BTreeSet<String> = imports.values().flatten().cloned().collect();
        let before = imports.len();
        imports.retain(|file, uses| !uses.is_empty() && used.contains(file));
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        imports.values_mut().for_each(|uses| uses.retain(|file| left.contains(file)));
        if imports.len() == before {
            return left;
        }
    }
}

#[test]
fn cycles_of_imports_are_found_through_braces_and_parents() {
    let files = BTreeMap::from([
        (String::new(), "mod a;\nmod c;\npub use a::A;\n"),
        ("a".to_owned(), "mod b;\nuse self::b::{\n    B,\n};\nuse crate::c::{C as D, x::{y, z}};\n"),
        (
            "a::b".to_owned(),
            "use super::{A, std};\n\n#[cfg(test)]\nmod tests {\n    use super::super::c;\n}\n",
        ),
        ("c".to_owned(), "use std::a;\n"),
    ]);
    let imports = imports(&files);
    assert_eq!(imports["a"], BTreeSet::from(["a::b".to_owned(), "c".to_owned()]));
    assert_eq!(cycles(imports), BTreeSet::from(["a".to_owned(), "a::b".to_owned()]));
}
