//! The envelope of a JSON-RPC message, read from its bytes without keeping them.
//!
//! A message that is too large is never held in memory, but the call that it answers must be found. [`EnvelopeScan`] follows
//! strings and nesting through a message in pieces, and keeps the top-level `id` only. Pure.

/// The longest `id` that is kept, in bytes. The ids of Longshore's requests are small numbers.
const ID_LIMIT_BYTES: usize = 64;

/// The longest key that is compared: the known ones have at most six bytes.
const KEY_LIMIT_BYTES: usize = 8;

/// The kind of a message, read from its top-level keys.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum MessageEnvelope {
    /// The response to the request with this id, as JSON text.
    Response { id: String },
    /// A request or a notification of the server.
    FromServer,
    /// Any other text, or a response without a readable id.
    Unknown,
}

/// An incremental reader of the envelope of one message.
#[derive(Debug, Default)]
pub(crate) struct EnvelopeScan {
    depth: usize,
    string: StringState,
    /// The next string is a key of the top-level object.
    key_is_next: bool,
    field: EnvelopeField,
    /// Bytes of the key or the id that is being read.
    captured: Vec<u8>,
    id: Option<String>,
    has_method: bool,
    has_result: bool,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum StringState {
    #[default]
    Outside,
    Inside,
    /// After a backslash.
    Escaped,
}

/// The part of the top-level object that is being read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum EnvelopeField {
    #[default]
    Other,
    Key,
    Id,
}

impl EnvelopeScan {
    /// Reads the next piece of the message, which must not hold the newline that ends the message.
    pub(crate) fn read(&mut self, mut piece: &[u8]) {
        while let Some((&byte, rest)) = piece.split_first() {
            if self.string == StringState::Inside && self.field == EnvelopeField::Other {
                // Fast path: most bytes of a large message are inside of a string that is not captured.
                let end = piece.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                let Some((&byte, rest)) = end.and_then(|end| piece.get(end..)?.split_first()) else { return };
                self.in_string(byte);
                piece = rest;
            } else {
                match self.string {
                    StringState::Outside => self.outside(byte),
                    StringState::Inside | StringState::Escaped => self.in_string(byte),
                }
                piece = rest;
            }
        }
    }

    /// Returns the envelope. Called once the whole message was read.
    pub(crate) fn finish(self) -> MessageEnvelope {
        match self.id {
            _ if self.has_method => MessageEnvelope::FromServer,
            Some(id) if self.has_result && self.depth == 0 => MessageEnvelope::Response { id },
            _ => MessageEnvelope::Unknown,
        }
    }

    fn in_string(&mut self, byte: u8) {
        let is_end = byte == b'"' && self.string == StringState::Inside;
        self.string = match (self.string, byte) {
            (StringState::Inside, b'\\') => StringState::Escaped,
            _ if is_end => StringState::Outside,
            _ => StringState::Inside,
        };
        match self.field {
            EnvelopeField::Other => {}
            EnvelopeField::Key if is_end => self.field = EnvelopeField::Other,
            EnvelopeField::Key => self.capture(byte, KEY_LIMIT_BYTES),
            EnvelopeField::Id => self.capture(byte, ID_LIMIT_BYTES),
        }
    }

    fn outside(&mut self, byte: u8) {
        let is_top = self.depth == 1;
        match byte {
            b'"' => {
                self.string = StringState::Inside;
                if is_top && self.key_is_next {
                    self.field = EnvelopeField::Key;
                    self.captured.clear();
                } else if self.field == EnvelopeField::Id {
                    self.capture(byte, ID_LIMIT_BYTES);
                }
            }
            b'{' | b'[' => {
                // An id that is an object or a list is invalid.
                self.field = EnvelopeField::Other;
                self.key_is_next = self.depth == 0 && byte == b'{';
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                self.end_of_value();
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if is_top => {
                self.end_of_value();
                self.key_is_next = true;
            }
            b':' if is_top && self.key_is_next => {
                self.key_is_next = false;
                self.read_key();
            }
            _ if byte.is_ascii_whitespace() => {}
            _ if self.field == EnvelopeField::Id => self.capture(byte, ID_LIMIT_BYTES),
            _ => {}
        }
    }

    fn read_key(&mut self) {
        match self.captured.as_slice() {
            b"id" => self.field = EnvelopeField::Id,
            b"method" => self.has_method = true,
            b"result" | b"error" => self.has_result = true,
            _ => {}
        }
        self.captured.clear();
    }

    fn end_of_value(&mut self) {
        if self.field == EnvelopeField::Id {
            self.field = EnvelopeField::Other;
            self.id = read_id(&self.captured);
        }
    }

    /// Captures a byte. Keeps at most one byte more than `limit`, so that a cut text differs from every known one.
    fn capture(&mut self, byte: u8, limit: usize) {
        if self.captured.len() <= limit {
            self.captured.push(byte);
        }
    }
}

/// Returns an id as JSON text. Returns `None` if it is neither a whole number nor a string.
fn read_id(text: &[u8]) -> Option<String> {
    if text.len() > ID_LIMIT_BYTES {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    (value.is_string() || value.is_u64() || value.is_i64()).then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(id: &str) -> MessageEnvelope {
        MessageEnvelope::Response { id: id.to_owned() }
    }

    #[test]
    fn id_is_found_at_any_position_and_for_any_piece_size() {
        let long = "x".repeat(100);
        let cases = [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"id":8,"a":["}",{"id":9}]}}"#, response("7")),
            (r#" { "result" : { "text" : "\"id\":8, \\" } , "id" : "a\"b" } "#, response(r#""a\"b""#)),
            (r#"{"id":7,"error":{"code":1}}"#, response("7")),
            (r#"{"result":[[{"method":1}]],"id":-3}"#, response("-3")),
            (r#"{"id":7,"method":"x","params":{}}"#, MessageEnvelope::FromServer),
            (r#"{"params":{"id":7,"result":1},"method":"x"}"#, MessageEnvelope::FromServer),
            (r#"{"id":null,"result":1}"#, MessageEnvelope::Unknown),
            (r#"{"id":{"id":7},"result":1}"#, MessageEnvelope::Unknown),
            (r#"{"id":7.5,"result":1}"#, MessageEnvelope::Unknown),
            (r#"{"result":1,"identity":7}"#, MessageEnvelope::Unknown),
            (r#"{"id":7}"#, MessageEnvelope::Unknown),
            (r#"[{"id":7,"result":1}]"#, MessageEnvelope::Unknown),
            (r#"{"id":7,"result":{"#, MessageEnvelope::Unknown),
            ("no message, \"id\": 7, \"result\": 1", MessageEnvelope::Unknown),
            ("", MessageEnvelope::Unknown),
        ];
        let too_long = format!(r#"{{"id":"{long}","result":1}}"#);
        let cases = cases.into_iter().chain([(too_long.as_str(), MessageEnvelope::Unknown)]);
        for (message, wanted) in cases {
            for size in [1, 2, 3, 7, 1000] {
                let mut scan = EnvelopeScan::default();
                message.as_bytes().chunks(size).for_each(|piece| scan.read(piece));
                assert_eq!(scan.finish(), wanted, "{message} in pieces of {size}");
            }
        }
    }

    #[test]
    fn memory_of_a_scan_is_bounded() {
        let mut scan = EnvelopeScan::default();
        scan.read(b"{\"id\":\"");
        for _ in 0..1000 {
            scan.read(&[b'x'; 1000]);
        }
        assert!(scan.captured.capacity() < 1000, "{}", scan.captured.capacity());
    }
}
