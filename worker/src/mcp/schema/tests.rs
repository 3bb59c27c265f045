//! Schemas that are too expensive to compile or check, and schemas that are checked.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::*;

fn check(schema: &Value, arguments: &Value) -> Result<ArgumentMistakes, UncheckedReason> {
    let began = Instant::now();
    let checked = CompiledSchema::compile(schema).and_then(|compiled| compiled.check(schema, arguments));
    // A check without bounds would take hours.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?} in a debug build", began.elapsed());
    checked
}

/// Returns a schema of `levels` definitions that each name the next one twice: as a tree it has 2^`levels` leaves.
fn doubling(levels: usize, keyword: &str) -> Value {
    let next = |level: usize| json!({ "$ref": format!("#/$defs/a{}", level + 1) });
    let mut defs: serde_json::Map<_, _> = (0..levels)
        .map(|level| (format!("a{level}"), json!({ keyword: [next(level), next(level)] })))
        .collect();
    defs.insert(format!("a{levels}"), json!({ "type": "object" }));
    json!({ "$defs": defs, "$ref": "#/$defs/a0" })
}

#[test]
fn doubling_schemas_are_not_checked() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        assert!(
            matches!(check(&doubling(40, keyword), &json!({})), Err(UncheckedReason::TooMuchWork)),
            "{keyword}"
        );
    }
    assert!(check(&doubling(5, "allOf"), &json!({})).expect("small enough").is_empty());
    let by_instance = json!({ "$ref": "#/$defs/n", "$defs": { "n": {
        "properties": { "n": { "allOf": [{ "$ref": "#/$defs/n" }, { "$ref": "#/$defs/n" }] } } } } });
    let deep = (0..50).fold(json!({}), |inner, _| json!({ "n": inner }));
    assert!(matches!(check(&by_instance, &deep), Err(UncheckedReason::TooMuchWork)));
    assert!(check(&by_instance, &json!({ "n": {} })).expect("small enough").is_empty());
}

#[test]
fn schema_that_refers_to_itself_without_end_is_not_checked() {
    let own = json!({ "$ref": "#" });
    assert!(check(&own, &json!({})).is_err());
    let pair = json!({ "$ref": "#/$defs/a", "$defs": {
        "a": { "anyOf": [{ "$ref": "#/$defs/b" }] }, "b": { "not": { "$ref": "#/$defs/a" } } } });
    assert!(check(&pair, &json!({})).is_err());
}

#[test]
fn schemas_with_long_chains_or_many_patterns_are_not_compiled() {
    assert!(matches!(check(&doubling(3_000, "allOf"), &json!({})), Err(UncheckedReason::BeyondBound(_))));
    let patterns: serde_json::Map<_, _> =
        (0..300).map(|number| (format!("p{number}"), json!({ "pattern": format!("a{number}") }))).collect();
    assert!(matches!(
        check(&json!({ "properties": patterns }), &json!({})),
        Err(UncheckedReason::BeyondBound(_))
    ));
    let nested = (0..100).fold(json!({}), |inner, _| json!({ "anyOf": [inner] }));
    assert!(check(&nested, &json!({})).is_ok_and(|mistakes| mistakes.is_empty()));
}

#[test]
fn slow_patterns_and_large_values_are_not_checked() {
    let schema = json!({ "properties": { "text": { "pattern": "[ab]*a[ab]{3000}z" } } });
    assert!(matches!(
        check(&schema, &json!({ "text": "ab".repeat(100_000) })),
        Err(UncheckedReason::TooMuchWork)
    ));
    assert!(check(&schema, &json!({ "text": "ab" })).is_ok_and(|mistakes| mistakes.len() == 1));
    let unique = json!({ "properties": { "list": { "uniqueItems": true, "contains": { "const": 0 } } } });
    let list = |items: u32| json!({ "list": (1..items).collect::<Vec<_>>() });
    assert!(matches!(check(&unique, &list(500_000)), Err(UncheckedReason::TooMuchWork)));
    assert!(check(&unique, &list(1_000)).is_ok_and(|mistakes| mistakes.len() == 1));
}

/// Returns `levels` definitions that each name the next one twice, and forbid members that no definition evaluates.
fn doubling_unevaluated(levels: usize) -> Value {
    let mut schema = doubling(levels, "anyOf");
    for level in 0..levels {
        schema["$defs"][format!("a{level}")]["unevaluatedProperties"] = json!(false);
    }
    schema
}

