//! Conversion between JSON and the values of the evaluator.
//!
//! The serde support of `cel` would make every positive number unsigned, so that `n + 1` would be an error. Here, whole
//! numbers are `int` if they fit a signed 64-bit integer, else `uint`. All others are `double`.

use std::collections::BTreeMap;
#[expect(
    clippy::disallowed_types,
    reason = "the crate's map is built from one; its order never shows, see `bind`"
)]
use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString, CelUInt,
};
use cel::common::value::Val;
use serde_json::{Map, Number, Value};

/// The largest nesting depth of a value. `serde_json` parses up to 128 levels.
const DEPTH_LIMIT: usize = 256;

/// The error of a value that cannot be converted.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConvertError {
    #[error("the value is nested more than {DEPTH_LIMIT} levels deep")]
    TooDeep,
    #[error("the result is {0}, which JSON cannot hold")]
    NoJson(String),
    #[error("the result is an optional; write `.orValue(x)` to say what it is when nothing is there")]
    Optional,
}

/// Converts a JSON value for the evaluator. Texts are borrowed.
pub(super) fn to_val(value: &Value) -> Result<Box<dyn Val + '_>, ConvertError> {
    convert(value, DEPTH_LIMIT, CelString::from)
}

/// Converts a JSON value for the evaluator. Texts are copied.
pub(super) fn to_owned_val<'v>(value: &Value) -> Result<Box<dyn Val + 'v>, ConvertError> {
    convert(value, DEPTH_LIMIT, |text| CelString::from(text.to_owned()))
}

fn convert<'a, 'v>(
    value: &'a Value,
    depth: usize,
    text: fn(&'a str) -> CelString<'v>,
) -> Result<Box<dyn Val + 'v>, ConvertError> {
    let below = depth.checked_sub(1).ok_or(ConvertError::TooDeep)?;
    Ok(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => number_to_val(number),
        Value::String(value) => Box::new(text(value)),
        Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|item| convert(item, below, text)).collect();
            Box::new(CelList::from(items?))
        }
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, item)| Ok((CelMapKey::String(text(key)), convert(item, below, text)?)));
            #[expect(clippy::disallowed_types, reason = "see the import")]
            let entries: Result<HashMap<_, _>, ConvertError> = entries.collect();
            Box::new(CelMap::from(entries?))
        }
    })
}

fn number_to_val<'v>(number: &Number) -> Box<dyn Val + 'v> {
    if let Some(integer) = number.as_i64() {
        Box::new(CelInt::from(integer))
    } else if let Some(integer) = number.as_u64() {
        Box::new(CelUInt::from(integer))
    } else {
        Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
    }
}

/// Returns the content of an optional value. `None` if the value is not optional.
pub(super) fn optional<'b, 'v>(value: &'b (dyn Val + 'v)) -> Option<Option<&'b (dyn Val + 'v)>> {
    value.downcast_ref::<CelOptional<'v>>().map(CelOptional::inner)
}

/// Converts a value of the evaluator to JSON.
pub(super) fn to_json(value: &dyn Val) -> Result<Value, ConvertError> {
    to_json_at(value, DEPTH_LIMIT * 2)
}

fn to_json_at(value: &dyn Val, depth: usize) -> Result<Value, ConvertError> {
    let below = depth.checked_sub(1).ok_or(ConvertError::TooDeep)?;
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return list.inner().iter().map(|item| to_json_at(item.as_ref(), below)).collect();
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let sorted: BTreeMap<String, &dyn Val> =
            map.inner().iter().map(|(key, item)| (key_text(key), item.as_ref() as &dyn Val)).collect();
        let entries = sorted.into_iter().map(|(key, item)| Ok((key, to_json_at(item, below)?)));
        return entries.collect::<Result<Map<_, _>, _>>().map(Value::Object);
    }
    scalar(value)
}

fn scalar(value: &dyn Val) -> Result<Value, ConvertError> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        Ok(Value::String(text.inner().to_owned()))
    } else if let Some(integer) = value.downcast_ref::<CelInt>() {
        Ok(Value::from(*integer.inner()))
    } else if let Some(flag) = value.downcast_ref::<CelBool>() {
        Ok(Value::Bool(*flag.inner()))
    } else if let Some(float) = value.downcast_ref::<CelDouble>() {
        let number = Number::from_f64(*float.inner());
        number.map(Value::Number).ok_or_else(|| ConvertError::NoJson(float.inner().to_string()))
    } else if value.downcast_ref::<CelNull>().is_some() {
        Ok(Value::Null)
    } else if let Some(integer) = value.downcast_ref::<CelUInt>() {
        Ok(Value::from(*integer.inner()))
    } else if value.downcast_ref::<CelOptional<'_>>().is_some() {
        Err(ConvertError::Optional)
    } else {
        Err(ConvertError::NoJson(format!("a value of type {}", value.get_type().name())))
    }
}

/// Converts a key to text, since JSON has no other keys.
fn key_text(key: &CelMapKey<'_>) -> String {
    match key {
        CelMapKey::Bool(flag) => flag.inner().to_string(),
        CelMapKey::Int(integer) => integer.inner().to_string(),
        CelMapKey::String(text) => text.inner().to_owned(),
        CelMapKey::UInt(integer) => integer.inner().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_values_round_trip() {
        let value = json!({
            "int": -3, "big": u64::MAX, "float": 2.5, "whole": 2.0, "text": "ü", "null": null,
            "list": [1, [true, {"a": {}}]],
        });
        let there = to_val(&value).expect("it is not deep");
        assert_eq!(to_json(there.as_ref()).expect("JSON can hold it"), value);
    }

    #[test]
    fn positive_numbers_become_signed_integers() {
        let number = json!(3);
        assert_eq!(to_val(&number).expect("a number").get_type().name(), "int");
    }

    #[test]
    fn nesting_depth_is_bounded() {
        let deep = (0..DEPTH_LIMIT + 1).fold(json!(1), |inner, _| json!([inner]));
        assert!(matches!(to_val(&deep), Err(ConvertError::TooDeep)));
    }
}
