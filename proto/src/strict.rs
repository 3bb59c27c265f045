//! Strict deserialization of JSON values: duplicate keys and numbers that JSON cannot represent are refused.
//!
//! Most parsers take the last of two entries with the same key and report nothing. An infinite or not-a-number value of
//! MessagePack would become `null`. Documents of users and clients are refused instead.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Number of characters of a repeated key that an error shows.
const SHOWN_CHARS: usize = 60;

/// A value without duplicate keys and without numbers that are not finite, at any depth.
#[derive(Clone, Debug, PartialEq)]
pub struct StrictValue(pub Value);

impl<'de> Deserialize<'de> for StrictValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

/// Reads a map as [`StrictValue`] does. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// If a key occurs twice in a map, if a number is not finite, and if the format refuses the text.
pub fn strict_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_map(MapVisitor)
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                let shown: String = key.chars().take(SHOWN_CHARS).collect();
                return Err(A::Error::custom(format_args!("the key `{shown}` is written twice")));
            }
            let StrictValue(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(map)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::custom("a number is not finite, and JSON has no form for it"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(StrictValue(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        MapVisitor.visit_map(entries).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_keys_and_numbers_without_a_json_form_are_refused() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 0.5, "x\n", {}], "b": {"a": []}}"#;
        let read: StrictValue = serde_json::from_str(text).expect("valid");
        assert_eq!(read.0, serde_json::from_str::<Value>(text).expect("valid"));
        let packed = rmp_serde::to_vec(&read.0).expect("MessagePack");
        assert_eq!(rmp_serde::from_slice::<StrictValue>(&packed).expect("valid"), read);
        for (text, wanted) in [
            ("{\"a\": 1,\n \"a\": 1}", "the key `a` is written twice at line 2 column 4"),
            (r#"[{"b": {"c": 1, "\u0063": 2}}]"#, "the key `c` is written twice at line 1 column 24"),
        ] {
            let refused = serde_json::from_str::<StrictValue>(text).expect_err(text);
            assert_eq!(refused.to_string(), wanted, "{text}");
        }
        // A map of two entries, both named `a`.
        let packed = [0x82, 0xa1, b'a', 1, 0xa1, b'a', 2];
        assert!(rmp_serde::from_slice::<StrictValue>(&packed).is_err());
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let packed = rmp_serde::to_vec(&[value]).expect("MessagePack");
            let refused = rmp_serde::from_slice::<StrictValue>(&packed).expect_err("not finite");
            assert!(refused.to_string().contains("a number is not finite"), "{refused}");
        }
        let deep = "[".repeat(1_000_000);
        assert!(serde_json::from_str::<StrictValue>(&deep).is_err(), "the parser bounds the depth");
    }
}
