//! Optional arguments, which are omitted if their value is absent: `${{ inputs.?limit }}`.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a surprise ends the test")]

use std::borrow::Cow;

use longshore_proto::SecretPlace;
use longshore_workflow::{Scope, StepField, StepKind, WorkBudget, compile};
use serde_json::{Value, json};

/// Renders the arguments of a call with these lines in `with`. Returns them with the places of secrets.
fn rendered(keys: &str, with: &str, inputs: Value) -> (Value, Vec<String>) {
    let text = format!("longshore: v1\nname: demo\n{keys}\nsteps:\n  - call: x/y\n    with:\n{with}");
    let plan =
        compile(&text).unwrap_or_else(|problems| panic!("{}", problems.render("demo.yaml", &text, false)));
    let StepKind::Call(call) = &plan.steps[0].kind else { panic!("the step is a call") };
    let is_secret = |input: &str| plan.is_secret(input);
    let rendered = call.with.render_arguments(&Inputs(inputs), &WorkBudget::new(), &is_secret);
    let (arguments, places) = rendered.unwrap_or_else(|error| panic!("{error}"));
    (arguments, places.into_iter().map(|SecretPlace { pointer, .. }| pointer).collect())
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
fn empty_optional_omits_its_key_or_item() {
    let keys = "inputs: { q: {}, limit: {}, deep: {} }";
    let with = "      q: ${{ inputs.?q }}
      limit: ${{ inputs.?limit }}
      page: { size: '${{ inputs.?limit }}', at: '${{ inputs.?deep.?at }}' }
      list: ['${{ inputs.?limit }}', '${{ inputs.?q }}', last]
      whole: \"${{ {'q': inputs.q, ?'limit': inputs.?limit} }}\"
      other: ${{ inputs.?limit.orValue(3) }}
      none: ${{ inputs.?deep.?none }}
";
    let expected = json!({
        "q": "cats", "page": {}, "list": ["cats", "last"], "whole": { "q": "cats" }, "other": 3, "none": null,
    });
    let inputs = json!({ "q": "cats", "deep": { "none": null } });
    assert_eq!(rendered(keys, with, inputs).0, expected);
    let expected = json!({
        "q": "cats", "limit": 2, "page": { "size": 2, "at": 1 }, "list": [2, "cats", "last"],
        "whole": { "q": "cats", "limit": 2 }, "other": 2,
    });
    let inputs = json!({ "q": "cats", "limit": 2, "deep": { "at": 1 } });
    assert_eq!(rendered(keys, with, inputs).0, expected);
}

#[test]
fn optional_secret_is_passed_on_or_omitted() {
    let keys = "inputs: { token: { secret: true } }";
    let with = "      list: ['${{ inputs.?token }}', a]\n      auth: ${{ inputs.?token }}\n";
    assert_eq!(rendered(keys, with, json!({})), (json!({ "list": ["a"] }), Vec::new()));
    let (arguments, places) = rendered(keys, with, json!({ "token": "secret:T" }));
    assert_eq!(arguments, json!({ "list": ["secret:T", "a"], "auth": "secret:T" }));
    assert_eq!(places, ["/list/0", "/auth"]);
}
