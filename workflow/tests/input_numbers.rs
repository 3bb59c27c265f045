//! Numbers in the inputs of a run: none changes without a warning, and those that 64 bits cannot hold are refused.

use longshore_workflow::{compile, parse_inputs};
use serde_json::json;

#[test]
fn number_of_a_yaml_file_in_the_form_of_json_is_read_as_in_any_yaml_file() {
    for text in ["any: 02142\n", "{\"any\": 02142}\n", "# JSON\n{\"any\": 02142}\n", "{any: 296e115}\n"] {
        let (_, warnings) = parse_inputs(text).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(warnings.to_string().starts_with("LS0501"), "{text}: {warnings}");
    }
    for number in ["12345678901234567890123", "9007199254740993.0", "1e-400"] {
        let problems = parse_inputs(&format!("{{\"any\": {number}}}")).expect_err(number).to_string();
        assert!(problems.contains("would be lost"), "{problems}");
    }
}

#[test]
fn number_that_would_change_is_refused_for_an_input_of_type_number() {
    let inputs = "{ n: { type: number }, id: { type: integer }, any: {} }";
    let plan = compile(&format!("longshore: v1\nname: demo\ninputs: {inputs}\nsteps: [{{ call: x/y }}]\n"));
    let plan = plan.unwrap_or_else(|problems| panic!("{problems}"));
    let parse = |name: &str, text: &str| {
        let spec = plan.inputs.iter().find(|spec| spec.name == name).expect("declared");
        spec.parse_text(text).map_err(|problem| problem.to_string())
    };
    for (text, value) in [("1.10", 1.1), ("0.1", 0.1), ("0.10000000000000001", 0.1), ("296e115", 296e115)] {
        assert_eq!(parse("n", text), Ok(json!(value)));
    }
    for text in ["9007199254740993.0", "123456789012345678901.5", "1e-400"] {
        let wanted = format!(
            "input `n` is given the number {text}, whose last digits would be lost; declare the input with `type: string` to pass it on exactly"
        );
        assert_eq!(parse("n", text), Err(wanted));
    }
    let refusal = parse("n", "1e400").expect_err("too large");
    assert!(refusal.starts_with("input `n` is given the number 1e400, which is out of range;"), "{refusal}");
    let refusal = parse("any", "{\"a\": 1e400}").expect_err("too large");
    assert!(refusal.ends_with("out of range; put it into double quotes to pass it on exactly"), "{refusal}");
    let refusal = parse("id", "1e3").expect_err("no integer");
    assert!(refusal.contains("and this is `1e3`;"), "{refusal}");
    assert_eq!(parse("any", "7e42016"), Ok(json!("7e42016")));
}
