//! What a run is given: from a file and from the command line, typed by the plan.

use std::path::Path;

use longshore_workflow::Plan;
use serde_json::{Map, Value};

use crate::args::Pair;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;

/// The inputs for a run of `plan`: the object in `file`, with `pairs` put over it. Whatever does not fit is said all
/// at once, before anything is done.
pub(crate) fn gather(
    plan: &Plan,
    file: Option<&Path>,
    pairs: &[Pair],
) -> Result<Map<String, Value>, Failure> {
    let text = file.map(|path| input_text::read_or_stdin(path, "input file")).transpose()?;
    let mut inputs = match (file, text) {
        (Some(path), Some(text)) => object(path, &text)?,
        _ => Map::new(),
    };
    for pair in pairs {
        inputs.insert(pair.name.clone(), typed(plan, pair));
    }
    match plan.accept_inputs(inputs.clone()) {
        Ok(_) => Ok(inputs),
        Err(problems) => {
            let lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            let message = format!("these inputs do not fit the workflow `{}`:{lines}", plan.name);
            Err(Failure::new(Exit::Invalid, message)
                .help("give inputs with -i name=value, or as a JSON object with --input-file"))
        }
    }
}

fn object(path: &Path, text: &str) -> Result<Map<String, Value>, Failure> {
    let invalid = |why: String| {
        Failure::new(Exit::Invalid, format!("the input file {} {why}", path.display()))
            .help("write one JSON object whose keys are the names of inputs")
    };
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid("holds no JSON object".to_owned())),
        Err(error) => Err(invalid(format!("is not valid JSON: {error}"))),
    }
}

/// A value as the plan wants it; if it cannot be read as that, the plan then says why it does not fit.
fn typed(plan: &Plan, pair: &Pair) -> Value {
    let spec = plan.inputs.iter().find(|spec| spec.name == pair.name);
    spec.map_or_else(|| Value::String(pair.value.clone()), |spec| spec.read_text(&pair.value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        let text = "
longshore: v1
name: demo
inputs:
  region: { type: string, required: true }
  limit: { type: integer, default: 3 }
  tags: { type: array, items: { type: string }, default: [] }
  free: {}
steps:
  - set: { done: true }
";
        longshore_workflow::compile(text).expect("compiles")
    }

    fn gathered(file: Option<&str>, pairs: &[&str]) -> Result<Value, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("inputs.json");
        if let Some(text) = file {
            std::fs::write(&path, text).expect("writes");
        }
        let pairs: Vec<Pair> = pairs.iter().map(|pair| pair.parse().expect("a pair")).collect();
        gather(&plan(), file.map(|_| path.as_path()), &pairs)
            .map(Value::Object)
            .map_err(|failure| failure.message.replace(&*path.to_string_lossy(), "FILE"))
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let inputs = gathered(Some(r#"{"region": "north", "limit": 5}"#), &["limit=7", "free=[1]"]);
        assert_eq!(inputs, Ok(json!({ "region": "north", "limit": 7, "free": [1] })));
    }

    #[test]
    fn text_becomes_what_the_plan_wants() {
        let inputs = gathered(None, &["region=42", r#"tags=["a"]"#]);
        assert_eq!(inputs, Ok(json!({ "region": "42", "tags": ["a"] })));
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let refusal =
            gathered(None, &["limit=many", "tags=[\"a\", 1]", "regoin=north"]).expect_err("does not fit");
        for expected in [
            "`region` is required",
            "`limit` wants a whole number",
            "`tags[1]` wants text, and this is `1`",
            "no input `regoin`; did you mean",
        ] {
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn a_file_that_holds_something_else_is_refused() {
        assert_eq!(gathered(Some("[1]"), &[]), Err("the input file FILE holds no JSON object".to_owned()));
        let refusal = gathered(Some("{\n  oops\n}"), &[]).expect_err("no JSON");
        assert!(
            refusal.starts_with("the input file FILE is not valid JSON: key must be a string at line 2"),
            "{refusal}"
        );
    }
}
