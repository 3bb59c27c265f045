//! Secret inputs: their valid values, and their places in the arguments of a call.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a surprise ends the test")]

use std::borrow::Cow;

use longshore_proto::SecretPlace;
use longshore_workflow::{EvalError, InputProblems, Plan, Scope, StepField, StepKind, compile};
use serde_json::{Value, json};

fn plan(keys: &str, steps: &str) -> Plan {
    let text = format!("longshore: v1\nname: demo\n{keys}\nsteps:\n{steps}");
    compile(&text).unwrap_or_else(|problems| panic!("{}", problems.render("demo.yaml", &text, false)))
}

fn accept(plan: &Plan, given: Value) -> Result<Value, InputProblems> {
    let Value::Object(given) = given else { panic!("inputs are an object") };
    plan.accept_inputs(given)
}

/// Renders the arguments of the first step. Returns them with the places of secrets.
fn render(plan: &Plan, inputs: Value) -> Result<(Value, Vec<SecretPlace>), EvalError> {
    let StepKind::Call(call) = &plan.steps[0].kind else { panic!("the step is a call") };
    call.with.render_arguments(&Inputs(inputs), &longshore_workflow::WorkBudget::new(), &|input| {
        plan.is_secret(input)
    })
}

/// The scope of a run with inputs and without finished steps.
struct Inputs(Value);

impl Scope for Inputs {
    fn inputs(&self) -> Cow<'_, Value> {
        Cow::Borrowed(&self.0)
    }

    fn step(&self, _: &str, _: StepField) -> Option<Cow<'_, Value>> {
        None
    }

    fn run(&self) -> Cow<'_, Value> {
        Cow::Owned(json!({}))
    }

    fn failed(&self) -> bool {
        false
    }

    fn cancelled(&self) -> bool {
        false
    }
}

#[test]
fn secret_input_accepts_only_names_of_secrets_and_errors_do_not_repeat_the_value() {
    let plan = plan(
        "inputs:
  card_token: { secret: true, required: true }
  key: { type: string, secret: true, default: 'secret:API_KEY' }",
        "  - call: x/y\n",
    );
    let given = json!({"card_token": "secret:CARD_TOKEN"});
    let expected = json!({"card_token": "secret:CARD_TOKEN", "key": "secret:API_KEY"});
    assert_eq!(accept(&plan, given.clone()), Ok(expected));
    let named: Vec<_> = plan.named_secrets(given.as_object().expect("a map")).collect();
    let named: Vec<_> = named.iter().map(|(input, name)| (*input, name.as_str())).collect();
    assert_eq!(named, [("card_token", "CARD_TOKEN"), ("key", "API_KEY")]);
    for wrong in [json!("4111-1111"), json!("secret:4111"), json!("CARD_TOKEN"), json!(4111), json!(["4111"])]
    {
        let refused =
            accept(&plan, json!({"card_token": wrong})).expect_err("no name of a secret").to_string();
        assert!(!refused.contains("4111"), "{refused}");
        assert_eq!(
            refused,
            "input `card_token` is secret: give the name of a secret of the workers, as in `secret:CARD_TOKEN`, never \
             the value itself"
        );
    }
}

#[test]
fn places_of_secrets_are_listed_beside_the_arguments() {
    let plan = plan(
        "inputs: { n: {}, token: { secret: true }, list: {}, text: {} }",
        r#"  - call: x/y
    with:
      plain: ${{ inputs.token }}
      inside: "é ${{ inputs.n }} ${{ inputs.token }}, twice ${{ inputs.token }}"
      a/b~c: [1, { deep: "${{ inputs.token }}" }]
      text: ${{ inputs.text }}
"#,
    );
    let inputs = json!({"n": 3, "token": "secret:T", "text": "secret:T"});
    let (arguments, places) = render(&plan, inputs).expect("renders");
    let expected = json!({
        "plain": "secret:T",
        "inside": "é 3 secret:T, twice secret:T",
        "a/b~c": [1, {"deep": "secret:T"}],
        "text": "secret:T",
    });
    assert_eq!(arguments, expected);
    let places: Vec<_> = places.iter().map(|place| (place.pointer.as_str(), place.at)).collect();
    let expected = [("/plain", 0), ("/inside", 5), ("/inside", 21), ("/a~1b~0c/1/deep", 0)];
    assert_eq!(places, expected, "what is only text stays that");

    let unchecked = json!({"n": 3, "token": "4111", "text": ""});
    let refused = format!("{:?}", render(&plan, unchecked).expect_err("not the name of a secret"));
    assert!(refused.contains("is not the name of a secret") && !refused.contains("4111"), "{refused}");
}

#[test]
fn number_of_places_in_one_call_is_limited() {
    let places = |count: usize| {
        let items = vec!["'${{ inputs.token }}'"; count].join(", ");
        let plan = plan(
            "inputs: { token: { secret: true } }",
            &format!("  - call: x/y\n    with: {{ {}: [{items}] }}\n", "k".repeat(100)),
        );
        render(&plan, json!({"token": "secret:T"})).map(|(_, places)| places.len())
    };
    assert_eq!(places(100), Ok(100));
    assert!(places(200).expect_err("too many").message.contains("too many places"));
}
