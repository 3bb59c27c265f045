//! Handshakes of servers that are strict, slow or unusual, and requests of servers during a call.

use longshore_proto::{FaultClass, Sent, StepStatus};
use longshore_tests::scratch::step;
use serde_json::json;

use crate::cases::folder::{Case, WORKFLOW};

#[tokio::test]
async fn server_that_ends_at_an_unknown_request_gets_the_older_handshake() {
    let case = Case::of("01-exits-on-discover");
    assert_eq!(case.outputs().await, json!({ "out": "got hello" }));
    assert_eq!(case.received("server/discover"), 1, "the era is asked for once");
    let listed = case.servers(&["list"]).await.expecting(0);
    assert!(listed.stdout.contains("2025-06-18 (handshake)"), "{listed}");
    let line = ["run", WORKFLOW, "--mcp-config", "legacy.json", "--data", "../data"];
    case.longshore(line).run().await.expecting(0);
    assert_eq!(case.received("server/discover"), 2, "the setting `protocol` spares the question");
}

#[tokio::test]
async fn server_that_starts_too_slowly_is_quoted_and_the_setting_is_named() {
    let case = Case::of("19-slow-start");
    let words = [
        "the server was not ready within 6s, and was ended",
        "npm warn deprecated thing@1.0",
        "connect_timeout_ms",
    ];
    let ended = case.run(WORKFLOW).await.expecting(20).saying(&words);
    let own = ended.stderr.find("connect_timeout_ms").zip(ended.stderr.find("npm warn"));
    assert!(own.is_some_and(|(own, quoted)| own < quoted), "the words of the server are the end: {ended}");
    let attempts = case.step("a").await.attempts;
    assert!(attempts.iter().all(|attempt| attempt.sent == Sent::Never), "{attempts:?}");
}

/// The steps of the workflow, named after the unusual part of the handshake.
const HANDSHAKES: [&str; 14] = [
    "old",
    "weird",
    "future",
    "draft",
    "nover",
    "notools",
    "capnull",
    "toolsnull",
    "toolstrue",
    "exp",
    "noinfo",
    "infonover",
    "infonum",
    "instr",
];

#[tokio::test]
async fn unusual_handshakes_work_or_name_the_problem() {
    let case = Case::of("51-handshake");
    case.run(WORKFLOW).await.expecting(0);
    let run = case.newest().await;
    let speaks = "and Longshore speaks 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28";
    let version = |version: &str| format!("the server chose protocol version \"{version}\", {speaks}");
    let faults = [
        ("weird", version("1.0")),
        ("future", version("2027-03-01")),
        ("draft", version("DRAFT-2026-v1")),
        ("nover", "its `protocolVersion` is missing".to_owned()),
    ];
    for (name, words) in &faults {
        let fault = step(&run, name).error.as_ref().expect("a fault");
        assert!(fault.class == FaultClass::ProtocolError && fault.message.contains(words), "{name}: {fault}");
    }
    for name in HANDSHAKES.into_iter().filter(|name| !faults.iter().any(|(faulty, _)| faulty == name)) {
        let one = step(&run, name);
        assert_eq!((one.status, &one.output), (StepStatus::Succeeded, &Some(json!("ok"))), "{name}");
    }
}

#[tokio::test]
async fn requests_of_a_server_during_a_call_are_answered() {
    let case = Case::of("35-server-asks");
    let answers = case.outputs().await;
    let answers = answers.pointer("/a").expect("a list");
    assert_eq!(answers.pointer("/0"), Some(&json!(["q0", -32601])), "no roots: {answers}");
    assert_eq!(answers.pointer("/1"), Some(&json!(["q1", "answered"])), "a ping: {answers}");
    assert!(answers.pointer("/2/1").is_some_and(serde_json::Value::is_number), "no sampling: {answers}");
    assert_eq!(answers.pointer("/3"), Some(&json!(["q3", -32601])), "an unknown request: {answers}");
}

#[tokio::test]
async fn question_to_the_user_is_refused_and_the_call_is_a_fault() {
    let case = Case::of("35-server-asks");
    let words = ["the server asked a person during the call: \"sure?\"", "\"elicitation\": \"defaults\""];
    case.run("person.yaml").await.expecting(20).saying(&words);
    assert_eq!(case.step("a").await.error.map(|fault| fault.class), Some(FaultClass::ProtocolError));
}
