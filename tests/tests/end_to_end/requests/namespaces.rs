//! Requests of one namespace about runs and dead letters of another one.

use std::time::Duration;

use futures::StreamExt;
use longshore_proto::Signal;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::requests::harness::{Cluster, PATIENCE, WORKFLOW};

#[tokio::test(flavor = "multi_thread")]
async fn run_of_another_namespace_is_answered_like_an_unknown_one() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let run = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits")["run"].clone();
    cluster.ask("get", json!({ "run": run })).await.expect("shows its own");

    let others = async |verb: &str, body: Value| cluster.ask_of("others", verb, body.to_string()).await;
    let unknown = json!("run_00_01kbgq5v8m3n4p5q6r7s8t9v0w");
    for verb in ["get", "cancel"] {
        let (code, theirs) = others(verb, json!({ "run": run })).await.expect_err("is refused");
        let (_, unknown_answer) = others(verb, json!({ "run": unknown })).await.expect_err("is refused");
        assert_eq!(code, 404);
        let theirs = theirs.to_string().replace(text(&run), text(&unknown));
        assert_eq!(theirs, unknown_answer.to_string(), "{verb}");
    }
    assert_eq!(others("list", json!({})).await, Ok(json!({ "runs": [] })));
    assert_eq!(others("workflows", json!({})).await, Ok(json!([])));
    let workflow = others("workflow", json!({ "workflow": "report" })).await.expect_err("is refused");
    assert_eq!(workflow.1["reason"], "unknown_workflow");
    for (verb, body) in
        [("list", json!({ "namespace": "default" })), ("get", json!({ "run": run, "namespace": "default" }))]
    {
        let (code, body) = others(verb, body).await.expect_err("is refused");
        assert_eq!((code, &body["reason"]), (400, &json!("other_namespace")), "{body}");
        assert!(text(&body["error"]).contains("longshore.v1.api.default.<verb>"), "{body}");
    }
    let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
    assert_eq!(view["status"], "running", "it was not cancelled");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unchecked_cancel_does_not_stop_a_run_of_another_namespace() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let run = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits")["run"].clone();
    let job = cluster.job().await;
    let (id, others) = (text(&run).parse().expect("a run"), "others".parse().expect("a namespace"));
    // While Redis is unreachable, only the leader can check a cancel in the log.
    let intake =
        longshore_scheduler::Intake::new(cluster.backend.clone(), crate::requests::harness::PARTITIONS);
    intake.signal(&others, id, Signal::Cancel { reason: "not theirs".to_owned() }).await.expect("appends");
    cluster.settle(job, json!([])).await;
    let ended = async {
        loop {
            let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
            if view["status"] != "running" {
                return view;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    let view = timeout(PATIENCE, ended).await.expect("ends in time");
    assert_eq!((&view["status"], &view["cancel_reason"]), (&json!("succeeded"), &Value::Null));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_read_by_requests_of_their_namespace() {
    let cluster = Cluster::start().await;
    cluster.publish("default.unknown", &[], r#"{"inputs": {"a": 1}}"#).await;
    cluster.publish("others.unknown", &[], "").await;
    cluster.dead_letters(2).await;
    let ours = cluster.ask("dlq", json!({ "limit": 10 })).await.expect("lists");
    let theirs = cluster.ask_of("others", "dlq", "").await.expect("lists");
    let subject = |letters: &Value| letters[0]["subject"].clone();
    assert_eq!(
        (subject(&ours), ours.as_array().map(Vec::len)),
        (json!("longshore.v1.submit.default.unknown"), Some(1))
    );
    assert_eq!(
        (subject(&theirs), theirs.as_array().map(Vec::len)),
        (json!("longshore.v1.submit.others.unknown"), Some(1))
    );
    let number = json!({ "number": ours[0]["number"] });
    assert_eq!(
        cluster.ask("dlq-get", number.clone()).await.expect("shows")["body"],
        r#"{"inputs": {"a": 1}}"#
    );
    let refused = cluster.ask_of("others", "dlq-get", number.to_string()).await.expect_err("is refused");
    assert_eq!((refused.0, &refused.1["reason"]), (404, &json!("unknown_letter")));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_is_never_published_on_a_subject_of_longshore() {
    let cluster = Cluster::start().await;
    let mut messages = cluster.client.subscribe("longshore.v1.evt.>").await.expect("subscribes");
    let subject = "longshore.v1.api.default.workflows";
    cluster.ask("workflows", json!({})).await.expect("serves");
    let forged = cluster.client.publish_with_reply(subject, "longshore.v1.evt.others.a.b.run", "".into());
    forged.await.expect("publishes");
    // This request is answered after the forged one, whose answer would have arrived by now.
    cluster.ask("workflows", json!({})).await.expect("serves");
    assert!(timeout(Duration::from_millis(500), messages.next()).await.is_err(), "no answer arrives");
    cluster.end().await;
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}
