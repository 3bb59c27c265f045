//! The memory of a parsed JSON text, counted before parsing. Pure.
//!
//! Messages are bounded in bytes, but the three bytes `[],` become a value of some 50 bytes, and `{"":0},` takes some hundred times
//! its length.

/// Maximum memory of one message. A message of the largest common size, with rows of a table as objects, takes less.
pub(crate) const MOST_MEMORY_BYTES: usize = 256 << 20;

/// Memory of one value, with the spare capacity of its list.
const VALUE_BYTES: usize = 48;
/// Memory of a list besides its first value: it has capacity for four.
const LIST_BYTES: usize = 3 * VALUE_BYTES;
/// Memory of a name in an object: its text, and its share of further nodes.
const NAME_BYTES: usize = 64;
/// Memory of an object: a node of a tree with eleven names and values.
const OBJECT_BYTES: usize = 640;

/// Returns true if the values of a text take more than [`MOST_MEMORY_BYTES`], without the bytes of its strings. The text may be
/// invalid JSON.
pub(crate) fn exceeds_memory(text: &[u8]) -> bool {
    // Every counted value takes at least one byte of the text, so short texts need not be counted.
    text.len() > MOST_MEMORY_BYTES / OBJECT_BYTES && memory(text) > MOST_MEMORY_BYTES
}

fn memory(text: &[u8]) -> usize {
    let mut bytes = VALUE_BYTES;
    let mut rest = text;
    while let Some((byte, behind)) = rest.split_first() {
        let is_filled = |end: u8| behind.trim_ascii_start().first() != Some(&end);
        rest = behind;
        bytes = bytes.saturating_add(match byte {
            b',' => VALUE_BYTES,
            b':' => NAME_BYTES,
            b'[' if is_filled(b']') => VALUE_BYTES + LIST_BYTES,
            b'{' if is_filled(b'}') => VALUE_BYTES + OBJECT_BYTES,
            b'"' => {
                rest = after_string(behind);
                0
            }
            _ => 0,
        });
    }
    bytes
}

/// Returns the text after a string whose opening quote was read.
fn after_string(text: &[u8]) -> &[u8] {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        let is_end = rest.get(at) == Some(&b'"');
        rest = rest.get(at + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_without_their_texts() {
        for (text, wanted) in [
            ("", VALUE_BYTES),
            ("[]", VALUE_BYTES),
            ("[ ]", VALUE_BYTES),
            ("[1, 2]", 3 * VALUE_BYTES + LIST_BYTES),
            (r#""a, [b] {c} \" , \\\\""#, VALUE_BYTES),
            (r#"["a,b\\", "c"]"#, 3 * VALUE_BYTES + LIST_BYTES),
            (r#"{"a": {}, "b:c": 1}"#, 3 * VALUE_BYTES + OBJECT_BYTES + 2 * NAME_BYTES),
            (r#""an unfinished \"#, VALUE_BYTES),
        ] {
            assert_eq!(memory(text.as_bytes()), wanted, "{text}");
        }
    }

    #[test]
    fn ordinary_messages_of_the_largest_size_are_within_the_limit() {
        let row = r#"{"id": 123456, "name": "A customer's name", "city": "Hamburg", "active": true, "balance": 1234.56},"#;
        let rows = format!("[{}]", row.repeat(20 * 1024 * 1024 / row.len()));
        assert!(!exceeds_memory(rows.as_bytes()));
        assert!(!exceeds_memory("1234567,".repeat(4 << 20).as_bytes()));
        assert!(!exceeds_memory(format!("[\"{}\"]", "[],".repeat(10 << 20)).as_bytes()));
        for many in ["[],", "{\"\":0},", "[0],", "0,"] {
            assert!(exceeds_memory(many.repeat((30 << 20) / many.len()).as_bytes()), "{many}");
        }
    }
}
