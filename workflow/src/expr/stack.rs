//! Room on the stack for the parser and the evaluator of expressions, which recurse.
//!
//! Both are bounded in depth before they run; what a level costs was measured for `cel` 0.15.0 and is ten times as
//! much without optimisation. Where the thread's own stack is large enough, nothing happens.

/// What parsing the worst expression within the limits needs: 32 brackets at 170 KiB, and 4 KiB of chained operators
/// at 2 KiB each (debug build); 8 KiB and 0.5 KiB (release build).
const PARSER_BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 2 << 20 };

/// What evaluating one level of a tree needs: 40 KiB measured in a debug build, 2 KiB in a release build.
const LEVEL_BYTES: usize = if cfg!(debug_assertions) { 64 << 10 } else { 4 << 10 };

/// What everything around the evaluation needs.
const BASE_BYTES: usize = 128 << 10;

/// Runs the parser.
pub(super) fn to_parse<T>(run: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(PARSER_BYTES, PARSER_BYTES, run)
}

/// Runs the evaluator over a tree of this depth.
pub(super) fn to_evaluate<T>(depth: usize, run: impl FnOnce() -> T) -> T {
    let bytes = BASE_BYTES + depth * LEVEL_BYTES;
    stacker::maybe_grow(bytes, bytes, run)
}
