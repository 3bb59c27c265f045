//! Complete workflows: supported parts compile, and other parts of the language are refused as not built yet.

#![expect(clippy::expect_used, reason = "a surprise ends the test")]

use longshore_workflow::{Condition, Plan, StepKind, compile};

fn refusals(text: &str) -> Vec<String> {
    let problems = compile(text).expect_err("it uses what is not built yet");
    problems.iter().map(|one| format!("{} {}:{} {}", one.code, one.line, one.column, one.message)).collect()
}

#[test]
fn a_linear_pipeline_compiles() {
    let plan = compile(include_str!("samples/summarize-article.yaml"))
        .unwrap_or_else(|problems| panic!("{problems}"));
    let paths: Vec<_> = plan.steps.iter().map(|step| step.path.as_str()).collect();
    assert_eq!(paths, ["fetch", "summarize", "store"]);
    assert_eq!(plan.outputs.len(), 1);
    assert!(plan.steps.iter().all(|step| matches!(step.condition, Condition::Success)));
    assert!(plan.steps.iter().all(|step| matches!(step.kind, StepKind::Call(_))));
}

#[test]
fn other_samples_are_refused_only_for_parts_that_are_not_built_yet() {
    let samples = [
        ("publish-post", include_str!("samples/publish-post.yaml")),
        ("regional-forecast", include_str!("samples/regional-forecast.yaml")),
        ("refine-draft", include_str!("samples/refine-draft.yaml")),
        ("place-order", include_str!("samples/place-order.yaml")),
        ("deploy-service", include_str!("samples/deploy-service.yaml")),
    ];
    for (name, text) in samples {
        let refusals = refusals(text);
        assert!(refusals.iter().all(|refusal| refusal.starts_with("LS03")), "{name}: {refusals:#?}");
        insta::assert_snapshot!(name, refusals.join("\n"));
    }
}

#[test]
fn json_and_yaml_give_the_same_plan() {
    let yaml = "longshore: v1\nname: twice\nsteps:\n  - id: a\n    call: web/get\n    with: { url: \"${{ inputs.url }}\", n: 1.5 }\n    retry: 2\ninputs:\n  url: { type: string, default: \"é/\\U0001f600\" }\n";
    let json = "{\t\"longshore\":\"v1\",\r\n\"name\" : \"twice\",\"steps\":[{\"id\":\"a\",\"call\":\"web\\/get\",\"with\":{\"url\":\"${{ inputs.url }}\",\"n\":1.5},\"retry\":2}],\n\t\t\"inputs\":{\"url\":{\"type\":\"string\",\"default\":\"\\u00e9\\/\\ud83d\\ude00\"}}}";
    let shown = |plan: &Plan| format!("{:?} {:?} {:?}", plan.name, plan.inputs, plan.steps);
    let of = |text| compile(text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(shown(&of(yaml)), shown(&of(json)));
    assert_ne!(of(yaml).digest, of(json).digest, "a plan is known by its text");
}
