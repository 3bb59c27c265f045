//! Secrets reach the tool, and no log, fault or output.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use longshore_proto::{FaultClass, Job, Outcome, Payload, SecretPlace, Sent};
use serde_json::{Value, json};

use crate::harness::{Harness, PIN, TOKEN, safe, unsafe_to_repeat};

fn place(pointer: &str, at: usize, name: &str) -> SecretPlace {
    SecretPlace { pointer: pointer.to_owned(), at, name: name.parse().expect("a name") }
}

/// Returns a job whose argument `text` is `Bearer` and a secret.
fn bearer(step: &str, tool: &str) -> Job {
    let secrets = vec![place("/text", 7, "TOKEN")];
    Job { secrets, ..unsafe_to_repeat(step, tool, json!({ "text": "Bearer secret:TOKEN" })) }
}

async fn output(harness: &Harness, job: &Job) -> Value {
    harness.publish(job).await;
    match harness.outcome(&job.id).await.0 {
        Outcome::Output(output) => match output.value {
            Payload::Inline(value) => value,
            blob => panic!("not inline: {blob:?}"),
        },
        other => panic!("no output: {other:?}"),
    }
}

#[tokio::test]
async fn tool_gets_the_value_and_the_log_does_not() {
    let harness = Harness::started().await;
    assert_eq!(output(&harness, &bearer("one", "note")).await, json!("Bearer ***"));
    let secrets = vec![place("/text", 0, "PIN")];
    let digits = Job { secrets, ..safe("two", "note", json!({ "text": "secret:PIN" })) };
    assert_eq!(output(&harness, &digits).await, json!("***"), "a text that reads as a number");
    assert_eq!(harness.journal(), [format!("note Bearer {TOKEN}"), format!("note {PIN}")]);
    harness.close().await;
}

#[tokio::test]
async fn several_secrets_in_one_text_of_a_blob_are_filled_in() {
    let harness = Harness::started().await;
    let text = json!({ "text": "é secret:PIN, secret:TOKEN; secret:PIN" }).to_string().into_bytes();
    let bytes = text.len() as u64;
    let digest = harness.backend.blobs.put(text).await.expect("kept");
    // The last reference has no place in the list, so it is plain text.
    let secrets = vec![place("/text", 3, "PIN"), place("/text", 15, "TOKEN")];
    let job = Job { arguments: Payload::Blob { digest, bytes }, secrets, ..safe("one", "note", json!({})) };
    assert_eq!(output(&harness, &job).await, json!("é ***, ***; secret:PIN"));
    assert_eq!(harness.journal(), [format!("note é {PIN}, {TOKEN}; secret:PIN")]);
    harness.close().await;
}

#[tokio::test]
async fn faults_hold_no_secret() {
    let harness = Harness::started().await;
    let reported = bearer("one", "report");
    harness.publish(&reported).await;
    let (outcome, attempts) = harness.outcome(&reported.id).await;
    assert!(matches!(&outcome, Outcome::Fault(fault) if fault.message == "Bearer ***"), "{outcome:?}");
    assert!(!format!("{attempts:?}").contains("s3cret"), "{attempts:?}");

    let shouted = bearer("two", "shout");
    harness.publish(&shouted).await;
    let fault = harness.indeterminate(&shouted.id).await;
    assert!(fault.message.contains("Bearer ***"), "{fault}");
    assert!(!fault.message.contains("s3cret"), "{fault}");
    harness.close().await;
}

#[tokio::test]
async fn unknown_secret_and_unbound_secret_are_the_same_fault_before_the_call() {
    let harness = Harness::started().await;
    let named = |name: &str, step: &str, tool: &str| {
        let secrets = vec![place("/text", 0, name)];
        Job { secrets, ..safe(step, tool, json!({ "text": format!("secret:{name}") })) }
    };
    for (step, name, tool) in [("absent", "TOKEM", "note"), ("unbound", "PIN", "report")] {
        let job = named(name, step, tool);
        harness.publish(&job).await;
        let (outcome, attempts) = harness.outcome(&job.id).await;
        let Outcome::Fault(fault) = outcome else { panic!("no fault: {outcome:?}") };
        assert_eq!((fault.class, attempts[0].sent), (FaultClass::Unauthorised, Sent::Never));
        let to = format!("`journal/{tool}` in namespace `{}`", job.namespace);
        assert_eq!(
            fault.message,
            format!(
                "this worker gives no secret `{name}` to {to}: add it under `longshore.secrets` of the worker's servers \
                 file, bound to that server, tool and namespace"
            )
        );
    }
    let secrets = vec![place("/text", 3, "TOKEN")];
    let job = Job { secrets, ..safe("two", "note", json!({ "text": "secret:TOKEN" })) };
    harness.publish(&job).await;
    let fault = harness.fault(&job.id).await;
    assert_eq!(fault.class, FaultClass::Internal);
    assert!(fault.message.contains("no place for a secret at `/text`"), "{fault}");
    assert_eq!(harness.journal(), Vec::<String>::new());
    harness.close().await;
}

#[tokio::test]
async fn secret_in_any_form_in_a_later_answer_is_masked() {
    let harness = Harness::started().await;
    assert_eq!(output(&harness, &bearer("first", "note")).await, json!("Bearer ***"));
    // These calls get no secret. The tool echoes its argument, like a tool that remembers the secret of an earlier call.
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{PIN}")));
    let said = [
        format!("token {TOKEN}"),
        json!({ "header": TOKEN }).to_string(),
        "q=s3cret%20%22t%C3%B6k%C3%A9n%22%20of%20the%20worker".to_owned(),
        STANDARD.encode(TOKEN),
        basic,
    ];
    for (number, text) in said.into_iter().enumerate() {
        let job = safe(&format!("later{number}"), "note", json!({ "text": text }));
        let kept = output(&harness, &job).await.to_string();
        assert!(kept.contains("***"), "{text}: {kept}");
        assert!(!kept.contains("s3cret") && !kept.contains("czNj"), "{text}: {kept}");
    }
    harness.close().await;
}
