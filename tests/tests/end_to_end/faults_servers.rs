//! Misbehaving servers: each problem is a fault of the right class with a description, every attempt is recorded, no unsafe
//! call is repeated, and the data directory can be used as before.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use longshore_proto::{FaultClass, RunStatus, RunView, Sent, StepStatus};
use longshore_tests::broken_server::{broken, dying};
use longshore_tests::scratch::{Scratch, step};
use longshore_tests::tables::Tables;
use serde_json::{Map, Value, json};

/// Makes a scratch folder with the server `bad` and a correct one.
fn beside_a_good_one(bad: &Value) -> Scratch {
    let scratch = Scratch::new(&json!({}));
    scratch.servers(&json!({ "bad": bad, "tables": Tables::of(scratch.path()).entry() }));
    scratch
}

/// Returns a workflow with one call of the bad server, and more keys of the step.
fn one_step(call: &str, with: &Value, more: &Value) -> String {
    let mut it = json!({ "id": "it", "call": call, "with": with });
    let fields: &Map<String, Value> = more.as_object().unwrap();
    it.as_object_mut().unwrap().extend(fields.clone());
    json!({ "longshore": "v1", "name": "faulty", "steps": [it], "outputs": { "it": "${{ steps.it.output }}" } }).to_string()
}

/// Runs a workflow whose only step fails, and returns the run. Afterwards another run succeeds in the same data directory.
async fn failing(scratch: &Scratch, workflow: &str, class: FaultClass, words: &[&str]) -> RunView {
    scratch.write("workflow.yaml", workflow);
    scratch.run().await.expecting(20).saying(words);
    let run = scratch.newest().await;
    assert_eq!(run.summary.status, RunStatus::Failed, "{run:#?}");
    let it = step(&run, "it");
    let fault = it.error.as_ref().unwrap();
    assert_eq!(fault.class, class, "{fault}");
    for word in words {
        assert!(fault.message.contains(word), "{word:?} in {fault}");
    }
    assert!(!it.attempts.is_empty() && it.attempts.iter().all(|attempt| attempt.fault.is_some()), "{it:#?}");

    scratch.write("workflow.yaml", one_step("tables/echo", &json!({ "still": "here" }), &json!({})));
    assert_eq!(scratch.run().await.expecting(0).json(), json!({ "it": { "still": "here" } }));
    let listed = scratch.longshore(["runs", "list", "--json"]).run().await.expecting(0).json_lines();
    let statuses: Vec<_> =
        listed.iter().map(|run| run.get("status").and_then(Value::as_str).unwrap()).collect();
    assert_eq!(statuses, ["succeeded", "failed"], "both runs are kept");
    run
}

