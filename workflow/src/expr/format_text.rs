//! The text of `format()`: values by their numbers, and literal braces.

/// Part of the text of `format()`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FormatPart<'t> {
    /// Text that is not changed.
    Plain(&'t str),
    /// The value with this index.
    Value(usize),
}

/// The error of a text that `format()` does not take: what is wrong, and what to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FormatError {
    pub(super) message: String,
    pub(super) help: String,
}

/// Returns the parts of a text, or an error at the first part that is invalid. `count` is the number of values.
pub(super) fn parts(text: &str, count: usize) -> impl Iterator<Item = Result<FormatPart<'_>, FormatError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        let (plain, from) = rest.split_at_checked(at)?;
        if !plain.is_empty() {
            rest = from;
            return Some(Ok(FormatPart::Plain(plain)));
        }
        if from.is_empty() {
            return None;
        }
        if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            rest = after;
            return Some(Ok(FormatPart::Plain(from.get(..1)?)));
        }
        let Some((inner, after)) = from.strip_prefix('{').and_then(|inner| inner.split_once('}')) else {
            rest = "";
            return Some(Err(single_brace()));
        };
        rest = after;
        Some(match inner.parse::<usize>() {
            Ok(number) if number < count => Ok(FormatPart::Value(number)),
            _ => Err(no_value(inner, count)),
        })
    })
}

fn single_brace() -> FormatError {
    let message = "a single brace is not allowed".to_owned();
    FormatError { message, help: "write `{{` or `}}` for the character itself".to_owned() }
}

fn no_value(inner: &str, count: usize) -> FormatError {
    let message = format!("there is no value for `{{{inner}}}`");
    let (name, format) =
        inner.split_once([':', '!']).map_or((inner, None), |(name, rest)| (name, Some(rest)));
    let help = match (name.parse::<usize>(), format) {
        (Ok(number), None) => format!(
            "values are counted from 0, so this takes {} more",
            number.saturating_add(1).saturating_sub(count)
        ),
        (Ok(number), Some(_)) => {
            format!("write `{{{number}}}`: a value cannot be given a width or a precision")
        }
        (Err(_), _) => "write the number of the value, counted from 0: `{0}`, `{1}`".to_owned(),
    };
    FormatError { message, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_split_at_values_and_literal_braces() {
        let found: Result<Vec<_>, _> = parts("{1} of {{{0}}}", 2).collect();
        let (value, plain) = (FormatPart::Value, FormatPart::Plain);
        assert_eq!(found, Ok(vec![value(1), plain(" of "), plain("{"), value(0), plain("}")]));
        assert_eq!(parts("", 0).count(), 0);
    }

    #[test]
    fn error_says_what_to_write() {
        let help = |text: &str| {
            let found: Result<Vec<_>, _> = parts(text, 1).collect();
            found.expect_err(text).help
        };
        assert_eq!(help("{} {}"), "write the number of the value, counted from 0: `{0}`, `{1}`");
        assert_eq!(help("{name}"), "write the number of the value, counted from 0: `{0}`, `{1}`");
        assert_eq!(help("{0} {2}"), "values are counted from 0, so this takes 2 more");
        assert_eq!(help("{0:.2f}"), "write `{0}`: a value cannot be given a width or a precision");
        assert_eq!(help("{0} {"), "write `{{` or `}}` for the character itself");
    }
}
