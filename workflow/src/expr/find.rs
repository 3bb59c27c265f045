//! Where the expressions stand in a text: `Hello ${{ inputs.name }}!`.
//!
//! Braces and quotes inside an expression are followed, so that `${{ {'a': {'b': 1}} }}` and `${{ '}}' }}` end where
//! they should.

use std::ops::Range;

/// What begins an expression.
pub(crate) const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// A part of a text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Piece {
    /// Text to be taken as it is.
    Text(Range<usize>),
    /// The inside of the braces.
    Expression(Range<usize>),
}

/// Splits a text. An error is the byte at which an expression begins that never ends.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece>, usize> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while let Some(open) = text.get(from..).and_then(|rest| rest.find(OPEN)).map(|at| from + at) {
        let start = open + OPEN.len();
        let length = text.get(start..).and_then(end_of_expression).ok_or(open)?;
        if open > from {
            pieces.push(Piece::Text(from..open));
        }
        pieces.push(Piece::Expression(start..start + length));
        from = start + length + CLOSE.len();
    }
    if from < text.len() {
        pieces.push(Piece::Text(from..text.len()));
    }
    Ok(pieces)
}

/// How long the expression is that `text` begins with, up to its closing braces.
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
                    Piece::Text(range) => text[range].to_owned(),
                    Piece::Expression(range) => format!("=>{}", &text[range]),
                })
                .collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn an_expression_without_end_is_found() {
        for text in ["ab${{ a", "ab${{ a }", "ab${{ '}}'", "ab${{ {'a': 1 }}"] {
            assert_eq!(pieces(text), Err(2), "{text}");
        }
    }
}
