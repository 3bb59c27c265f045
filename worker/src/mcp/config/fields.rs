//! A reader of a JSON object that collects every problem instead of stopping at the first.
//!
//! Each `take_` method removes a field, and reports a problem if its type is wrong. The remaining fields are unknown; the caller
//! decides if they are errors.

use std::collections::BTreeMap;

use longshore_proto::value_type;
use serde_json::{Map, Value};

/// The fields of an object that were not taken yet.
pub(super) struct ObjectFields<'a> {
    place: String,
    map: Map<String, Value>,
    problems: &'a mut Vec<String>,
}

impl<'a> ObjectFields<'a> {
    /// Creates the reader of an object at the path `place`, without fields that are `null`. Returns `None` and adds a problem if
    /// the value is not an object. The path is empty for the file itself, and for an entry whose name is added by the caller.
    pub(super) fn of(place: String, value: Value, problems: &'a mut Vec<String>) -> Option<Self> {
        match value {
            Value::Object(mut map) => {
                map.retain(|_, value| !value.is_null());
                Some(Self { place, map, problems })
            }
            other => {
                let place = if place.is_empty() { place } else { format!("{place}: ") };
                problems.push(format!("{place}must be an object, not {}", value_type(&other)));
                None
            }
        }
    }

    /// Reports a problem with a field.
    pub(super) fn refuse(&mut self, field: &str, why: impl std::fmt::Display) {
        let dot = if self.place.is_empty() { "" } else { "." };
        self.problems.push(format!("{}{dot}{field}: {why}", self.place));
    }

    /// Returns true if the object has a field.
    pub(super) fn has(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// Takes a field with any value.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field)
    }

    /// Takes a text.
    pub(super) fn take_text(&mut self, field: &str) -> Option<String> {
        match self.map.remove(field)? {
            Value::String(text) => Some(text),
            other => self.mistyped(field, "text", &other),
        }
    }

    /// Takes a boolean.
    pub(super) fn take_bool(&mut self, field: &str) -> Option<bool> {
        match self.map.remove(field)? {
            Value::Bool(value) => Some(value),
            other => self.mistyped(field, "true or false", &other),
        }
    }

    /// Takes a whole number within bounds.
    pub(super) fn take_number(&mut self, field: &str, least: u64, most: u64) -> Option<u64> {
        let value = self.map.remove(field)?;
        match value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                self.refuse(field, format!("must be a whole number from {least} to {most}, not {value}"));
                None
            }
        }
    }

    /// Takes a list of texts. Whole numbers, `true` and `false` become the text in which they are written.
    pub(super) fn take_texts(&mut self, field: &str) -> Option<Vec<String>> {
        let items = match self.map.remove(field)? {
            Value::Array(items) => items,
            other => return self.mistyped(field, "a list of texts", &other),
        };
        let mut texts = Vec::new();
        for (number, item) in (1..).zip(&items) {
            match scalar(item) {
                Ok(text) => texts.push(text),
                Err(found) => {
                    self.refuse(field, format!("item {number} must be text, not {found}"));
                    return None;
                }
            }
        }
        Some(texts)
    }

    /// Takes an object of texts. Whole numbers, `true` and `false` become the text in which they are written.
    pub(super) fn take_text_map(&mut self, field: &str) -> Option<BTreeMap<String, String>> {
        let map = match self.map.remove(field)? {
            Value::Object(map) => map,
            other => return self.mistyped(field, "an object of texts", &other),
        };
        let (mut texts, mut is_refused) = (BTreeMap::new(), false);
        for (name, value) in map {
            match scalar(&value) {
                Ok(text) => drop(texts.insert(name, text)),
                Err(found) => {
                    self.refuse(&format!("{field}.{name}"), format!("must be text, not {found}"));
                    is_refused = true;
                }
            }
        }
        (!is_refused).then_some(texts)
    }

    /// Returns the names of the fields that were not taken.
    pub(super) fn rest(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    fn mistyped<T>(&mut self, field: &str, wanted: &str, found: &Value) -> Option<T> {
        self.refuse(field, format!("must be {wanted}, not {}", value_type(found)));
        None
    }
}

/// Returns the text of a scalar, or the kind of any other value.
fn scalar(value: &Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) if !number.is_f64() => Ok(number.to_string()),
        // The digits of the file are not known: 1.10 is read as 1.1.
        Value::Number(_) => Err("a number with a fraction; put it in quotes"),
        other => Err(kind(other)),
    }
}

/// Returns the kind of a value for messages. The value itself is never shown, since it may be a credential.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
