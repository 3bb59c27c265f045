//! Comparison of numbers in JSON texts with the 64-bit numbers that they become.

use serde_json::Number;

/// Number of significant digits that a float always keeps, if its exponent is not extreme.
const KEPT_DIGITS: usize = 15;

/// Returns the first number of a JSON text that a 64-bit number cannot hold: a whole number of more than 64 bits, or a
/// fraction whose decimal value changes when it is read as a float.
///
/// A fraction with the 17 digits by which many programs write a float (`%.17g`) is no such number.
pub fn find_lossy_number(json: &str) -> Option<&str> {
    json_numbers(json).find(|number| loses_digits(number))
}

/// Returns the first number of a JSON text that is larger than any float.
pub fn find_infinite_number(json: &str) -> Option<&str> {
    json_numbers(json).find(|number| number.parse().is_ok_and(f64::is_infinite))
}

/// Returns true for a number in decimal form that a 64-bit number cannot hold. A number beyond the range of floats is not
/// one: parsers refuse it.
pub fn loses_digits(number: &str) -> bool {
    let unsigned = number.strip_prefix(['+', '-']).unwrap_or(number);
    let digits = unsigned.bytes().filter(u8::is_ascii_digit).count();
    if digits == unsigned.len() {
        let signed = number.strip_prefix('+').unwrap_or(number);
        return digits > 0 && signed.parse::<i64>().is_err() && signed.parse::<u64>().is_err();
    }
    if digits <= KEPT_DIGITS && !unsigned.contains(['e', 'E']) {
        return false;
    }
    let (Ok(float), Some(decimal)) = (number.parse::<f64>(), Decimal::parse(number)) else { return false };
    let is_same = |printed: &str| Decimal::parse(printed).is_some_and(|printed| printed == decimal);
    float.is_finite() && !is_same(&format!("{float:e}")) && !is_same(&format!("{float:.16e}"))
}

/// Returns true if a number is written in the form in which it is printed. An exponent with a sign may have leading zeros and
/// an upper-case `E`: programs write it in several forms, and nothing but a number has it.
pub fn is_canonical(written: &str, number: &Number) -> bool {
    let printed = number.to_string();
    printed == written
        || signed_exponent(written).is_some_and(|parts| Some(parts) == signed_exponent(&printed))
}

/// Splits a number at its exponent, which is returned without leading zeros. `None` without an exponent that has a sign.
fn signed_exponent(number: &str) -> Option<(&str, char, &str)> {
    let (mantissa, exponent) = number.split_once(['e', 'E'])?;
    let sign = exponent.chars().next().filter(|sign| matches!(sign, '+' | '-'))?;
    Some((mantissa, sign, exponent.get(1..)?.trim_start_matches('0')))
}

/// A decimal number, such that equal values are equal: no digit at either end is a zero.
#[derive(Debug, Eq, PartialEq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    /// Power of ten of the last digit.
    exponent: i64,
}

impl Decimal {
    /// Parses a number of JSON. `None` if its exponent is too large for the type.
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let unsigned = whole.strip_prefix(['+', '-']).unwrap_or(whole);
        let all = format!("{unsigned}{fraction}");
        let digits = all.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { is_negative: false, digits: String::new(), exponent: 0 });
        }
        let shift = i64::try_from(all.len() - digits.len()).ok()? - i64::try_from(fraction.len()).ok()?;
        let exponent = exponent.parse::<i64>().ok()?.checked_add(shift)?;
        let digits = digits.trim_start_matches('0').to_owned();
        Some(Self { is_negative: whole.starts_with('-'), digits, exponent })
    }
}

/// Returns the numbers of a JSON text in their original form.
pub fn json_numbers(json: &str) -> impl Iterator<Item = &str> {
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            rest = rest.get(start..)?;
            if let Some(text) = rest.strip_prefix('"') {
                rest = after_string(text)?;
                continue;
            }
            let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (number, after) = rest.split_at_checked(end)?;
            rest = after;
            return Some(number);
        }
    })
}

/// Skips the content of a JSON string and its closing quote.
fn after_string(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    let end = text.find(|c: char| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    })?;
    text.get(end + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_lose_digits_are_found_outside_strings_only() {
        let long = "18446744073709551616";
        for text in [
            "{\"a\": 18446744073709551615, \"b\": -9223372036854775808}",
            "[1e400, \"18446744073709551616\", \"\\\"18446744073709551616\"]",
            "\"18446744073709551616",
            "",
        ] {
            assert_eq!(find_lossy_number(text), None, "{text}");
        }
        for text in [long.to_owned(), format!("{{\"a\\\\\": [1, {long}]}}"), format!("[\"\\\"\", {long}]")] {
            assert_eq!(find_lossy_number(&text), Some(long), "{text}");
        }
        assert_eq!(find_lossy_number("[-9223372036854775809]"), Some("-9223372036854775809"));
        assert_eq!(find_lossy_number("[0.1, 123456789012345678901.5]"), Some("123456789012345678901.5"));
    }

    #[test]
    fn fraction_loses_digits_if_its_decimal_value_changes() {
        let kept = [
            "0.1",
            "1.10",
            "-1.50E+2",
            "0.30000000000000004",
            "0.10000000000000001",
            "9007199254740992.0",
            "9007199254740994.000000000000000000",
            "1.7976931348623157e308",
            "5e-324",
            "0.0e-400",
            "-0.00000000000000000000",
            "1e22",
            "296e115",
            "1e400",
        ];
        for number in kept {
            assert!(!loses_digits(number), "{number}");
        }
        let lost = [
            "9007199254740993.0",
            "123456789012345678901.5",
            "0.1000000000000000055511151231257827",
            "1e-400",
            "-3e-324",
            "1.00000000000000000001",
        ];
        for number in lost {
            assert!(loses_digits(number), "{number}");
        }
    }

    #[test]
    fn exponents_with_a_sign_have_several_canonical_forms() {
        let is_canonical = |written: &str| is_canonical(written, &written.parse().expect(written));
        for written in ["1", "1.0", "-2.5", "1e-7", "1e-07", "2.5E-10", "1e+30", "1.5E+030"] {
            assert!(is_canonical(written), "{written}");
        }
        for written in ["1.10", "296e115", "2e115", "1e3", "1e+3", "1.50e-7", "10e-8"] {
            assert!(!is_canonical(written), "{written}");
        }
    }
}
