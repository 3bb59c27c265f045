//! `longshore explain`: what the code of a diagnostic means.

use longshore_workflow::{codes, explain as explanation};
use serde::Serialize;

use crate::args::ExplainArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::suggest;

#[derive(Serialize)]
struct Explanation<'a> {
    code: &'a str,
    explanation: &'a str,
}

/// Prints the paragraph for a code.
pub(super) fn explain(args: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    let code = args.code.to_ascii_uppercase();
    let Some(explanation) = explanation(&code) else {
        let near = suggest::closest(&code, codes()).map(|near| format!("did you mean {near}?"));
        let help = near.or_else(|| Some("codes look like LS0107 and stand in every diagnostic".to_owned()));
        return Err(
            Failure::new(Exit::NotFound, format!("there is no code `{}`", args.code)).maybe_help(help)
        );
    };
    if args.json {
        output.document("longshore.explanation", &Explanation { code: &code, explanation })?;
    } else {
        output.result(&format!("{code}: {explanation}"))?;
    }
    Ok(Exit::Success)
}
