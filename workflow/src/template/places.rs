//! Where secrets belong in the arguments of a call.
//!
//! While a template is rendered, every input that is secret and stands by itself is noted down with the way to it. The
//! text there is the name of the secret and stays; the places travel beside the arguments.

use longshore_proto::SecretPlace;
use serde_json::Value;

use super::error;
use crate::expr::{EvalError, Expr};
use crate::inputs::secret_name;

/// What the places of one call may take as text: they travel in the message of its job, beside at most 64 KiB of
/// arguments. Room for some hundred of them.
const LIMIT_BYTES: usize = 16 * 1024;

/// One step on the way to a part of a value.
pub(super) enum Segment<'t> {
    Key(&'t str),
    Item(usize),
}

/// The places that were found so far.
pub(super) struct Places<'t> {
    is_secret: &'t dyn Fn(&str) -> bool,
    found: Vec<SecretPlace>,
    /// How many bytes may still be added.
    room: usize,
}

impl<'t> Places<'t> {
    pub(super) const fn new(is_secret: &'t dyn Fn(&str) -> bool) -> Self {
        Self { is_secret, found: Vec::new(), room: LIMIT_BYTES }
    }

    pub(super) fn found(self) -> Vec<SecretPlace> {
        self.found
    }

    /// Notes down an expression if it is a secret input by itself. `at` is where its value begins in its text.
    pub(super) fn note(
        &mut self,
        expr: &Expr,
        value: &Value,
        way: &[Segment<'_>],
        at: usize,
    ) -> Result<(), EvalError> {
        if !expr.input().is_some_and(self.is_secret) {
            return Ok(());
        }
        let Some(name) = secret_name(value) else {
            return Err(error(expr, "the input is secret, and its value is not the name of a secret"));
        };
        let pointer = pointer(way);
        let bytes = pointer.len() + name.as_str().len();
        let Some(room) = self.room.checked_sub(bytes) else {
            return Err(error(expr, "the call has too many places for secrets; make it several calls"));
        };
        self.room = room;
        self.found.push(SecretPlace { pointer, at, name });
        Ok(())
    }
}

/// The way as a JSON Pointer: `~` and `/` within a key are written `~0` and `~1`.
fn pointer(way: &[Segment<'_>]) -> String {
    let mut pointer = String::new();
    for segment in way {
        pointer.push('/');
        match segment {
            Segment::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            Segment::Item(number) => pointer.push_str(&number.to_string()),
        }
    }
    pointer
}
