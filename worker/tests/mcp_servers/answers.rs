//! Messages that servers send instead of a plain answer: broken messages, questions, progress, resources, and answers that come later.

use std::sync::Mutex;
use std::time::Duration;

use longshore_proto::{CallActivity, FaultClass, Progress, Sent};
use longshore_worker::mcp::{CallFault, ReadFault};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{call, call_with_hooks, call_within, entry, fault, file, lines, pool_of, until};

#[tokio::test]
async fn answer_that_cannot_be_read_is_a_fault_at_once() {
    let pool = pool_of(entry(&[], json!({})));
    let cases = [
        (
            r#"{"jsonrpc":"2.0","id":ID,"result":{"structuredContent":{"m":NaN}}}"#,
            "`NaN` is no value of JSON",
        ),
        (r#"{"jsonrpc":"2.0","id":ID,"result":"text"}"#, "its result is no object"),
        (r#"{"jsonrpc":"2.0","id":null,"error":{"code":null,"message":null}}"#, "the server gives no reason"),
    ];
    for (line, words) in cases {
        let (class, sent, message) = fault(call(&pool, "odd", json!({ "line": line })).await);
        assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Answered), "{message}");
        assert!(message.contains(words), "{message}");
    }
    let broken = r#"{"jsonrpc":"2.0","id":"ID","result":{"content":[{"type":"new","x":1},{"type":"text","text":"a\ud83d"}]}}"#;
    let answer = call(&pool, "odd", json!({ "line": broken })).await.expect("an answer");
    assert_eq!(answer.value, json!("a\u{fffd}"));
    assert_eq!(answer.content[0], json!({"type": "new", "x": 1}));
    pool.close().await;
}

#[tokio::test]
async fn question_to_a_person_is_refused_and_the_call_is_a_fault() {
    let pool = pool_of(entry(&[], json!({})));
    let (class, sent, message) = fault(call(&pool, "elicit", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Answered), "{message}");
    assert!(message.contains("asked a person during the call: \"Really?\""), "{message}");
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn growing_progress_is_reported() {
    let pool = pool_of(entry(&[], json!({})));
    // Connects first: a slow start of the server would be reported too.
    call(&pool, "echo", json!({})).await.expect("an answer");
    let reported = Mutex::new(Vec::new());
    let report = |activity| reported.lock().expect("no panic").push(activity);
    let steps = json!({"values": [1, 2, 2, 1, 3.5], "total": 4, "message": "page\n1 \u{7}"});
    let answer =
        call_with_hooks(&pool, "steps", steps, Duration::from_secs(20), &report, &CancellationToken::new())
            .await;
    assert_eq!(answer.expect("an answer").value, "done");
    let progress = |done| {
        let message = Some("page 1".to_owned());
        CallActivity::Progress(Progress { done, total: Some(4.0), message })
    };
    let wanted = [CallActivity::Sent, progress(1.0), progress(2.0), progress(3.5)];
    assert_eq!(reported.into_inner().expect("no panic"), wanted);
    pool.close().await;
}

#[tokio::test]
async fn resource_is_read_unchanged() {
    let pool = pool_of(entry(&[], json!({})));
    let server = "s".parse().expect("a name");
    let contents = pool.read(&server, "test://one", Duration::from_secs(20)).await.expect("a resource");
    assert_eq!(contents[0], json!({"uri": "test://one", "text": "one", "new": 0.7}));
    assert_eq!(contents[1]["blob"], json!("AAAA"));
    let missing = pool.read(&server, "test://two", Duration::from_secs(20)).await.expect_err("none");
    let ReadFault::Resource(CallFault { fault, .. }) = missing else { panic!("{missing:?}") };
    assert!(fault.message.contains("Method not found"), "{}", fault.message);
    pool.close().await;
}

#[tokio::test]
async fn call_is_repeated_with_the_state_of_a_server_that_asks_for_it_again() {
    let pool = pool_of(entry(&["--modern"], json!({})));
    assert_eq!(call(&pool, "again", json!({})).await.expect("an answer").value, json!("ready"));
    pool.close().await;
}

#[tokio::test]
async fn form_is_answered_with_its_defaults_if_the_servers_file_allows_it() {
    for (options, tool, wanted) in [
        (&[][..], "elicit", json!([{"action": "accept", "content": {"name": "Ada"}}])),
        (&["--modern"], "ask", json!(["s", {"q": {"action": "accept", "content": {"name": "Ada"}}}])),
    ] {
        let pool = pool_of(entry(options, json!({ "elicitation": "defaults" })));
        assert_eq!(call(&pool, tool, json!({})).await.expect("an answer").value, wanted, "{tool}");
        let (class, sent, message) = fault(call(&pool, tool, json!({"required": ["name", "email"]})).await);
        assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Answered), "{message}");
        assert!(message.contains("the server gave none for `email`, which it requires"), "{message}");
        pool.close().await;
    }
}

#[tokio::test]
async fn progress_moves_the_deadline_up_to_a_limit() {
    let pool = pool_of(entry(&[], json!({})));
    // 1.5 s of work with a report every 0.1 s at least.
    let working = json!({"values": (0..30).collect::<Vec<_>>()});
    let answer = call_within(&pool, "steps", working, Duration::from_millis(900)).await;
    assert_eq!(answer.expect("an answer").value, json!("done"));
    let endless = json!({"values": (0..2_000).collect::<Vec<_>>()});
    let (class, sent, message) =
        fault(call_within(&pool, "steps", endless, Duration::from_millis(700)).await);
    assert_eq!((class, sent), (FaultClass::Timeout, Sent::Maybe));
    assert!(message.starts_with("no answer within 2.1s, the `max-timeout`"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn unsupported_answers_are_faults_that_say_so() {
    let dir = tempfile::tempdir().expect("a folder");
    let cancelled = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--modern", "--cancelled", &cancelled.display().to_string()], json!({})));
    let (class, sent, message) = fault(call(&pool, "ask", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Answered));
    assert!(message.contains("not built yet"), "{message}");
    let (class, sent, message) = fault(call(&pool, "task", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Maybe));
    assert!(message.contains("a task, which the call had not asked for"), "{message}");
    until("the task is cancelled", || lines(&cancelled) == ["task t1"]).await;
    pool.close().await;
}
