//! Type names: each is unique in its crate, so that a reader who finds one knows the type.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{CRATES, sources};

#[test]
fn type_names_are_unique_in_their_crate() {
    let sources = sources();
    let test_modules: Vec<_> = sources.iter().flat_map(|(path, text)| test_modules(path, text)).collect();
    let is_test = |path: &str| {
        test_modules
            .iter()
            .any(|module| path == format!("{module}.rs") || path.starts_with(&format!("{module}/")))
    };
    let (mut all, mut repeated) = (0, Vec::new());
    for folder in CRATES {
        let mut places: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (path, text) in sources.iter().filter(|(path, _)| path.starts_with(&format!("{folder}/"))) {
            if !is_test(path) {
                type_names(text).for_each(|name| places.entry(name).or_default().push(path));
            }
        }
        all += places.len();
        repeated.extend(places.into_iter().filter(|(_, places)| places.len() > 1));
    }
    assert!(all > 500, "the types are where this test looks: {all}");
    println!("{} of {all} type names occur twice in a crate", repeated.len());
    assert!(repeated.is_empty(), "these type names occur twice in a crate: {repeated:#?}");
}

/// Returns the names of the types that a file declares outside of its module of tests.
fn type_names(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines().filter_map(|line| {
        let line =
            line.strip_prefix("pub").map_or(line, |rest| rest.split_once(' ').map_or("", |(_, rest)| rest));
        let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
        let rest = kinds.iter().find_map(|kind| line.strip_prefix(kind))?;
        rest.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
    })
}

/// Returns the paths, without `.rs`, of the modules that a file declares for tests only.
fn test_modules(path: &str, text: &str) -> Vec<String> {
    let path = Path::new(path);
    let parent = path.parent().unwrap_or(path);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let folder = if ["lib", "main"].contains(&stem) { parent.to_owned() } else { parent.join(stem) };
    let declarations = text.split("#[cfg(test)]\n").skip(1);
    let names = declarations.filter_map(|rest| rest.lines().next()?.strip_suffix(';')?.rsplit_once("mod "));
    names.map(|(_, name)| folder.join(name).display().to_string()).collect()
}

#[test]
fn types_are_found_outside_of_tests() {
    let text = "pub(crate) struct One<T>(T);\nenum Two {\n    type Inner = u8;\n#[cfg(test)]\nmod tests {\nstruct Three;";
    assert_eq!(type_names(text).collect::<Vec<_>>(), ["One", "Two"]);
    assert_eq!(test_modules("a/src/lib.rs", "#[cfg(test)]\nmod scenario;\nmod other;"), ["a/src/scenario"]);
    assert_eq!(test_modules("a/src/b.rs", "#[cfg(test)]\npub(crate) mod c;"), ["a/src/b/c"]);
}
