//! Values whose maps have every key once.
//!
//! Parsers disagree about which of two entries with one key counts, and most take the last one without a word. What a person
//! or a client writes is refused instead.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The most characters of a repeated key that an error shows.
const SHOWN_CHARS: usize = 60;

/// A value in which no map has a key twice, at any depth.
#[derive(Clone, Debug, PartialEq)]
pub struct UniqueKeys(pub Value);

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

/// Reads a map as [`UniqueKeys`] does. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// A key that occurs twice in a map, and whatever the format refuses.
pub fn unique_keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
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
            let UniqueKeys(value) = entries.next_value()?;
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
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
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
        while let Some(UniqueKeys(item)) = items.next_element()? {
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
    fn values_are_read_as_they_are_and_repeated_keys_are_refused_with_their_place() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 0.5, "x\n", {}], "b": {"a": []}}"#;
        let read: UniqueKeys = serde_json::from_str(text).expect("valid");
        assert_eq!(read.0, serde_json::from_str::<Value>(text).expect("valid"));
        let packed = rmp_serde::to_vec(&read.0).expect("MessagePack");
        assert_eq!(rmp_serde::from_slice::<UniqueKeys>(&packed).expect("valid"), read);
        for (text, wanted) in [
            ("{\"a\": 1,\n \"a\": 1}", "the key `a` is written twice at line 2 column 4"),
            (r#"[{"b": {"c": 1, "\u0063": 2}}]"#, "the key `c` is written twice at line 1 column 24"),
        ] {
            let refused = serde_json::from_str::<UniqueKeys>(text).expect_err(text);
            assert_eq!(refused.to_string(), wanted, "{text}");
        }
        // A map of two entries, both named `a`.
        let packed = [0x82, 0xa1, b'a', 1, 0xa1, b'a', 2];
        assert!(rmp_serde::from_slice::<UniqueKeys>(&packed).is_err());
        let deep = "[".repeat(1_000_000);
        assert!(serde_json::from_str::<UniqueKeys>(&deep).is_err(), "the parser bounds the depth");
    }
}
