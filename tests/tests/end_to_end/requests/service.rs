//! Requests to a scheduler: the description of the service, and every verb with its refusals.

use std::time::Duration;

use async_nats::Subscriber;
use futures::{FutureExt, StreamExt};
use longshore_ports::WorkerEntry;
use longshore_proto::Timestamp;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::requests::harness::{Cluster, PATIENCE, WORKFLOW};

#[tokio::test(flavor = "multi_thread")]
async fn service_describes_itself() {
    let cluster = Cluster::start().await;
    cluster.ask("workflows", json!({})).await.expect("serves");
    let info = cluster.client.request("$SRV.INFO.longshore", "".into()).await.expect("answers");
    let info: Value = serde_json::from_slice(&info.payload).expect("JSON");
    assert_eq!((&info["name"], &info["version"]), (&json!("longshore"), &json!(env!("CARGO_PKG_VERSION"))));
    let endpoints: Vec<_> = info["endpoints"].as_array().expect("a list").iter().collect();
    let mut subjects: Vec<_> = endpoints.iter().filter_map(|endpoint| endpoint["subject"].as_str()).collect();
    subjects.sort_unstable();
    let verbs = [
        "cancel",
        "dlq",
        "dlq-drop",
        "dlq-get",
        "dlq-retry",
        "get",
        "list",
        "output",
        "push",
        "submit",
        "unregister",
        "workflow",
        "workflows",
    ];
    assert_eq!(subjects, verbs.map(|verb| format!("longshore.v1.api.*.{verb}")));
    assert!(endpoints.iter().all(|endpoint| endpoint["metadata"]["request"].is_string()), "{endpoints:?}");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_is_pushed_run_shown_and_listed() {
    let cluster = Cluster::start().await;
    let pushed = cluster.ask("push", json!({ "text": WORKFLOW })).await.expect("registers");
    assert_eq!(pushed["name"], "report");
    let listed = cluster.ask_of("default", "workflows", "").await.expect("lists");
    assert_eq!(listed, json!([pushed]));

    let mut updates =
        cluster.client.subscribe("longshore.v1.evt.default.report.>").await.expect("subscribes");
    cluster.client.flush().await.expect("flushes");
    let submit = json!({ "workflow": "report", "version": pushed["digest"], "inputs": { "month": 3 } });
    let run = cluster.ask("submit", submit).await.expect("submits")["run"].clone();
    let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
    assert_eq!((&view["status"], &view["inputs"]), (&json!("running"), &json!({ "month": 3 })));
    let mut statuses = Vec::new();
    statuses.push(next_update(&mut updates, &run).await);
    let job = cluster.job().await;
    cluster.settle(job, json!([1, 2])).await;
    statuses.push(next_update(&mut updates, &run).await);
    assert_eq!(statuses, ["run running: running", "run succeeded: succeeded"]);
    let view = loop {
        let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
        if view["status"] != "running" {
            break view;
        }
        sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&view["status"], &view["outputs"]), (&json!("succeeded"), &json!({ "rows": [1, 2] })));
    let listed = cluster.ask("list", json!({ "status": "succeeded", "namespace": "default" })).await;
    assert_eq!(listed.expect("lists")["runs"][0]["run"], run);
    let listed = cluster.ask("list", json!({ "status": ["failed", "running"] })).await;
    assert_eq!(listed, Ok(json!({ "runs": [] })));
    cluster.end().await;
}

/// Returns the next update of a run: its subject, the status of the run, and the status of its step.
async fn next_update(updates: &mut Subscriber, run: &Value) -> String {
    let message = timeout(PATIENCE, updates.next()).await.expect("in time").expect("an update");
    let update: Value = serde_json::from_slice(&message.payload).expect("JSON");
    let what = message.subject.rsplit('.').next().expect("a token").to_owned();
    assert_eq!(message.subject.as_str(), format!("longshore.v1.evt.default.report.{}.{what}", text(run)));
    format!("{what} {}: {}", text(&update["status"]), text(&update["steps"][0]["status"]))
}

/// The reason why a call waits that a worker may have taken and that no leader has granted.
const NOT_GRANTED: &str = "the grant of its call, which has not been made";

