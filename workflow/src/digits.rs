//! Detection of numbers in JSON texts that have more digits than a parsed number can hold.

/// Returns the first whole number of a JSON text that does not fit 64 bits. Parsers read it as a float, with other digits.
pub fn find_lossy_integer(json: &str) -> Option<&str> {
    numbers(json).find(|number| {
        let digits = number.strip_prefix('-').unwrap_or(number);
        let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err()
    })
}

/// Returns the numbers of a JSON text in their original form.
pub(crate) fn numbers(json: &str) -> impl Iterator<Item = &str> {
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
    fn whole_numbers_beyond_64_bits_are_found_outside_strings_only() {
        let long = "18446744073709551616";
        for text in [
            "{\"a\": 18446744073709551615, \"b\": -9223372036854775808}",
            "[1.0000000000000000000001, 1e400, \"18446744073709551616\", \"\\\"18446744073709551616\"]",
            "\"18446744073709551616",
            "",
        ] {
            assert_eq!(find_lossy_integer(text), None, "{text}");
        }
        for text in [long.to_owned(), format!("{{\"a\\\\\": [1, {long}]}}"), format!("[\"\\\"\", {long}]")] {
            assert_eq!(find_lossy_integer(&text), Some(long), "{text}");
        }
        assert_eq!(find_lossy_integer("[-9223372036854775809]"), Some("-9223372036854775809"));
    }
}
