//! The text of a servers file as a JSON value.
//!
//! Editors and other hosts write these files as JSONC, so comments, trailing commas and a byte order mark are accepted. All other
//! syntax is that of JSON. A key that occurs twice is reported, because parsers disagree about the value that counts.

use std::collections::BTreeMap;

use jsonc_parser::ast::{Object, ObjectProp, Value as Node};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Number, Value};

/// Maximum number of repeated keys that are reported. Each takes a scan of the text for its line number.
const MOST_DUPLICATES: usize = 20;

/// JSON with comments and trailing commas, and without the other additions of JSON5, which no host of MCP servers reads.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The value of a text, and its repeated keys.
#[derive(Debug)]
pub(super) struct JsonDocument {
    pub(super) value: Value,
    /// Keys that occur more than once in their object. The last one is in `value`.
    pub(super) duplicates: Vec<DuplicateKey>,
}

/// A key that occurs more than once in its object.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct DuplicateKey {
    /// Keys from the outermost object to this key.
    pub(super) path: Vec<String>,
    /// Line of the earlier occurrence, starting at 1.
    earlier_line: usize,
    /// Line of the later occurrence.
    later_line: usize,
}

impl DuplicateKey {
    /// Returns the sentence that reports the key, without its path.
    pub(super) fn problem(&self) -> String {
        let lines = match (self.earlier_line, self.later_line) {
            (earlier, later) if earlier == later => format!("in line {later}"),
            (earlier, later) => format!("in lines {earlier} and {later}"),
        };
        format!("is written twice, {lines}; keep one of them")
    }
}

/// Reads a text.
///
/// # Errors
/// Line, column and reason of a mistake in the syntax.
pub(super) fn read(text: &str) -> Result<JsonDocument, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &OPTIONS).map_err(|error| {
        let why = lowercase_first(&error.kind().to_string());
        format!("not valid JSON at line {}, column {}: {why}", error.line_display(), error.column_display())
    })?;
    let node = parsed.value.ok_or("the file is empty; write an object with `mcpServers`")?;
    let mut conversion = JsonConversion { text, path: Vec::new(), duplicates: Vec::new() };
    let value = conversion.value(node);
    Ok(JsonDocument { value, duplicates: conversion.duplicates })
}

/// The conversion of a syntax tree to a JSON value, which records repeated keys.
struct JsonConversion<'a> {
    text: &'a str,
    /// Keys from the outermost object to the current value.
    path: Vec<String>,
    duplicates: Vec<DuplicateKey>,
}

impl JsonConversion<'_> {
    /// Converts a value. The parser bounds the nesting, and so the recursion.
    fn value(&mut self, node: Node<'_>) -> Value {
        match node {
            Node::NullKeyword(_) => Value::Null,
            Node::BooleanLit(literal) => Value::Bool(literal.value),
            Node::StringLit(literal) => Value::String(literal.value.into_owned()),
            // A number that is out of range becomes text, which no field for numbers accepts.
            Node::NumberLit(literal) => match literal.value.parse::<Number>() {
                Ok(number) => Value::Number(number),
                Err(_) => Value::String(literal.value.to_owned()),
            },
            Node::Array(list) => list.elements.into_iter().map(|element| self.value(element)).collect(),
            Node::Object(object) => Value::Object(self.object(object)),
        }
    }

    fn object(&mut self, object: Object<'_>) -> Map<String, Value> {
        let (mut map, mut starts) = (Map::new(), BTreeMap::new());
        for property in object.properties {
            let start = property.start();
            let ObjectProp { name, value, .. } = property;
            let name = name.into_string();
            self.path.push(name.clone());
            if let Some(earlier) = starts.insert(name.clone(), start) {
                self.note_duplicate(earlier, start);
            }
            let value = self.value(value);
            self.path.pop();
            map.insert(name, value);
        }
        map
    }

    fn note_duplicate(&mut self, earlier: usize, later: usize) {
        if self.duplicates.len() < MOST_DUPLICATES {
            let (earlier_line, later_line) = (self.line(earlier), self.line(later));
            self.duplicates.push(DuplicateKey { path: self.path.clone(), earlier_line, later_line });
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.get(..offset).map_or(0, |before| before.matches('\n').count()) + 1
    }
}

fn lowercase_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_trailing_commas_and_a_byte_order_mark_are_accepted() {
        let text = "\u{feff}{\r\n// one\r\n\"a\": [1, -2.5, true, null,], /* two */ \"b\": {\"c\": \"// \\u00e9\",},\r\n}";
        let document = read(text).expect("valid");
        assert_eq!(document.value, json!({"a": [1, -2.5, true, null], "b": {"c": "// é"}}));
        assert_eq!(document.duplicates, []);
    }

    #[test]
    fn mistakes_are_reported_with_their_line_and_column() {
        for (text, wanted) in [
            ("{", "not valid JSON at line 1, column 1: unterminated object"),
            ("{\n  \"a\": 1\n  \"b\": 2\n}", "not valid JSON at line 2, column 9: expected comma"),
            ("{\n  a: 1 }", "not valid JSON at line 2, column 3: expected string for object property"),
            ("{ 'a': 1 }", "not valid JSON at line 1, column 3: single-quoted strings are not allowed"),
            ("{\"a\": NaN}", "not valid JSON at line 1, column 7: unexpected token"),
            ("{} {}", "not valid JSON at line 1, column 4: text cannot contain more than one JSON value"),
            (" // nothing", "the file is empty; write an object with `mcpServers`"),
        ] {
            assert_eq!(read(text).expect_err(text), wanted, "{text}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(&deep).expect_err("deep").ends_with("maximum nesting depth exceeded"));
    }

    #[test]
    fn repeated_keys_are_reported_with_their_path_and_lines() {
        let document =
            read("{\"s\": {\n\"a\": 1,\n\"b\": {\"a\": 1},\n\"a\": 2\n},\n\"t\": [{\"x\": 1, \"x\": 2}]}");
        let duplicates = document.expect("valid").duplicates;
        let shown: Vec<_> = duplicates.iter().map(|it| (it.path.join("."), it.problem())).collect();
        assert_eq!(
            shown,
            [
                ("s.a".to_owned(), "is written twice, in lines 2 and 4; keep one of them".to_owned()),
                ("t.x".to_owned(), "is written twice, in line 6; keep one of them".to_owned()),
            ]
        );
    }
}
