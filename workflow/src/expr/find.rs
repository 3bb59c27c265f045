//! Finds the expressions in a text such as `Hello ${{ inputs.name }}!`.
//!
//! Braces and quotes within an expression are matched, so that the ends of `${{ {'a': {'b': 1}} }}` and `${{ '}}' }}` are
//! found.

use std::ops::Range;

/// The opening of an expression.
pub(crate) const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// A part of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TextPiece {
    /// Literal text.
    Text(Range<usize>),
    /// The text within the braces.
    Expression(Range<usize>),
}

/// Splits a text. Fails with the byte offset of an expression without end.
pub(crate) fn pieces(text: &str) -> Result<Vec<TextPiece>, usize> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while let Some(open) = text.get(from..).and_then(|rest| rest.find(OPEN)).map(|at| from + at) {
        let start = open + OPEN.len();
        let length = text.get(start..).and_then(end_of_expression).ok_or(open)?;
        if open > from {
            pieces.push(TextPiece::Text(from..open));
        }
        pieces.push(TextPiece::Expression(start..start + length));
        from = start + length + CLOSE.len();
    }
    if from < text.len() {
        pieces.push(TextPiece::Text(from..text.len()));
    }
    Ok(pieces)
}

/// Returns the length of the expression at the start of `text`, up to its closing braces.
fn end_of_expression(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut rest = text.char_indices();
    while let Some((at, character)) = rest.next() {
        match (quote, character) {
            (Some(_), '\\') => {
                rest.next();
            }
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') if depth > 0 => depth -= 1,
            (None, '}') if text.get(at..)?.starts_with(CLOSE) => return Some(at),
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_split_at_their_expressions() {
        let cases = [
            ("plain", vec!["plain"]),
            ("${{ a }}", vec!["=> a "]),
            ("x ${{ a }}${{b}} y", vec!["x ", "=> a ", "=>b", " y"]),
            ("${{ {'a': {'b': 1}} }}", vec!["=> {'a': {'b': 1}} "]),
            ("${{ {'a':{'b':1}}}}", vec!["=> {'a':{'b':1}}"]),
            ("${{ '}}' + \"\\\"}}\" }}.", vec!["=> '}}' + \"\\\"}}\" ", "."]),
            ("$ { { } } $$", vec!["$ { { } } $$"]),
            ("", vec![]),
        ];
        for (text, expected) in cases {
            let found: Vec<String> = pieces(text)
                .expect("every expression ends")
                .into_iter()
                .map(|piece| match piece {
                    TextPiece::Text(range) => text[range].to_owned(),
                    TextPiece::Expression(range) => format!("=>{}", &text[range]),
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn expression_without_end_is_an_error_with_its_start() {
        for text in ["ab${{ a", "ab${{ a }", "ab${{ '}}'", "ab${{ {'a': 1 }}"] {
            assert_eq!(pieces(text), Err(2), "{text}");
        }
    }
}
