//! Reading a JSON object field by field, collecting every problem instead of stopping at the first.
//!
//! A small reader for the servers file: each `take_` removes a field and reports it if its type is wrong; what is
//! left over at the end is unknown, and the caller decides whether that is an error.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The fields of one object that have not been taken yet.
pub(super) struct Fields<'a> {
    place: String,
    map: Map<String, Value>,
    problems: &'a mut Vec<String>,
}

impl<'a> Fields<'a> {
    /// The fields of an object at `place` in the file; none, and a problem, if it is not an object.
    pub(super) fn of(place: String, value: Value, problems: &'a mut Vec<String>) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { place, map, problems }),
            other => {
                problems.push(format!("{place}: must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// Reports a problem with a field.
    pub(super) fn refuse(&mut self, field: &str, why: impl std::fmt::Display) {
        self.problems.push(format!("{}.{field}: {why}", self.place));
    }

    /// Whether a field is there.
    pub(super) fn has(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// Any value.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field)
    }

    /// A text.
    pub(super) fn take_text(&mut self, field: &str) -> Option<String> {
        match self.map.remove(field)? {
            Value::String(text) => Some(text),
            other => self.mistyped(field, "text", &other),
        }
    }

    /// A switch.
    pub(super) fn take_bool(&mut self, field: &str) -> Option<bool> {
        match self.map.remove(field)? {
            Value::Bool(value) => Some(value),
            other => self.mistyped(field, "true or false", &other),
        }
    }

    /// A whole number within bounds.
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

    /// A list of texts.
    pub(super) fn take_texts(&mut self, field: &str) -> Option<Vec<String>> {
        let value = self.map.remove(field)?;
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        });
        if texts.is_none() {
            self.refuse(field, "must be a list of texts");
        }
        texts
    }

    /// An object of texts.
    pub(super) fn take_text_map(&mut self, field: &str) -> Option<BTreeMap<String, String>> {
        let value = self.map.remove(field)?;
        let texts = value.as_object().and_then(|map| {
            map.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
        });
        if texts.is_none() {
            self.refuse(field, "must be an object of texts");
        }
        texts
    }

    /// The names of the fields that nobody took.
    pub(super) fn rest(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    fn mistyped<T>(&mut self, field: &str, wanted: &str, found: &Value) -> Option<T> {
        self.refuse(field, format!("must be {wanted}, not {}", kind(found)));
        None
    }
}

/// What a value is, for messages. Never the value itself: it may be a credential.
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
