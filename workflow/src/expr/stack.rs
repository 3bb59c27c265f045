//! Stack space for the parser and the evaluator of expressions, which recurse.
//!
//! The depth of both is limited before they run. The stack of a level was measured for `cel` 0.15.0; it is ten times as large
//! without optimisation. Nothing is allocated if the stack of the thread is large enough.

/// Stack for the worst expression within the limits: 32 brackets at 170 KiB, and 4 KiB of chained operators at 2 KiB each
/// (debug build); 8 KiB and 0.5 KiB (release build).
const PARSER_BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 2 << 20 };

/// Stack for the evaluation of one level of a tree. Measured: 40 KiB in a debug build, 2 KiB in a release build.
const LEVEL_BYTES: usize = if cfg!(debug_assertions) { 64 << 10 } else { 4 << 10 };

/// Stack for the functions around the evaluation.
const BASE_BYTES: usize = 128 << 10;

/// Runs the parser with enough stack.
pub(super) fn to_parse<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(PARSER_BYTES, PARSER_BYTES, run)
}

/// Runs the evaluator with enough stack for a tree of this depth.
pub(super) fn to_evaluate<T>(depth: usize, run: impl FnOnce() -> T) -> T {
    let bytes = BASE_BYTES + depth * LEVEL_BYTES;
    stacker::maybe_grow(bytes, bytes, run)
}
