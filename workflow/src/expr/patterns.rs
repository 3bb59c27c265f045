//! Regular expressions of `matches()`. A pattern is compiled once for each record, and work is charged before it is done.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cel::ExecutionError;
use longshore_proto::{PATTERN_LIMIT_BYTES, match_units, pattern_weight, wide_case_folds};
use regex::{Regex, RegexBuilder};

use super::units::RemainingUnits;

/// Cost of compiling a pattern of letters, digits and simple repetitions. Measured: below 0.1 ms.
const PLAIN_PATTERN_UNITS: u64 = 2_000;

/// Cost of compiling any other pattern, up to [`PATTERN_LIMIT_BYTES`]. Measured: at most 10 ms, mostly for classes of Unicode.
const PATTERN_UNITS: u64 = 100_000;

/// Cost of parsing a byte of a pattern. Measured: at most 0.8 µs.
const UNITS_PER_PATTERN_BYTE: u64 = 10;

/// Cost of a part of a pattern that is case-folded over much of Unicode. Measured: at most 20 ms.
const UNITS_PER_WIDE_FOLD: u64 = 200_000;

/// The compiled patterns of one record. The budget limits their number.
#[derive(Debug, Default)]
pub(super) struct CompiledPatterns(Mutex<BTreeMap<String, (Regex, u64)>>);

impl CompiledPatterns {
    /// Returns true if a text matches a pattern anywhere.
    pub(super) fn matches(
        &self,
        units: &RemainingUnits,
        text: &str,
        pattern: &str,
    ) -> Result<bool, ExecutionError> {
        let mut compiled = self.0.lock().map_err(|error| refuse(&error))?;
        if !compiled.contains_key(pattern) {
            compiled.insert(pattern.to_owned(), compile(units, pattern)?);
        }
        let Some((regex, weight)) = compiled.get(pattern) else { return Ok(false) };
        units.charge(1 + match_units(text, *weight))?;
        Ok(regex.is_match(text))
    }
}

fn compile(units: &RemainingUnits, pattern: &str) -> Result<(Regex, u64), ExecutionError> {
    let flat = if is_plain(pattern) { PLAIN_PATTERN_UNITS } else { PATTERN_UNITS };
    let bytes = u64::try_from(pattern.len()).unwrap_or(u64::MAX).saturating_mul(UNITS_PER_PATTERN_BYTE);
    let folds = wide_case_folds(pattern).saturating_mul(UNITS_PER_WIDE_FOLD);
    units.charge(flat.saturating_add(bytes).saturating_add(folds))?;
    let regex =
        RegexBuilder::new(pattern).size_limit(PATTERN_LIMIT_BYTES).build().map_err(|error| refuse(&error))?;
    let weight = pattern_weight(pattern).ok_or_else(|| refuse(&"the pattern cannot be read"))?;
    Ok((regex, weight))
}

/// Returns true for a pattern without counted repetitions, flags and non-ASCII classes.
fn is_plain(pattern: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" ^$|()[]-_+*?/:,;=@<>#%&!'\"~".contains(&byte);
    pattern.bytes().all(plain) && !pattern.contains("(?") && !pattern.contains("[^")
}

fn refuse(error: &dyn std::fmt::Display) -> ExecutionError {
    ExecutionError::function_error("matches", error)
}
