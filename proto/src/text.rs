//! Words that travel as the text they print.
//!
//! Every message has many of them, so they are read where they stand, without a copy in between.

use std::fmt::{self, Display, Write as _};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// How long such a text usually is at most: a digest.
const USUAL_BYTES: usize = 64;

/// Writes a word as the text it prints.
pub(crate) fn write<S: Serializer>(word: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = String::with_capacity(USUAL_BYTES);
    write!(text, "{word}").map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

/// Reads a word from its text.
pub(crate) fn read<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: Display>,
    D: Deserializer<'de>,
{
    deserializer.deserialize_str(Text(PhantomData))
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: Display>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}
