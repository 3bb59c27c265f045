//! Serialization of types as the text of their `Display`.
//!
//! A message has many ids, so they are parsed from the borrowed input, without a copy in between.

use std::fmt::{self, Display, Write as _};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// Initial capacity of the buffer: the length of a digest, which is the longest of the usual texts.
const USUAL_BYTES: usize = 64;

/// Serializes a value as the text of its `Display`.
pub(crate) fn write<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(USUAL_BYTES);
    write!(text, "{value}").map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

/// Deserializes a value from its text with `FromStr`.
pub(crate) fn read<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(TextVisitor(PhantomData))
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
