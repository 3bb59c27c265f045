//! Bounds on foreign texts: their size, and the number of their values, which is checked before a text is decoded.
//!
//! An element of a list may be one byte of text, and takes 32 bytes of memory or more once it is decoded, an element of a
//! list of lists several times that. So the values of foreign texts are counted first, in one pass that allocates nothing. A
//! malformed text is not reported here; the decoder reports it with a better message.

use std::cell::Cell;
use std::fmt;

use longshore_proto::find_lossy_number;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Maximum number of bytes of a submit or a request, and of an answer: the largest message that a broker accepts by
/// default.
pub(crate) const REQUEST_LIMIT_BYTES: usize = 1024 * 1024;

/// Maximum number of values of a submit or a request. A list of 200,000 numbers fits into a message, and takes about 25
/// MiB of memory in the worst case.
pub(crate) const REQUEST_VALUE_LIMIT: usize = 200_000;

/// Deepest nesting of a body in MessagePack. The parser of JSON has about the same bound.
pub(crate) const MESSAGE_PACK_DEPTH: usize = 128;

/// Error: a text holds too many values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it holds more than {limit} values (elements, names and values of objects): send fewer, or a text that holds them"
)]
pub struct TooManyValues {
    limit: usize,
}

/// Checks the number of values of a JSON text.
pub(crate) fn check_json(text: &[u8], limit: usize) -> Result<(), TooManyValues> {
    // A value is at least one byte long.
    if text.len() <= limit { Ok(()) } else { check(&mut serde_json::Deserializer::from_slice(text), limit) }
}

/// Reason to refuse a JSON text for which [`loses_digits`] is true. It does not repeat the number, which may be a secret.
pub(crate) const LOST_DIGITS: &str =
    "a number has more digits than 64 bits hold, and its last digits would be lost: send it as text";

/// Returns true if a JSON text holds a number that 64 bits cannot hold. MessagePack has no such numbers.
pub(crate) fn loses_digits(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| find_lossy_number(text).is_some())
}

/// Checks the number of values of a body in MessagePack.
pub(crate) fn check_message_pack(body: &[u8], limit: usize) -> Result<(), TooManyValues> {
    if body.len() <= limit {
        return Ok(());
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(MESSAGE_PACK_DEPTH);
    check(&mut deserializer, limit)
}

fn check<'de>(deserializer: impl Deserializer<'de>, limit: usize) -> Result<(), TooManyValues> {
    let counted = Cell::new(0);
    // An error means that there are too many values, or that the text is malformed.
    let _ = ValueCounter { counted: &counted, limit }.deserialize(deserializer);
    if counted.get() > limit { Err(TooManyValues { limit }) } else { Ok(()) }
}

/// Visitor that counts a value and all values in it.
#[derive(Clone, Copy)]
struct ValueCounter<'a> {
    counted: &'a Cell<usize>,
    limit: usize,
}

impl ValueCounter<'_> {
    fn count_one<E: Error>(self) -> Result<(), E> {
        self.counted.set(self.counted.get() + 1);
        if self.counted.get() > self.limit { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for ValueCounter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => { $(fn $visit<E: Error>(self, _: $type) -> Result<(), E> {
        self.count_one()
    })* };
}

impl<'de> Visitor<'de> for ValueCounter<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.count_one()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.count_one()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.count_one()?;
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.count_one()?;
        while object.next_key_seed(self)?.is_some() {
            object.next_value_seed(self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_names_and_values_are_counted() {
        let text = r#"{"inputs": {"list": [0, [1.5], {"a": null}, "x", true]}}"#;
        // The object, `inputs`, its object, `list`, the list, 0, the list in it, 1.5, the object, `a`, null, "x", true.
        let count = 13;
        let packed = rmp_serde::to_vec(&serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
        let packed = packed.expect("MessagePack");
        assert_eq!(check_json(text.as_bytes(), count), Ok(()));
        assert_eq!(check_json(text.as_bytes(), count - 1), Err(TooManyValues { limit: count - 1 }));
        assert_eq!(check_message_pack(&packed, count), Ok(()));
        assert_eq!(check_message_pack(&packed, count - 1), Err(TooManyValues { limit: count - 1 }));
    }

    #[test]
    fn lists_of_one_byte_elements_are_refused_in_both_formats() {
        let json = format!("[{}0]", "0,".repeat(REQUEST_VALUE_LIMIT));
        assert!(check_json(json.as_bytes(), REQUEST_VALUE_LIMIT).is_err());
        let count = u32::try_from(REQUEST_VALUE_LIMIT + 1).expect("it fits").to_be_bytes();
        let mut packed = vec![0xdd];
        packed.extend(count);
        packed.extend(std::iter::repeat_n(0_u8, REQUEST_VALUE_LIMIT + 1));
        assert!(check_message_pack(&packed, REQUEST_VALUE_LIMIT).is_err());
    }

    #[test]
    fn deep_and_malformed_texts_are_left_to_the_decoder() {
        for text in ["[".repeat(1_000_000), "{\"a\":".repeat(300_000), "\"".to_owned() + &"x".repeat(300_000)]
        {
            assert_eq!(check_json(text.as_bytes(), REQUEST_VALUE_LIMIT), Ok(()));
        }
        // Nested lists of one element each.
        assert_eq!(check_message_pack(&vec![0x91; 1_000_000], REQUEST_VALUE_LIMIT), Ok(()));
    }
}
