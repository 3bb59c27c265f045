//! `longshore explain`: the meaning of a diagnostic code.

use longshore_workflow::explain as explanation;
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

/// Prints the explanation of a code.
pub(super) fn explain(args: &ExplainArgs, output: &Output) -> Result<Exit, Failure> {
    let code = args.code.to_ascii_uppercase();
    let Some(explanation) = explanation(&code) else {
        return Err(Failure::new(Exit::NotFound, format!("there is no code `{}`", args.code))
            .help("codes look like LS0107; every problem that `longshore validate` finds has one"));
    };
    if args.json {
        output.document("longshore.explanation", &CodeExplanation { code: &code, explanation })?;
    } else {
        output.result(&format!("{code}: {explanation}"))?;
    }
    Ok(Exit::Success)
}