/// Returns a retry policy with short delays.
fn three_attempts() -> Value {
    json!({ "retry": { "attempts": 3, "delay": "10ms" } })
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_named() {
    let scratch = beside_a_good_one(&json!({ "command": "/no/such/program" }));
    let workflow = one_step("bad/echo", &json!({}), &three_attempts());
    let run = failing(&scratch, &workflow, FaultClass::Unavailable, &["/no/such/program"]).await;
    let it = step(&run, "it");
    assert_eq!((it.status, it.attempts.len()), (StepStatus::Failed, 3));
    assert!(it.attempts.iter().all(|attempt| attempt.sent == Sent::Never));
}

#[tokio::test]
async fn server_that_prints_garbage_is_a_fault() {
    let scratch = beside_a_good_one(&json!({
        "command": "sh", "args": ["-c", "yes '{ this is no protocol' | head -n 100000"],
        "longshore": { "connect_timeout_ms": 2000 }
    }));
    let workflow = one_step("bad/echo", &json!({}), &three_attempts());
    let run = failing(&scratch, &workflow, FaultClass::Unavailable, &[]).await;
    assert!(step(&run, "it").attempts.iter().all(|attempt| attempt.sent == Sent::Never));
}

#[tokio::test]
async fn garbage_between_messages_is_skipped() {
    let scratch = beside_a_good_one(&broken(&[]));
    scratch.write("workflow.yaml", one_step("bad/noise", &json!({}), &json!({})));
    assert_eq!(scratch.run().await.expecting(0).json(), json!({ "it": "after the noise" }));
}

#[tokio::test]
async fn a_server_that_ends_at_once_is_quoted() {
    let scratch = beside_a_good_one(&broken(&["--fail", "3"]));
    let workflow = one_step("bad/echo", &json!({}), &three_attempts());
    failing(&scratch, &workflow, FaultClass::Unavailable, &["cannot read the token"]).await;
}

#[tokio::test]
async fn server_that_never_answers_is_a_fault_after_its_timeout() {
    let mut mute = broken(&["--mute"]);
    mute.as_object_mut().unwrap().insert("longshore".to_owned(), json!({ "connect_timeout_ms": 300 }));
    let scratch = beside_a_good_one(&mute);
    let workflow = one_step("bad/echo", &json!({}), &three_attempts());
    failing(&scratch, &workflow, FaultClass::Unavailable, &["300ms"]).await;
}

#[tokio::test]
async fn safe_call_whose_server_died_is_repeated_and_succeeds() {
    let scratch = Scratch::new(&json!({}));
    let journal = scratch.path().join("calls");
    scratch.servers(&json!({ "bad": dying(&journal) }));
    let with = json!({ "survive_from": 3 });
    scratch.write("workflow.yaml", one_step("bad/die", &with, &three_attempts()));
    assert_eq!(scratch.run().await.expecting(0).json(), json!({ "it": "alive" }));
    assert_eq!(scratch.read("calls").lines().count(), 3);
    let run = scratch.newest().await;
    let classes: Vec<_> = step(&run, "it")
        .attempts
        .iter()
        .map(|attempt| attempt.fault.as_ref().map(|fault| fault.class))
        .collect();
    assert_eq!(classes, [Some(FaultClass::Unavailable), Some(FaultClass::Unavailable), None]);
}

#[tokio::test]
async fn unsafe_call_whose_server_died_is_indeterminate_and_made_once() {
    let scratch = Scratch::new(&json!({}));
    let journal = scratch.path().join("calls");
    scratch.servers(&json!({ "bad": dying(&journal), "tables": Tables::of(scratch.path()).entry() }));
    let workflow = one_step("bad/die", &json!({ "survive_from": 2 }), &json!({}));
    let run = failing(&scratch, &workflow, FaultClass::Unavailable, &[]).await;
    let it = step(&run, "it");
    assert_eq!((it.status, it.attempts.len()), (StepStatus::Indeterminate, 1), "{it:#?}");
    assert_eq!(scratch.read("calls").lines().count(), 1, "exactly one call was made");
    let listed = scratch.longshore(["runs", "list", "--indeterminate", "--json"]).run().await;
    let listed = listed.expecting(0).json_lines();
    assert_eq!(listed.len(), 1, "the run that succeeded is not among them: {listed:?}");
    assert_eq!((&listed[0]["run"], &listed[0]["indeterminate"]), (&json!(run.summary.run), &json!(1)));
}

#[tokio::test]
async fn a_call_that_is_never_answered_ends_at_its_timeout() {
    let scratch = Scratch::new(&json!({}));
    let journal = scratch.path().join("calls");
    scratch.servers(&json!({ "bad": dying(&journal), "tables": Tables::of(scratch.path()).entry() }));
    let safe = json!({ "timeout": "200ms", "retry": { "attempts": 2, "delay": "10ms" } });
    let run =
        failing(&scratch, &one_step("bad/hang", &json!({}), &safe), FaultClass::Timeout, &["200ms"]).await;
    let it = step(&run, "it");
    assert_eq!((it.status, it.attempts.len()), (StepStatus::Failed, 2), "{it:#?}");
    assert_eq!(scratch.read("calls").lines().count(), 2);
}

#[tokio::test]
async fn an_unsafe_call_that_is_never_answered_is_indeterminate() {
    let scratch = Scratch::new(&json!({}));
    let journal = scratch.path().join("calls");
    scratch.servers(&json!({ "bad": dying(&journal), "tables": Tables::of(scratch.path()).entry() }));
    let workflow = one_step("bad/hang", &json!({}), &json!({ "timeout": "200ms" }));
    let run = failing(&scratch, &workflow, FaultClass::Timeout, &["200ms"]).await;
    assert_eq!(step(&run, "it").status, StepStatus::Indeterminate);
    assert_eq!(scratch.read("calls").lines().count(), 1);
}

#[tokio::test]
async fn output_of_a_hundred_megabytes_is_refused_with_the_limit() {
    let scratch = beside_a_good_one(&broken(&[]));
    let workflow = one_step("bad/huge", &json!({ "bytes": 100_000_000 }), &json!({}));
    failing(&scratch, &workflow, FaultClass::ProtocolError, &["max_message_bytes"]).await;
}

#[tokio::test]
async fn output_of_twenty_megabytes_is_passed_by_reference() {
    let scratch = beside_a_good_one(&broken(&[]));
    let text = json!({
        "longshore": "v1", "name": "large", "steps": [
            { "id": "big", "call": "bad/huge", "with": { "bytes": 20_000_000 } },
            { "id": "size", "set": { "bytes": "${{ size(steps.big.output) }}" } },
        ],
        "outputs": { "bytes": "${{ steps.size.output.bytes }}" },
    });
    scratch.write("workflow.yaml", text.to_string());
    assert_eq!(scratch.run().await.expecting(0).json(), json!({ "bytes": 20_000_000 }));
    let shown = step(&scratch.newest().await, "big").output.clone().unwrap();
    assert!(shown.get("blob").is_some(), "a large output is shown by reference: {:.200}", shown.to_string());
}
