//! Submits by plain publish: accepted, recognised if they are duplicates, or refused with the reason.

use longshore_proto::{Payload, TraceContext};
use serde_json::json;

use crate::requests::harness::{Cluster, WORKFLOW};

/// The subject, headers and body of a publish, and the code and words of its refusal.
type Refused<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], &'a str, &'a str);

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread")]
async fn publish_in_json_or_messagepack_is_a_run_with_its_trace() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let headers = [("traceparent", TRACE), ("Content-Type", "application/json; charset=utf-8")];
    cluster.publish("default.report", &headers, r#"{"inputs": {"month": 7}}"#).await;
    let job = cluster.job().await;
    assert_eq!(job.job.arguments, Payload::Inline(json!({ "month": 7 })));
    assert_eq!(job.job.trace, Some(TraceContext { traceparent: TRACE.to_owned(), tracestate: None }));

    // {"inputs": {"month": 8}} in MessagePack.
    let packed = b"\x81\xa6inputs\x81\xa5month\x08".to_vec();
    cluster.publish("default.report", &[("content-type", "application/msgpack")], packed).await;
    let second = cluster.job().await; // kept, or the queue would deliver it again
    assert_eq!(second.job.arguments, Payload::Inline(json!({ "month": 8 })));

    cluster.publish("default.report", &[], "").await;
    assert_eq!(cluster.job().await.job.arguments, Payload::Inline(json!({ "month": 1 })), "the default");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn same_id_is_the_same_run_in_every_form() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let submit = json!({ "workflow": "report", "id": "order-1" });
    let first = cluster.ask("submit", submit.clone()).await.expect("submits");
    let job = cluster.job().await;
    assert_eq!(first["run"], job.job.id.run.to_string());
    assert_eq!(cluster.ask("submit", submit).await.expect("submits")["run"], first["run"]);
    cluster.publish("default.report", &[], r#"{"id": "order-1"}"#).await;
    cluster.publish("default.report", &[("Nats-Msg-Id", "order-1")], "").await;
    // Another id, published after the copies: once its job is queued, theirs would have been too.
    cluster.publish("default.report", &[("Nats-Msg-Id", "order-2")], "").await;
    let other = cluster.job().await;
    assert_ne!(other.job.id.run, job.job.id.run);
    let runs = [job.job.id.run, other.job.id.run].map(|run| json!({ "run": run }));
    cluster.settle(job, json!([])).await;
    cluster.settle(other, json!([])).await;
    for run in runs {
        cluster.ask("get", run).await.expect("shows");
    }
    assert_eq!(cluster.runs().await, 2);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn same_id_header_in_two_namespaces_is_two_runs() {
    let cluster = Cluster::start().await;
    for namespace in ["default", "team"] {
        let namespace = namespace.parse().expect("a namespace");
        cluster.handlers.push(&namespace, WORKFLOW).await.expect("registers");
    }
    let id = [("Longshore-Id", "order-1")];
    for to in ["default.report", "team.report", "default.report"] {
        cluster.publish(to, &id, "").await;
    }
    let jobs = [cluster.job().await, cluster.job().await];
    let mut namespaces: Vec<_> = jobs.iter().map(|job| job.job.namespace.to_string()).collect();
    namespaces.sort_unstable();
    assert_eq!(namespaces, ["default", "team"]);
    for job in jobs {
        let run = cluster.run_of("order-1", &job.job.namespace).await;
        assert_eq!(job.job.id.run.to_string(), run);
        cluster.settle(job, json!([])).await;
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_submits_are_dead_letters_with_the_reason() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let large = format!(r#"{{"id": "{}"}}"#, "x".repeat(300));
    let yaml = [("content-type", "application/yaml")];
    let msgpack = [("content-type", "application/msgpack")];
    let cases: [Refused<'_>; 14] = [
        ("default.report", &[], b"{", "malformed", "EOF while parsing"),
        ("default.report", &[], b"\xff\xfe\x00garbage", "malformed", "no submit request"),
        ("default.report", &[], br#"{"input": {}}"#, "malformed", "unknown field `input`"),
        ("default.report", &[], br#"["order-1", null, {"month": 1}]"#, "malformed", "an object was expected"),
        ("default.report", &msgpack, b"{}", "malformed", "an object was expected"),
        ("default.report", &msgpack, b"\x93\xa1a\xc0\x80", "malformed", "an object was expected"),
        ("default.report", &msgpack, b"\x80\x80", "malformed", "something follows its end"),
        ("default.report", &yaml, b"inputs: {}", "malformed", "send application/json or application/msgpack"),
        ("default.report", &[], large.as_bytes(), "invalid_id", "1 to 256 characters"),
        ("default.unknown", &[], b"", "unknown_workflow", "no workflow `unknown` is registered"),
        ("other.report", &[], b"", "unknown_workflow", "in namespace `other`"),
        ("default.Report_1", &[], b"", "malformed", "`Report_1` is not a workflow name"),
        ("default.report", &[], br#"{"version": "0000"}"#, "unknown_version", "begins with `0000`"),
        (
            "default.report",
            &[],
            br#"{"inputs": {"month": "x", "n": 1}}"#,
            "invalid_inputs",
            "wants a whole number",
        ),
    ];
    for (count, (to, headers, body, code, reason)) in cases.iter().enumerate() {
        cluster.publish(to, headers, *body).await;
        let letters = cluster.dead_letters(count + 1).await;
        let letter = letters.last().expect("a letter");
        assert_eq!(letter.code, *code, "{to}: {letter:?}");
        assert!(letter.reason.contains(reason), "{to}: {letter:?}");
        assert_eq!(letter.subject, format!("longshore.v1.submit.{to}"));
        if headers.is_empty() {
            assert_eq!(letter.body, String::from_utf8_lossy(body));
        }
        assert_eq!(letter.headers.len(), headers.len(), "{letter:?}");
    }
    // {"input": 8} in MessagePack.
    let headers = [("Content-Type", "application/msgpack"), ("Longshore-Id", "order-1")];
    cluster.publish("default.report", &headers, b"\x81\xa5input\x08".to_vec()).await;
    let letters = cluster.dead_letters(cases.len() + 1).await;
    let letter = letters.last().expect("a letter");
    assert_eq!(letter.body, r#"{"input":8}"#, "for people to read");
    assert_eq!(letter.headers.get("longshore-id").map(String::as_str), Some("order-1"));
    assert_eq!(cluster.runs().await, 0);
    // Submits after all of them are accepted.
    cluster.publish("default.report", &[], "{}").await;
    cluster.job().await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reason_that_is_too_long_is_cut() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    // Each is a separate problem, and all of them together do not fit into a message.
    let unknown: serde_json::Map<_, _> = (0..40_000).map(|n| (format!("é{n}"), json!(0))).collect();
    cluster.publish("default.report", &[], json!({ "inputs": unknown }).to_string()).await;
    let letters = cluster.dead_letters(1).await;
    assert_eq!(letters[0].code, "invalid_inputs");
    assert!(letters[0].reason.contains("é1") && letters[0].reason.len() < 10_000, "{:?}", letters[0]);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn submits_of_an_atomic_batch_are_accepted_once_it_is_complete() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let in_batch = |id: &'static str, sequence: &'static str| {
        [("Nats-Batch-Id", id), ("Nats-Batch-Sequence", sequence), ("Longshore-Id", sequence)]
    };
    // A batch that is never complete, and one that is: only its last message is acknowledged.
    cluster.say("default.report", &in_batch("open", "1"), "").await;
    cluster.say("default.report", &in_batch("whole", "1"), r#"{"inputs": {"month": 2}}"#).await;
    let last = [in_batch("whole", "2").as_slice(), &[("Nats-Batch-Commit", "1")]].concat();
    cluster.publish("default.report", &last, r#"{"inputs": {"month": 3}}"#).await;
    // Kept, or the queue would deliver the first job again.
    let jobs = [cluster.job().await, cluster.job().await];
    let mut months = jobs.each_ref().map(|delivery| delivery.job.arguments.clone());
    months.sort_unstable_by_key(|month| format!("{month:?}"));
    // The incomplete batch has the id of the first, and would have been accepted before it.
    assert_eq!(months, [2, 3].map(|month| Payload::Inline(json!({ "month": month }))));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_submits_are_all_accepted() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    for number in 0..500 {
        cluster.publish("default.report", &[], format!(r#"{{"id": "n{number}"}}"#)).await;
    }
    let mut runs = std::collections::BTreeSet::new();
    while runs.len() < 500 {
        let job = cluster.job().await;
        runs.insert(job.job.id.run);
        job.receipt.ack().await.expect("acks");
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_has_no_value_given_instead_of_the_name_of_a_secret() {
    let cluster = Cluster::start().await;
    cluster
        .push(
            "longshore: v1
name: pay
inputs: { card: { secret: true, required: true }, count: { type: integer, default: 1 } }
steps:
  - { id: fetch, call: crm/list, with: { card: '${{ inputs.card }}' } }
",
        )
        .await;
    let long = format!(r#"{{"inputs":{{"card":"4111"}},"id":"{}"}}"#, "x".repeat(600));
    let cases: [(&str, &[u8], &str); 8] = [
        ("application/json", br#"{"inputs":{"card":"4111"}}"#, "invalid_inputs"),
        ("application/json", long.as_bytes(), "invalid_id"),
        ("application/json", br#"{"inputs":{"card":"4111"},"version":"zzz"}"#, "unknown_version"),
        ("application/json", br#"{"inputs":{"card":"4111"},"bogus":1}"#, "malformed"),
        ("application/json", br#"{"inputs":"4111"}"#, "malformed"),
        ("application/json", br#"{"inputs":{"card":"4111"}"#, "malformed"),
        ("application/json", br#"{"inputs":{"crad":"4111"}}"#, "invalid_inputs"),
        ("application/msgpack", b"\x81\xa6inputs\x81\xa4card\xa44111", "invalid_inputs"),
    ];
    for (count, (media_type, body, code)) in cases.iter().enumerate() {
        cluster.publish("default.pay", &[("Content-Type", media_type)], *body).await;
        let letters = cluster.dead_letters(count + 1).await;
        let letter = letters.last().expect("a letter");
        assert_eq!(letter.code, *code, "{letter:?}");
        assert!(!format!("{letter:?}").contains("4111") && !letter.whole, "{letter:?}");
    }
    // A submit with names only can be submitted again.
    cluster.publish("default.pay", &[], r#"{"inputs":{"card":"secret:CARD","count":"x"}}"#).await;
    let letters = cluster.dead_letters(cases.len() + 1).await;
    assert!(letters.last().is_some_and(|letter| letter.whole), "{letters:?}");
    cluster.end().await;
}
