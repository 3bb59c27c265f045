//! `longshore explain`: the meaning of a diagnostic code.

use longshore_suggest::closest;
use longshore_workflow::{codes, explain as explanation};
use serde::Serialize;

use crate::args::ExplainArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct CodeExplanation<'a> {
    code: &'a str,
    explanation: &'a str,
}

/// Returns the code with the same number, whose zeros or letters may be missing, or else the most similar one.
fn similar_code(code: &str) -> Option<&'static str> {
    let digits = code.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: Option<u32> = digits.parse().ok();
    let is_same = |known: &&str| number.is_some_and(|number| **known == format!("LS{number:04}"));
    codes().find(is_same).or_else(|| closest(code, codes()))
}

/// Prints the explanation of a code.
pub(super) fn explain(args: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    let code = args.code.to_ascii_uppercase();
    let Some(explanation) = explanation(&code) else {
        return Err(Failure::new(Exit::NotFound, format!("there is no code `{}`", args.code)).help(
            similar_code(&code).map_or_else(
                || "codes look like LS0107; every problem that `longshore validate` finds has one".to_owned(),
                |similar| format!("did you mean `{similar}`?"),
            ),
        ));
    };
    if args.json {
        output.document("longshore.explanation", &CodeExplanation { code: &code, explanation })?;
    } else {
        output.result(&format!("{code}: {explanation}"))?;
    }
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_with_the_same_number_is_suggested() {
        for text in ["LS108", "108", "LS00108", "L0108"] {
            assert_eq!(similar_code(text), Some("LS0108"), "{text}");
        }
        assert_eq!(similar_code("HELLO"), None);
    }
}