#[tokio::test(flavor = "multi_thread")]
async fn run_without_a_worker_shows_it_and_can_be_cancelled() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let run = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits")["run"].clone();
    let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
    assert_eq!(view["steps"][0]["waiting_for"], "a worker that serves `crm`: no worker is listed in Redis");
    let entry = WorkerEntry {
        worker: "worker".parse().expect("a node"),
        version: "1".to_owned(),
        started_at: Timestamp::from_millis(1),
        slots: 1,
        servers: vec!["crm".parse().expect("a server")],
        problems: Vec::new(),
    };
    cluster.redis.catalog().announce(&entry, PATIENCE).await.expect("announces");
    let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
    assert_eq!(view["steps"][0]["waiting_for"], NOT_GRANTED);

    let job = cluster.job().await;
    let cancelled = cluster.ask("cancel", json!({ "run": run, "reason": "a test" })).await;
    assert_eq!(cancelled, Ok(json!({ "run": run })));
    timeout(PATIENCE, job.recalled.cancelled()).await.expect("recalled in time");
    cluster.settle(job, json!([])).await;
    let again = loop {
        match cluster.ask("cancel", json!({ "run": run })).await {
            Ok(_) => sleep(Duration::from_millis(20)).await,
            Err(refused) => break refused,
        }
    };
    assert_eq!((again.0, &again.1["reason"]), (409, &json!("ended")));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_run_whose_cleanup_no_worker_serves_is_terminated() {
    let cluster = Cluster::start().await;
    let steps = "[{ id: a, call: crm/x }, { id: clean, call: nobody/x, if: always() }]";
    cluster.push(&format!("longshore: v1\nname: stuck\nsteps: {steps}\n")).await;
    let run = cluster.ask("submit", json!({ "workflow": "stuck" })).await.expect("submits")["run"].clone();
    let until = async |status: &str| {
        let shown = async {
            loop {
                let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
                if view["status"] == status {
                    return view;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, shown).await.expect("has the status in time")
    };
    cluster.ask("cancel", json!({ "run": run })).await.expect("cancels");
    let view = until("cancelling").await;
    assert_eq!(view["steps"][1]["status"], "running", "no worker serves it");
    cluster.ask("cancel", json!({ "run": run, "terminate": true })).await.expect("terminates");
    let view = until("cancelled").await;
    assert_eq!(view["steps"][1]["status"], "cancelled");
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn run_queued_behind_others_shows_it() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let entry = WorkerEntry {
        worker: "worker".parse().expect("a node"),
        version: "1".to_owned(),
        started_at: Timestamp::from_millis(1),
        slots: 1,
        servers: vec!["crm".parse().expect("a server")],
        problems: Vec::new(),
    };
    cluster.redis.catalog().announce(&entry, PATIENCE).await.expect("announces");
    let mut runs = Vec::new();
    for _ in 0..3 {
        let run = cluster.ask("submit", json!({ "workflow": "report" })).await.expect("submits");
        runs.push(run["run"].clone());
    }
    let held = cluster.job().await;
    let out = held.job.id.run.to_string();
    for run in runs {
        let waits = async {
            loop {
                let view = cluster.ask("get", json!({ "run": run })).await.expect("shows");
                let waiting_for = view["steps"][0]["waiting_for"].clone();
                // The other jobs may not be queued yet.
                if waiting_for == NOT_GRANTED && run == out
                    || waiting_for == "a free worker that serves `crm`: 2 jobs are queued"
                {
                    return waiting_for == NOT_GRANTED;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        assert_eq!(timeout(PATIENCE, waits).await.expect("in time"), run == out);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn id_of_a_run_cannot_be_used_for_another() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let first = json!({ "workflow": "report", "id": "order-1", "inputs": { "month": 3 } });
    let made = cluster.ask("submit", first.clone()).await.expect("submits");
    assert_eq!(made["existed"], false);
    cluster.ask("get", json!({ "run": made["run"] })).await.expect("is in a checkpoint");
    let newer = format!("{WORKFLOW}description: newer\n");
    cluster.push(&newer).await;
    let newest = cluster.ask("workflows", json!({})).await.expect("lists")[0]["digest"].clone();
    assert_ne!(newest, made["digest"]);

    // The same submit again is the same run, with the version or without it.
    let same = json!({ "run": made["run"], "digest": made["digest"], "existed": true });
    let with = |field: &str, value: Value| {
        let mut submit = first.clone();
        submit[field] = value;
        submit
    };
    for submit in [first.clone(), with("version", made["digest"].clone())] {
        assert_eq!(cluster.ask("submit", submit.clone()).await, Ok(same.clone()), "{submit}");
    }
    let refused = [
        (with("inputs", json!({ "month": 4 })), "other inputs (month)"),
        (with("inputs", json!({})), "other inputs (month)"),
        (with("inputs", json!({ "day": 4 })), "other inputs"),
        (with("version", newest), "another version of the workflow"),
    ];
    for (submit, words) in refused {
        let (code, body) = cluster.ask("submit", submit.clone()).await.expect_err("is refused");
        assert_eq!((code, &body["reason"]), (409, &json!("id_taken")), "{submit}: {body}");
        let error = text(&body["error"]);
        assert!(error.contains(words) && error.contains(text(&made["run"])), "{submit}: {body}");
    }
    let other = cluster.ask("submit", with("id", json!("order-2"))).await.expect("submits");
    assert_eq!(other["existed"], false);
    cluster.ask("get", other.clone()).await.expect("takes what a submit answers");
    cluster.ask("cancel", other).await.expect("takes what a submit answers");
    assert_eq!(cluster.job().await.job.id.run.to_string(), text(&made["run"]));
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_request_is_answered_with_a_code_and_every_problem() {
    let cluster = Cluster::start().await;
    cluster.push(WORKFLOW).await;
    let unknown = json!({ "run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w" });
    let elsewhere = json!({ "run": "run_77_01kbgq5v8m3n4p5q6r7s8t9v0w" });
    let two_problems = json!({ "workflow": "report", "inputs": { "month": "x", "n": 1 } });
    let broken = json!({ "text": "longshore: v1\nname: broken\nsteps:\n  - { id: a, cal: s/t }\n" });
    let cases = [
        ("submit", json!({ "workflow": "unknown" }), 404, "unknown_workflow", 1),
        ("submit", json!({ "workflow": "Not A Name" }), 400, "malformed", 1),
        ("submit", json!({ "inputs": {} }), 400, "malformed", 1),
        ("submit", json!([1]), 400, "malformed", 1),
        ("submit", two_problems, 400, "invalid_inputs", 2),
        ("submit", json!({ "workflow": "report", "id": "" }), 400, "invalid_id", 1),
        ("submit", json!({ "workflow": "report", "version": "zz" }), 404, "unknown_version", 1),
        ("get", unknown.clone(), 404, "unknown_run", 1),
        ("get", elsewhere.clone(), 404, "unknown_run", 1),
        ("cancel", unknown, 404, "unknown_run", 1),
        ("cancel", elsewhere, 404, "unknown_run", 1),
        ("list", json!({ "status": "lost" }), 400, "malformed", 1),
        ("push", broken, 400, "invalid_workflow", 1),
    ];
    for (verb, request, code, reason, problems) in cases {
        let Err((found, body)) = cluster.ask(verb, request.clone()).await else {
            panic!("{verb} {request} was granted")
        };
        assert_eq!((found, &body["reason"]), (code, &json!(reason)), "{verb} {request}: {body}");
        let listed = body["problems"].as_array().expect("a list");
        assert!(listed.len() >= problems && body["error"].is_string(), "{verb} {request}: {body}");
        assert!(listed.iter().all(|problem| problem["message"].is_string()), "{verb} {request}: {body}");
    }
    let garbage = cluster.ask_of("default", "submit", vec![0xff, 0x00, 0x7b]).await;
    assert!(matches!(garbage, Err((400, _))), "{garbage:?}");
    cluster.end().await;
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn costly_pushes_of_a_namespace_do_not_delay_another() {
    const PUSHES: usize = 4;
    let cluster = Cluster::start().await;
    cluster.ask_of("others", "push", json!({ "text": WORKFLOW }).to_string()).await.expect("registers");
    let mut answers = cluster.client.subscribe("_INBOX.pushes").await.expect("subscribes");
    let costly = vec!["${{ inputs.month * 2 + size('a') > 1 ? [1, 2] : [inputs.month] }}"; 1_500];
    for number in 0..PUSHES {
        let text = json!({
            "longshore": "v1",
            "name": format!("costly-{number}"),
            "inputs": { "month": { "type": "integer", "default": 1 } },
            "steps": [{ "set": { "all": costly } }],
        });
        let push = json!({ "text": text.to_string() }).to_string();
        let (subject, reply) = ("longshore.v1.api.default.push", "_INBOX.pushes");
        cluster.client.publish_with_reply(subject, reply, push.into()).await.expect("publishes");
    }
    // Messages of one connection arrive in order, so the scheduler has the pushes by now.
    let listed = cluster.ask_of("others", "list", "").await.expect("lists");
    assert_eq!(listed, json!({ "runs": [] }));
    cluster.ask_of("others", "submit", r#"{"workflow":"report"}"#).await.expect("submits");
    let mut answered = 0;
    while let Some(Some(_)) = answers.next().now_or_never() {
        answered += 1;
    }
    assert!(answered < PUSHES, "the other namespace was answered during the pushes");
    while answered < PUSHES {
        let answer = timeout(PATIENCE, answers.next()).await.expect("in time").expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        let is_registered = answer["name"].as_str().is_some_and(|name| name.starts_with("costly-"));
        // On a busy machine a push may take longer than the limit of a request.
        let is_too_late =
            answer["error"].as_str().is_some_and(|error| error.starts_with("no answer in time"));
        assert!(is_registered || is_too_late, "{answer}");
        answered += 1;
    }
    cluster.end().await;
}
