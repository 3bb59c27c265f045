//! The places of secrets in the arguments of a call.
//!
//! Rendering a template records the path to each secret input that is an expression by itself. The arguments contain the
//! reference to the secret, and the job contains the list of places beside them.

use longshore_proto::SecretPlace;
use serde_json::Value;

use super::error;
use crate::expr::{EvalError, Expr};
use crate::inputs::secret_name;

/// The largest size of the places of a call, in bytes of text. They are part of the job's message, beside at most 64 KiB of
/// arguments. Some hundred places fit.
const LIMIT_BYTES: usize = 16 * 1024;

/// A segment of the path to a node.
pub(super) enum PointerSegment<'t> {
    Key(&'t str),
    Item(usize),
}

/// The places of secrets that were found so far.
pub(super) struct SecretPlaces<'t> {
    is_secret: &'t dyn Fn(&str) -> bool,
    found: Vec<SecretPlace>,
    /// Number of bytes that may still be added.
    room: usize,
}

impl<'t> SecretPlaces<'t> {
    pub(super) const fn new(is_secret: &'t dyn Fn(&str) -> bool) -> Self {
        Self { is_secret, found: Vec::new(), room: LIMIT_BYTES }
    }

    pub(super) fn found(self) -> Vec<SecretPlace> {
        self.found
    }

    /// Records the place of an expression that is a secret input. `at` is the byte offset of its value in its text.
    pub(super) fn record(
        &mut self,
        expr: &Expr,
        value: &Value,
        path: &[PointerSegment<'_>],
        at: usize,
    ) -> Result<(), EvalError> {
        if !expr.input().is_some_and(self.is_secret) {
            return Ok(());
        }
        let Some(name) = secret_name(value) else {
            return Err(error(expr, "the input is secret, and its value is not the name of a secret"));
        };
        let pointer = pointer(path);
        let bytes = pointer.len() + name.as_str().len();
        let Some(room) = self.room.checked_sub(bytes) else {
            return Err(error(expr, "the call has too many places for secrets; make it several calls"));
        };
        self.room = room;
        self.found.push(SecretPlace { pointer, at, name });
        Ok(())
    }
}

/// Converts a path to a JSON Pointer. `~` and `/` within a key become `~0` and `~1`.
fn pointer(path: &[PointerSegment<'_>]) -> String {
    let mut pointer = String::new();
    for segment in path {
        pointer.push('/');
        match segment {
            PointerSegment::Key(key) => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
            PointerSegment::Item(number) => pointer.push_str(&number.to_string()),
        }
    }
    pointer
}
