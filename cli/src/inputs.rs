//! The inputs of a run, from a file and from the command line, parsed by the types of the plan.

use std::fmt::Display;
use std::path::Path;

use longshore_workflow::{
    InputProblem, InputProblems, InputSpec, InputType, JsonInputError, Plan, RewrittenNumber, parse_inputs,
    parse_json,
};
use serde_json::{Map, Value};

use crate::args::{NameValue, given_twice};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;
use crate::workflow_file;

/// Returns the inputs of a run of `plan`: the object in `file`, overridden by `pairs`. All problems are reported at once,
/// before anything else happens. Warnings about a YAML file are shown.
pub(crate) fn gather(
    plan: &Plan,
    file: Option<&Path>,
    pairs: &[NameValue],
    output: &Output,
) -> Result<Map<String, Value>, Failure> {
    if let Some(name) = given_twice(pairs) {
        let message = format!("the input `{name}` is given twice on the command line");
        return Err(Failure::new(Exit::Usage, message)
            .help(format!("give it once; a list is written as JSON: -i '{name}=[\"a\", \"b\"]'")));
    }
    let text = file.map(|path| input_text::read_or_stdin(path, "input file")).transpose()?;
    let mut inputs = match (file, &text) {
        (Some(path), Some(text)) if is_yaml(path) => from_yaml(path, text, output)?,
        (Some(path), Some(text)) => {
            let inputs = object(path, text)?;
            let is_replaced = |spec: &&InputSpec| pairs.iter().any(|pair| pair.name == spec.name);
            for spec in plan.inputs.iter().filter(|spec| !is_replaced(spec)) {
                inputs
                    .get(&spec.name)
                    .into_iter()
                    .for_each(|value| warn_of_number(spec, text, value, output));
            }
            inputs
        }
        _ => Map::new(),
    };
    let mut unread = Vec::new();
    for pair in pairs {
        let spec = plan.inputs.iter().find(|spec| spec.name == pair.name);
        match typed(spec, pair) {
            Ok(value) => {
                spec.into_iter().for_each(|spec| warn_of_number(spec, &pair.value, &value, output));
                inputs.insert(pair.name.clone(), value);
            }
            Err(problem) => unread.push(problem),
        }
    }
    let is_unread = |problem: &InputProblem| match problem {
        InputProblem::Missing { name, .. } => unread.iter().any(|other| unread_name(other) == Some(name)),
        _ => false,
    };
    let accepted = plan.accept_inputs(inputs.clone());
    let refused = accepted.as_ref().err().into_iter().flat_map(InputProblems::iter);
    let problems: Vec<_> = refused.filter(|problem| !is_unread(problem)).chain(&unread).collect();
    let more = accepted.as_ref().err().map_or(0, InputProblems::omitted);
    match problems.as_slice() {
        [] => Ok(inputs),
        problems => {
            let mut lines: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
            if more > 0 {
                lines.push_str(&format!("\n  and {more} more"));
            }
            let message = format!("these inputs do not fit the workflow `{}`:{lines}", plan.name);
            Err(Failure::new(Exit::Invalid, message)
                .help("give inputs with -i name=value, or as a JSON object or YAML with --input-file"))
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

fn from_yaml(path: &Path, text: &str, output: &Output) -> Result<Map<String, Value>, Failure> {
    let (inputs, problems) = match parse_inputs(text) {
        Ok((inputs, warnings)) => (Some(inputs), warnings),
        Err(problems) => (None, problems),
    };
    workflow_file::warn(path, text, &problems, output);
    inputs.ok_or_else(|| {
        Failure::new(Exit::Invalid, format!("the input file {} cannot be read", path.display()))
    })
}

/// Returns the name of an input that was given and cannot be read.
const fn unread_name(problem: &InputProblem) -> Option<&String> {
    match problem {
        InputProblem::LostDigits { name, .. }
        | InputProblem::OutOfRange { name, .. }
        | InputProblem::WrongType { name, .. }
        | InputProblem::RepeatedKey { name, .. } => Some(name),
        _ => None,
    }
}

/// Advice for an input file without an object.
const AN_OBJECT: &str = "write one JSON object whose keys are the names of inputs; YAML is read from a file whose name ends in `.yaml`";

/// Advice for an invalid number, such as `007`.
pub(crate) const A_NUMBER: &str = "write a number without leading zeros and with a digit before the point: 7, 0.5; put text into double quotes: \"007\"";

fn object(path: &Path, text: &str) -> Result<Map<String, Value>, Failure> {
    let invalid = |why: &dyn Display, help: &str| {
        let file = input_text::shown(path).display();
        Failure::new(Exit::Invalid, format!("the input file {file} {why}")).help(help)
    };
    match parse_json(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(invalid(&"holds no JSON object", AN_OBJECT)),
        Err(why @ (JsonInputError::LostDigits(_) | JsonInputError::OutOfRange(_))) => {
            Err(invalid(&why, "put it into quotes to pass it on exactly"))
        }
        Err(why @ JsonInputError::RepeatedKey(_)) => Err(invalid(&why, "remove one of the two")),
        Err(why @ JsonInputError::Invalid(_)) => {
            Err(invalid(&why, if why.is_number() { A_NUMBER } else { AN_OBJECT }))
        }
    }
}

/// Warns of a number in the value of an input, if it may be meant as text and is written in another form than the value has.
/// The YAML reader has its own warnings.
fn warn_of_number(spec: &InputSpec, text: &str, value: &Value, output: &Output) {
    if let Some(warning) = number_warning(spec, text, value) {
        output.warning(&warning);
    }
}

/// Returns the warning about a number, if the input has no type, or may contain values without one. Values of secret inputs are
/// never shown, because they may be the secret itself.
fn number_warning(spec: &InputSpec, text: &str, value: &Value) -> Option<String> {
    let (why, declare) = match (spec.kind, &spec.items) {
        _ if spec.secret => return None,
        (None, _) => ("has no type", "declare its `type`, or put"),
        (Some(InputType::Object), _) | (Some(InputType::Array), None) => {
            ("does not say of which type its values are", "put")
        }
        _ => return None,
    };
    let number = RewrittenNumber::find(text, value)?;
    Some(format!("input `{}` {why}, and {number}; {declare} text into double quotes", spec.name))
}

/// Parses a value by the type of its input. A value of another type stays text, and the plan then reports it.
fn typed(spec: Option<&InputSpec>, pair: &NameValue) -> Result<Value, InputProblem> {
    spec.map_or_else(|| Ok(Value::String(pair.value.clone())), |spec| spec.parse_text(&pair.value))
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
        let pairs: Vec<NameValue> = pairs.iter().map(|pair| pair.parse().expect("a pair")).collect();
        gather(&plan(), file.map(|_| path.as_path()), &pairs, &Output::new())
            .map(Value::Object)
            .map_err(|failure| failure.message.replace(&*path.to_string_lossy(), "FILE"))
    }

    #[test]
    fn command_line_has_precedence_over_the_file() {
        let inputs = gathered(Some(r#"{"region": "north", "limit": 5}"#), &["limit=7", "free=[1]"]);
        assert_eq!(inputs, Ok(json!({ "region": "north", "limit": 7, "free": [1] })));
    }

    #[test]
    fn text_is_parsed_by_the_type_of_the_input() {
        let inputs = gathered(None, &["region=42", r#"tags=["a"]"#]);
        assert_eq!(inputs, Ok(json!({ "region": "42", "tags": ["a"] })));
    }

    #[test]
    fn no_digit_is_lost() {
        let long = "12345678901234567890123";
        let inputs = gathered(None, &["region=a", &format!("free=\"{long}\""), "limit=9007199254740993"]);
        assert_eq!(inputs, Ok(json!({ "region": "a", "free": long, "limit": 9_007_199_254_740_993_u64 })));
        let in_yaml = |value: &str| {
            let text = format!("region: a\nfree: {value}\n");
            parse_inputs(&text).map(|(inputs, _)| inputs).map_err(|problems| problems.to_string())
        };
        assert_eq!(
            in_yaml(&format!("'{long}'")).map(Value::Object),
            Ok(json!({ "region": "a", "free": long }))
        );
        // The same number is refused in each form, alone and within a list.
        for value in [long.to_owned(), format!("[1, -{long}]")] {
            let refusals = [
                gathered(None, &["region=a", &format!("free={value}")]).expect_err("-i"),
                gathered(Some(&format!("{{\"region\": \"a\", \"free\": {value}}}")), &[]).expect_err("JSON"),
                in_yaml(&value).expect_err("YAML"),
            ];
            for refusal in refusals {
                assert!(refusal.contains(long) && refusal.contains("would be lost"), "{refusal}");
            }
        }
        let file = |number: &str| format!("{{\"region\": \"a\", \"free\": {number}}}");
        for (number, why) in [("9007199254740993.0", "would be lost"), ("1e400", "out of the range")] {
            let refusal = gathered(Some(&file(number)), &[]).expect_err("JSON");
            assert!(refusal.contains(number) && refusal.contains(why), "{refusal}");
        }
        for text in ["1.10", "296e115", "007", "1E3"] {
            let inputs = gathered(None, &["region=a", &format!("free={text}")]);
            assert_eq!(inputs, Ok(json!({ "region": "a", "free": text })));
        }
        let refusal = gathered(None, &[&format!("limit={long}"), &format!("free=[\"{long}\", {long}]")]);
        assert_eq!(
            refusal.expect_err("too long").lines().skip(1).collect::<Vec<_>>(),
            [
                "  input `region` is required".to_owned(),
                format!(
                    "  input `limit` is given the number {long}, whose last digits would be lost; declare the input with `type: string` to pass it on exactly"
                ),
                format!(
                    "  input `free` is given the number {long}, whose last digits would be lost; put it into double quotes to pass it on exactly"
                ),
            ]
        );
        let refusal =
            gathered(Some(&format!("{{\"free\": {{\"n\": -{long}}}}}")), &[]).expect_err("too long");
        assert_eq!(
            refusal,
            format!("the input file FILE has the number -{long}, whose last digits would be lost")
        );
    }

    #[test]
    fn number_within_a_map_or_a_list_causes_a_warning_if_its_form_changes() {
        let text = "longshore: v1\nname: n\ninputs: { m: { type: object }, l: { type: array }, s: { type: array, \
                    items: { type: number } } }\nsteps: [{ set: { a: 1 } }]\n";
        let plan = longshore_workflow::compile(text).expect("compiles");
        let warning = |name: &str, text: &str| {
            let spec = plan.inputs.iter().find(|spec| spec.name == name).expect("declared");
            number_warning(spec, text, &spec.parse_text(text).expect("parses"))
        };
        let of_map = warning("m", r#"{"a":1.10}"#).expect("a warning");
        assert!(of_map.contains("input `m`") && of_map.contains("1.10 is passed on as 1.1;"), "{of_map}");
        assert!(warning("l", "[1.10]").is_some());
        assert_eq!((warning("m", r#"{"a":1.1,"b":"1.10"}"#), warning("s", "[1.10]")), (None, None));
    }

    #[test]
    fn input_given_twice_is_refused() {
        let file = gathered(Some("{\"region\": \"a\",\n \"region\": \"b\"}"), &[]);
        let repeated =
            "the input file FILE has a problem: the key `region` is written twice at line 2 column 9";
        assert_eq!(file, Err(repeated.to_owned()));
        let pair = gathered(None, &["region=a", "region=a"]);
        assert_eq!(pair, Err("the input `region` is given twice on the command line".to_owned()));
        let value = gathered(None, &["region=a", r#"free={"n": 1, "n": 2}"#]).expect_err("refused");
        assert!(
            value.contains("input `free` is given JSON with a problem: the key `n` is written twice"),
            "{value}"
        );
        let yaml = parse_inputs("region: a\nregion: b\n").expect_err("refused").to_string();
        assert!(yaml.contains("the key `region` occurs twice"), "{yaml}");
    }

    #[test]
    fn error_about_leading_zeros_contains_the_number() {
        let refusal = |pair: &str| gathered(None, &["region=a", pair]).expect_err("refused");
        assert!(
            refusal("limit=007").contains("write `7`: a number begins with no zero"),
            "{}",
            refusal("limit=007")
        );
        assert!(refusal("limit=seven").contains("as in 42, without a point"));
        let problem = object(Path::new("-"), "{\"limit\": 007}").expect_err("no JSON");
        assert!(problem.message.starts_with("the input file stdin is not valid JSON"), "{}", problem.message);
        assert_eq!(problem.help.as_deref(), Some(A_NUMBER));
    }

    #[test]
    fn byte_order_mark_of_an_input_file_is_ignored() {
        let inputs = gathered(Some("\u{feff}{\"region\": \"north\"}"), &[]);
        assert_eq!(inputs, Ok(json!({ "region": "north" })));
    }

    #[test]
    fn all_problems_are_reported_at_once() {
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
    fn input_file_without_an_object_is_refused() {
        assert_eq!(gathered(Some("[1]"), &[]), Err("the input file FILE holds no JSON object".to_owned()));
        let refusal = gathered(Some("{\n  oops\n}"), &[]).expect_err("no JSON");
        assert!(
            refusal.starts_with("the input file FILE is not valid JSON: key must be a string at line 2"),
            "{refusal}"
        );
    }
}