/// Returns definitions that name the next one with every keyword from which `unevaluatedProperties` collects.
fn widening_unevaluated(levels: usize) -> Value {
    let level = |level: usize| {
        let next = json!({ "$ref": format!("#/$defs/a{}", level + 1) });
        let definition = json!({ "allOf": [next], "if": next, "dependentSchemas": { "s": next },
            "unevaluatedProperties": next, "unevaluatedItems": false });
        (format!("a{level}"), definition)
    };
    let mut defs: serde_json::Map<_, _> = (0..levels).map(level).collect();
    defs.insert(format!("a{levels}"), json!({ "properties": { "s": true } }));
    json!({ "type": "object", "$defs": defs, "$ref": "#/$defs/a0" })
}

#[test]
fn schemas_with_expanded_references_are_not_compiled() {
    for levels in [15, 16, 17, 22, 40] {
        for schema in [doubling_unevaluated(levels), widening_unevaluated(levels)] {
            assert!(
                matches!(check(&schema, &json!({})), Err(UncheckedReason::BeyondBound(_))),
                "{levels}: {schema}"
            );
        }
    }
    let items = doubling_unevaluated(30).to_string().replace("unevaluatedProperties", "unevaluatedItems");
    let items: Value = serde_json::from_str(&items).expect("JSON");
    assert!(matches!(check(&items, &json!({})), Err(UncheckedReason::BeyondBound(_))));
}

#[test]
fn schema_with_an_exponential_search_for_discriminators_is_not_compiled() {
    let wide = |level: usize| {
        let next = vec![json!({ "$ref": format!("#/$defs/a{}", level + 1) }); 20];
        (format!("a{level}"), json!({ "allOf": next }))
    };
    let mut defs: serde_json::Map<_, _> = (0..7).map(wide).collect();
    defs.insert("a7".to_owned(), json!({}));
    let schema = json!({ "$defs": defs, "properties": { "x": {
        "oneOf": [{ "$ref": "#/$defs/a0" }, { "type": "null" }, { "type": "string" }] } } });
    assert!(matches!(check(&schema, &json!({})), Err(UncheckedReason::BeyondBound(_))));
}

#[test]
fn schemas_with_unevaluated_members_are_checked() {
    let cases = [
        json!({ "type": "object", "properties": { "s": { "type": "string" } }, "unevaluatedProperties": false }),
        json!({ "$defs": { "base": { "properties": { "s": { "type": "string" } } },
                "tree": { "properties": { "children": { "items": { "$ref": "#/$defs/tree" } } },
                    "allOf": [{ "$ref": "#/$defs/base" }], "unevaluatedProperties": false } },
            "$ref": "#/$defs/tree" }),
        json!({ "oneOf": (0..30).map(|kind| json!({ "required": ["s"], "properties": {
                "s": { "const": format!("k{kind}") }, "kind": {} }, "unevaluatedProperties": false }))
                .collect::<Vec<_>>() }),
        json!({ "properties": { "s": { "$ref": "#/$defs/a%20b" } }, "unevaluatedProperties": false,
            "$defs": { "a b": { "type": "string" } } }),
        doubling_unevaluated(5),
        widening_unevaluated(4),
    ];
    let fits = [
        json!({ "s": "k1" }),
        json!({ "s": "k1" }),
        json!({ "s": "k1" }),
        json!({ "s": "k1" }),
        json!({}),
        json!({ "s": 1 }),
    ];
    for (schema, fits) in cases.iter().zip(fits) {
        assert!(check(schema, &fits).expect("small enough").is_empty(), "{schema}");
    }
    for schema in &cases[..5] {
        assert!(!check(schema, &json!({ "unknown": 1 })).expect("small enough").is_empty(), "{schema}");
    }
}

#[test]
fn checks_that_evaluate_members_again_at_every_level_are_not_made() {
    let inner = json!({ "maxProperties": 0 });
    let nested = (0..30).fold(inner, |inner, _| json!({ "allOf": [inner], "unevaluatedProperties": false }));
    assert!(check(&nested, &json!({ "s": 1 })).is_err());
    let by_instance = json!({ "$ref": "#/$defs/n", "$defs": { "n": { "anyOf": [{ "type": "object" }],
        "unevaluatedProperties": { "$ref": "#/$defs/n" } } } });
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!({ "n": inner }));
    assert!(matches!(check(&by_instance, &deep(40)), Err(UncheckedReason::TooMuchWork)));
    assert_eq!(check(&by_instance, &deep(5)).expect("small enough").len(), 1);
}
