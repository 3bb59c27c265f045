//! Secrets: the tool gets the value, and nobody else does.

use longshore_proto::{FaultClass, Job, Outcome, Payload, SecretPlace, Sent};
use serde_json::{Value, json};

use crate::harness::{Harness, PIN, TOKEN, safe, unsafe_to_repeat};

fn place(pointer: &str, at: usize, name: &str) -> SecretPlace {
    SecretPlace { pointer: pointer.to_owned(), at, name: name.parse().expect("a name") }
}

/// A call whose argument `text` is `Bearer` and a secret.
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
async fn the_tool_gets_the_value_and_the_log_does_not() {
    let harness = Harness::started().await;
    assert_eq!(output(&harness, &bearer("one", "note")).await, json!("Bearer ***"));
    let secrets = vec![place("/text", 0, "PIN")];
    let digits = Job { secrets, ..safe("two", "note", json!({ "text": "secret:PIN" })) };
    assert_eq!(output(&harness, &digits).await, json!("***"), "a text that reads as a number");
    assert_eq!(harness.journal(), [format!("note Bearer {TOKEN}"), format!("note {PIN}")]);
    harness.close().await;
}

#[tokio::test]
async fn several_places_in_one_text_and_arguments_from_a_blob() {
    let harness = Harness::started().await;
    let text = json!({ "text": "é secret:PIN, secret:TOKEN; secret:PIN" }).to_string().into_bytes();
    let bytes = text.len() as u64;
    let digest = harness.backend.blobs.put(text).await.expect("kept");
    // The last one has no place, so it is text.
    let secrets = vec![place("/text", 3, "PIN"), place("/text", 15, "TOKEN")];
    let job = Job { arguments: Payload::Blob { digest, bytes }, secrets, ..safe("one", "note", json!({})) };
    assert_eq!(output(&harness, &job).await, json!("é ***, ***; secret:PIN"));
    assert_eq!(harness.journal(), [format!("note é {PIN}, {TOKEN}; secret:PIN")]);
    harness.close().await;
}

#[tokio::test]
async fn faults_say_nothing_of_a_secret() {
    let harness = Harness::started().await;
    let reported = bearer("one", "report");
    harness.publish(&reported).await;
    let (outcome, attempts) = harness.outcome(&reported.id).await;
    assert!(matches!(&outcome, Outcome::Fault(fault) if fault.message == "Bearer ***"), "{outcome:?}");
    assert!(!format!("{attempts:?}").contains("s3cret"), "{attempts:?}");

    let shouted = bearer("two", "shout");
    harness.publish(&shouted).await;
    let doubt = harness.doubt(&shouted.id).await;
    assert!(doubt.message.contains("Bearer ***"), "{doubt}");
    assert!(!doubt.message.contains("s3cret"), "{doubt}");
    harness.close().await;
}

#[tokio::test]
async fn a_secret_that_the_worker_does_not_have_is_a_fault_before_the_call() {
    let harness = Harness::started().await;
    let secrets = vec![place("/text", 0, "TOKEM")];
    let job = Job { secrets, ..safe("one", "note", json!({ "text": "secret:TOKEM" })) };
    harness.publish(&job).await;
    let (outcome, attempts) = harness.outcome(&job.id).await;
    let Outcome::Fault(fault) = outcome else { panic!("no fault: {outcome:?}") };
    assert_eq!((fault.class, attempts[0].sent), (FaultClass::Unauthorised, Sent::Never));
    assert_eq!(
        fault.message,
        "this worker has no secret `TOKEM` under `longshore.secrets` of its servers file; it has `PIN`, `TOKEN`; did \
         you mean `TOKEN`?"
    );
    let secrets = vec![place("/text", 3, "TOKEN")];
    let job = Job { secrets, ..safe("two", "note", json!({ "text": "secret:TOKEN" })) };
    harness.publish(&job).await;
    let fault = harness.fault(&job.id).await;
    assert_eq!(fault.class, FaultClass::Internal);
    assert!(fault.message.contains("no place for a secret at `/text`"), "{fault}");
    assert_eq!(harness.journal(), Vec::<String>::new());
    harness.close().await;
}
