//! A bound on how many values a text holds, counted before it is read.
//!
//! An element of a list may be one byte long and takes 32 bytes or more once it is read, an element of a list of lists
//! several times that. So what comes from outside is counted first, in one pass that keeps nothing. Of a text that is broken
//! nothing is said here; whoever reads it next has the better words.

use std::cell::Cell;
use std::fmt;

use longshore_workflow::find_lossy_integer;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// How many values a submit or a request may hold. A list of 200,000 numbers fits into a message, and takes about 25 MiB of
/// memory in the worst case.
pub(crate) const REQUEST_NODES: usize = 200_000;

/// How many values a large value may hold that a run reads: about 130 MiB of memory in the worst case.
pub(crate) const VALUE_NODES: usize = 1_000_000;

/// How deep a body in MessagePack may be nested. JSON is bounded by its parser, to about the same.
pub(crate) const DEPTH: usize = 128;

/// A text holds too many values.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "it holds more than {limit} values (elements, names and values of objects): send fewer, or a text that holds them"
)]
pub(crate) struct TooManyNodes {
    limit: usize,
}

/// Counts the values of a JSON text.
pub(crate) fn check_json(text: &[u8], limit: usize) -> Result<(), TooManyNodes> {
    // A value has a byte at least.
    if text.len() <= limit { Ok(()) } else { check(&mut serde_json::Deserializer::from_slice(text), limit) }
}

/// The reason for refusing a JSON text for which [`loses_digits`] is true. It does not repeat the number, which may be a secret.
pub(crate) const LOST_DIGITS: &str =
    "a whole number has more than 64 bits, and its last digits would be lost: send it as text";

/// Returns true if a JSON text holds a whole number of more than 64 bits. MessagePack has no such numbers.
pub(crate) fn loses_digits(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| find_lossy_integer(text).is_some())
}

/// Counts the values of a body in MessagePack.
pub(crate) fn check_message_pack(body: &[u8], limit: usize) -> Result<(), TooManyNodes> {
    if body.len() <= limit {
        return Ok(());
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(body);
    deserializer.set_max_depth(DEPTH);
    check(&mut deserializer, limit)
}

fn check<'de>(deserializer: impl Deserializer<'de>, limit: usize) -> Result<(), TooManyNodes> {
    let counted = Cell::new(0);
    // An error says that there are too many, or that the text is broken.
    let _ = Counter { counted: &counted, limit }.deserialize(deserializer);
    if counted.get() > limit { Err(TooManyNodes { limit }) } else { Ok(()) }
}

/// Counts a value and all that it holds.
#[derive(Clone, Copy)]
struct Counter<'a> {
    counted: &'a Cell<usize>,
    limit: usize,
}

impl Counter<'_> {
    fn one<E: Error>(self) -> Result<(), E> {
        self.counted.set(self.counted.get() + 1);
        if self.counted.get() > self.limit { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Counter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => { $(fn $visit<E: Error>(self, _: $type) -> Result<(), E> {
        self.one()
    })* };
}

impl<'de> Visitor<'de> for Counter<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str, visit_bytes: &[u8]);

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.one()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.one()?;
        while list.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.one()?;
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
    fn every_element_name_and_value_counts() {
        let text = r#"{"inputs": {"list": [0, [1.5], {"a": null}, "x", true]}}"#;
        // The object, `inputs`, its object, `list`, the list, 0, the list in it, 1.5, the object, `a`, null, "x", true.
        let count = 13;
        let packed = rmp_serde::to_vec(&serde_json::from_str::<serde_json::Value>(text).expect("JSON"));
        let packed = packed.expect("MessagePack");
        assert_eq!(check_json(text.as_bytes(), count), Ok(()));
        assert_eq!(check_json(text.as_bytes(), count - 1), Err(TooManyNodes { limit: count - 1 }));
        assert_eq!(check_message_pack(&packed, count), Ok(()));
        assert_eq!(check_message_pack(&packed, count - 1), Err(TooManyNodes { limit: count - 1 }));
    }

    #[test]
    fn lists_of_one_byte_elements_are_refused_in_both_formats() {
        let json = format!("[{}0]", "0,".repeat(REQUEST_NODES));
        assert!(check_json(json.as_bytes(), REQUEST_NODES).is_err());
        let count = u32::try_from(REQUEST_NODES + 1).expect("it fits").to_be_bytes();
        let mut packed = vec![0xdd];
        packed.extend(count);
        packed.extend(std::iter::repeat_n(0_u8, REQUEST_NODES + 1));
        assert!(check_message_pack(&packed, REQUEST_NODES).is_err());
    }

    #[test]
    fn deep_and_broken_texts_neither_end_the_process_nor_are_counted() {
        for text in ["[".repeat(1_000_000), "{\"a\":".repeat(300_000), "\"".to_owned() + &"x".repeat(300_000)]
        {
            assert_eq!(check_json(text.as_bytes(), REQUEST_NODES), Ok(()));
        }
        // Lists of one element, each in the one before.
        assert_eq!(check_message_pack(&vec![0x91; 1_000_000], REQUEST_NODES), Ok(()));
    }
}
