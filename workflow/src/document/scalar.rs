//! The values of plain (unquoted) YAML scalars, by the core schema of YAML 1.2.
//!
//! Unlike in YAML 1.1, `yes`, `no`, `on` and `off` are text. Dates are text as well.

use serde_json::Number;

use super::NodeKind;

/// Returns the value of a plain scalar. `None` for a number that has no form in JSON.
pub(super) fn resolve(text: &str) -> Option<NodeKind> {
    let kind = match text {
        "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
        "true" | "True" | "TRUE" => NodeKind::Bool(true),
        "false" | "False" | "FALSE" => NodeKind::Bool(false),
        _ if is_no_json_number(text) => return None,
        _ => match radix(text).or_else(|| decimal(text)) {
            Some(integer) => NodeKind::Number(integer),
            None if looks_like_a_number(text) => NodeKind::Number(Number::from_f64(text.parse().ok()?)?),
            None => NodeKind::Text(text.to_owned()),
        },
    };
    Some(kind)
}

/// Returns true for infinity and not-a-number.
fn is_no_json_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// Parses `0x1f` and `0o17`.
fn radix(text: &str) -> Option<Number> {
    let (digits, radix) = match text.split_at_checked(2)? {
        ("0x", digits) => (digits, 16),
        ("0o", digits) => (digits, 8),
        _ => return None,
    };
    let clean = digits.chars().all(|c| c.is_digit(radix));
    clean.then(|| u64::from_str_radix(digits, radix).ok()).flatten().map(Number::from)
}

/// Parses a whole number that fits 64 bits. A longer one becomes a float, as in JSON.
fn decimal(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

/// Matches `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`.
fn looks_like_a_number(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, fraction)) => digits(whole) && (fraction.is_empty() || digits(fraction)),
        None => digits(mantissa),
    };
    mantissa && exponent.is_none_or(digits)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::document::DocumentNode;
    use crate::source::Span;

    fn value(text: &str) -> Option<Value> {
        resolve(text).map(|kind| DocumentNode { span: Span::default(), kind }.to_json())
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        let cases = [
            ("", json!(null)),
            ("~", json!(null)),
            ("true", json!(true)),
            ("False", json!(false)),
            ("yes", json!("yes")),
            ("no", json!("no")),
            ("on", json!("on")),
            ("off", json!("off")),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("007", json!(7)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("0b1", json!("0b1")),
            ("1_000", json!("1_000")),
            ("9223372036854775807", json!(i64::MAX)),
            ("18446744073709551615", json!(u64::MAX)),
            ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
            ("1.5", json!(1.5)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1e3", json!(1000.0)),
            ("-2.5E-1", json!(-0.25)),
            ("1e", json!("1e")),
            ("e1", json!("e1")),
            (".", json!(".")),
            ("-", json!("-")),
            ("inf", json!("inf")),
            ("1.2.3", json!("1.2.3")),
            ("2026-11-20", json!("2026-11-20")),
            ("12:30", json!("12:30")),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn numbers_without_a_json_form_are_refused() {
        for text in [".inf", "-.INF", ".nan", "1e400", "-1e999"] {
            assert_eq!(value(text), None, "{text}");
        }
    }
}
