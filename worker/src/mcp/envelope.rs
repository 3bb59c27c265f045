//! The envelope of a JSON-RPC message, read from its bytes without keeping them.
//!
//! A message that is too large is never held in memory, but the call that it answers must be found. [`EnvelopeScan`]
//! follows strings and nesting through the whole message, however it is cut into pieces, and keeps the top-level `id`
//! alone. Pure.

/// The longest `id` that is kept, in bytes. The ids of our own requests are small numbers.
const ID_LIMIT_BYTES: usize = 64;

/// The longest key that is compared: the ones that matter have at most six bytes.
const KEY_LIMIT_BYTES: usize = 8;

/// The kind of a message, as far as its top-level keys tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Envelope {
    /// The response to the request with this id, as JSON text.
    Response { id: String },
    /// A request or a notification of the server.
    FromServer,
    /// Not a JSON-RPC message, or a response without an id that can be read.
    Unknown,
}

/// Reads the envelope of one message.
#[derive(Debug, Default)]
pub(crate) struct EnvelopeScan {
    depth: usize,
    string: StringState,
    /// Whether the next string is a key of the top-level object.
    key_is_next: bool,
    field: Field,
    /// The key or the id that is being read.
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
enum Field {
    #[default]
    Other,
    Key,
    Id,
}

impl EnvelopeScan {
    /// Reads on. `piece` must not hold the newline that ends the message.
    pub(crate) fn read(&mut self, mut piece: &[u8]) {
        while let Some((&byte, rest)) = piece.split_first() {
            if self.string == StringState::Inside && self.field == Field::Other {
                // Most bytes of a large message are inside of a string that does not matter.
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

    /// The envelope, once the whole message was read.
    pub(crate) fn finish(self) -> Envelope {
        match self.id {
            _ if self.has_method => Envelope::FromServer,
            Some(id) if self.has_result && self.depth == 0 => Envelope::Response { id },
            _ => Envelope::Unknown,
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
            Field::Other => {}
            Field::Key if is_end => self.field = Field::Other,
            Field::Key => self.capture(byte, KEY_LIMIT_BYTES),
            Field::Id => self.capture(byte, ID_LIMIT_BYTES),
        }
    }

    fn outside(&mut self, byte: u8) {
        let is_top = self.depth == 1;
        match byte {
            b'"' => {
                self.string = StringState::Inside;
                if is_top && self.key_is_next {
                    self.field = Field::Key;
                    self.captured.clear();
                } else if self.field == Field::Id {
                    self.capture(byte, ID_LIMIT_BYTES);
                }
            }
            b'{' | b'[' => {
                // An id that is an object or a list is none.
                self.field = Field::Other;
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
                self.key();
            }
            _ if byte.is_ascii_whitespace() => {}
            _ if self.field == Field::Id => self.capture(byte, ID_LIMIT_BYTES),
            _ => {}
        }
    }

    fn key(&mut self) {
        match self.captured.as_slice() {
            b"id" => self.field = Field::Id,
            b"method" => self.has_method = true,
            b"result" | b"error" => self.has_result = true,
            _ => {}
        }
        self.captured.clear();
    }

    fn end_of_value(&mut self) {
        if self.field == Field::Id {
            self.field = Field::Other;
            self.id = id(&self.captured);
        }
    }

    /// Keeps one byte more than `limit` at most, so that a text that was cut equals none that matters.
    fn capture(&mut self, byte: u8, limit: usize) {
        if self.captured.len() <= limit {
            self.captured.push(byte);
        }
    }
}

/// An id as JSON text; nothing if it is neither a whole number nor a string.
fn id(text: &[u8]) -> Option<String> {
    if text.len() > ID_LIMIT_BYTES {
        return None;
    }
    let value: serde_json::Value = serde_json::from_slice(text).ok()?;
    (value.is_string() || value.is_u64() || value.is_i64()).then(|| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(id: &str) -> Envelope {
        Envelope::Response { id: id.to_owned() }
    }

    #[test]
    fn finds_the_id_wherever_it_is_and_however_the_message_is_cut() {
        let long = "x".repeat(100);
        let cases = [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"id":8,"a":["}",{"id":9}]}}"#, response("7")),
            (r#" { "result" : { "text" : "\"id\":8, \\" } , "id" : "a\"b" } "#, response(r#""a\"b""#)),
            (r#"{"id":7,"error":{"code":1}}"#, response("7")),
            (r#"{"result":[[{"method":1}]],"id":-3}"#, response("-3")),
            (r#"{"id":7,"method":"x","params":{}}"#, Envelope::FromServer),
            (r#"{"params":{"id":7,"result":1},"method":"x"}"#, Envelope::FromServer),
            (r#"{"id":null,"result":1}"#, Envelope::Unknown),
            (r#"{"id":{"id":7},"result":1}"#, Envelope::Unknown),
            (r#"{"id":7.5,"result":1}"#, Envelope::Unknown),
            (r#"{"result":1,"identity":7}"#, Envelope::Unknown),
            (r#"{"id":7}"#, Envelope::Unknown),
            (r#"[{"id":7,"result":1}]"#, Envelope::Unknown),
            (r#"{"id":7,"result":{"#, Envelope::Unknown),
            ("no message, \"id\": 7, \"result\": 1", Envelope::Unknown),
            ("", Envelope::Unknown),
        ];
        let too_long = format!(r#"{{"id":"{long}","result":1}}"#);
        let cases = cases.into_iter().chain([(too_long.as_str(), Envelope::Unknown)]);
        for (message, wanted) in cases {
            for size in [1, 2, 3, 7, 1000] {
                let mut scan = EnvelopeScan::default();
                message.as_bytes().chunks(size).for_each(|piece| scan.read(piece));
                assert_eq!(scan.finish(), wanted, "{message} in pieces of {size}");
            }
        }
    }

    #[test]
    fn keeps_little_of_what_it_reads() {
        let mut scan = EnvelopeScan::default();
        scan.read(b"{\"id\":\"");
        for _ in 0..1000 {
            scan.read(&[b'x'; 1000]);
        }
        assert!(scan.captured.capacity() < 1000, "{}", scan.captured.capacity());
    }
}
