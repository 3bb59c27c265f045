//! Answers and faults of a server over standard input and output.

use std::time::Duration;

use longshore_proto::{CallActivity, FaultClass, Sent};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fixture::{
    PATIENCE, call, call_watched, call_within, entry, fault, file, lines, pool, pool_of, until,
};

#[tokio::test]
async fn a_tool_answers_in_either_era() {
    for (options, version, modern) in
        [(&[][..], "2025-11-25", false), (&["--modern"][..], "2026-07-28", true)]
    {
        let pool = pool_of(entry(options, json!({})));
        let answer = call(&pool, "echo", json!({"text": "hello"})).await.expect("an answer");
        assert_eq!(answer.value, json!({"text": "hello"}));
        assert_eq!(answer.content[0]["type"], "text");
        let answer = call(&pool, "structured", json!({})).await.expect("an answer");
        assert_eq!(answer.value, json!({"answer": 42}));
        let report = pool.check(&"s".parse().unwrap()).await.expect("a report");
        assert_eq!((report.protocol_version.as_str(), report.modern), (version, modern));
        assert_eq!(
            (report.name.as_deref(), report.version.as_deref()),
            (Some("fault-server"), Some("1.2.3"))
        );
        assert!(report.pid.is_some() && report.tools > 10, "{report:?}");
        pool.close().await;
    }
}

#[tokio::test]
async fn an_era_can_be_forced_and_a_sloppy_server_is_tried_again() {
    let works = |entry: Value| async move {
        let pool = pool_of(entry);
        let answer = call(&pool, "echo", json!({})).await;
        pool.close().await;
        answer
    };
    assert!(works(entry(&["--sloppy"], json!({}))).await.is_ok());
    assert!(works(entry(&[], json!({"protocol": "legacy"}))).await.is_ok());
    assert!(works(entry(&["--modern"], json!({"protocol": "modern"}))).await.is_ok());
    let (class, sent, _) = fault(works(entry(&[], json!({"protocol": "modern"}))).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Never));
    let (class, sent, _) = fault(works(entry(&["--modern"], json!({"protocol": "legacy"}))).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Never));
}

#[tokio::test]
async fn a_server_that_ends_at_the_question_about_its_era_gets_the_handshake_and_is_asked_once() {
    let folder = tempfile::tempdir().unwrap();
    let starts = file(&folder, "starts");
    let pool = pool_of(entry(&["--strict", "--starts", starts.to_str().unwrap()], json!({})));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    assert_eq!(lines(&starts).len(), 2, "one process for each question");
    assert_eq!(fault(call(&pool, "die", json!({})).await).0, FaultClass::Unavailable);
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    assert_eq!(lines(&starts).len(), 3, "its era is remembered");
    pool.close().await;
}

#[tokio::test]
async fn a_server_that_leaves_the_question_about_its_era_unanswered_gets_the_handshake_soon() {
    // The library would wait for 10 s.
    let patient = json!({ "connect_timeout_ms": 9000 });
    let folder = tempfile::tempdir().unwrap();
    let starts = file(&folder, "starts");
    let options = ["--ignore", "--starts", starts.to_str().unwrap()];
    let pool = pool_of(entry(&options, patient.clone()));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    assert_eq!(lines(&starts).len(), 1, "the same process");
    pool.close().await;
    // One that is slow to start, and of the other era.
    let pool = pool_of(entry(&["--modern", "--late", "3.5"], json!({ "connect_timeout_ms": 20000 })));
    let report = pool.check(&"s".parse().unwrap()).await.expect("a report");
    assert!(report.modern, "{report:?}");
    pool.close().await;
}

#[tokio::test]
async fn a_handshake_offers_a_version_that_has_one_and_takes_no_unknown_one() {
    for options in [&["--echo-version"][..], &["--echo-version", "--strict"]] {
        let pool = pool_of(entry(options, json!({ "protocol": "legacy" })));
        let report = pool.check(&"s".parse().unwrap()).await.expect("a report");
        assert_eq!((report.protocol_version.as_str(), report.modern), ("2025-11-25", false));
        pool.close().await;
    }
    for (version, words) in [("2031-01-01", "chose protocol version"), ("2026-07-28", "which has none")] {
        let pool = pool_of(entry(&["--version", version], json!({})));
        let (_, sent, message) = fault(call(&pool, "echo", json!({})).await);
        assert!(sent == Sent::Never && message.contains(words) && message.contains(version), "{message}");
        pool.close().await;
    }
}

#[tokio::test]
async fn a_list_that_leads_in_a_circle_ends_with_what_came() {
    let pool = pool_of(entry(&["--circular-list"], json!({})));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn the_key_and_the_trace_go_along() {
    let pool = pool_of(entry(&[], json!({})));
    let meta = call(&pool, "meta", json!({})).await.expect("an answer").value;
    assert_eq!(meta["dev.longshore/idempotency-key"], "run/step");
    assert_eq!(meta["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    assert_eq!(meta["tracestate"], "a=b");
    let keyed = call(&pool, "keyed", json!({})).await.expect("an answer").value;
    assert_eq!(keyed, json!({"idempotency_key": "run/step"}));
    let unkeyed = call(&pool, "keyed_shortly", json!({})).await.expect("an answer").value;
    assert_eq!(unkeyed, json!({}), "its schema takes keys of four characters at most");
    pool.close().await;
}

#[tokio::test]
async fn garbage_on_the_output_is_skipped() {
    let pool = pool_of(entry(&[], json!({})));
    assert_eq!(call(&pool, "noise", json!({})).await.expect("an answer").value, "after the noise");
    pool.close().await;
}

#[tokio::test]
async fn the_environment_of_a_server_is_clean() {
    let mut entry = entry(&[], json!({}));
    entry["env"] = json!({"TOKEN": "${LONGSHORE_TEST_SECRET}"});
    let pool = pool_of(entry);
    let env = call(&pool, "env", json!({})).await.expect("an answer").value;
    // Masked, because it is the very value of the variable.
    assert_eq!(env["TOKEN"], "***");
    assert!(env.get("PATH").is_some());
    // Cargo's variables are in the environment of every test and must not reach a child.
    let leaked: Vec<&String> =
        env.as_object().expect("an object").keys().filter(|name| name.starts_with("CARGO")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    pool.close().await;
}

#[tokio::test]
async fn a_server_runs_where_the_file_says() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut entry = entry(&[], json!({}));
    entry["cwd"] = json!(dir.path());
    let pool = pool_of(entry);
    let cwd = call(&pool, "cwd", json!({})).await.expect("an answer").value;
    assert_eq!(cwd, json!(dir.path().canonicalize().expect("a folder")));
    pool.close().await;
}

#[tokio::test]
async fn errors_of_a_tool_and_of_the_protocol_are_told_apart() {
    let pool = pool_of(entry(&[], json!({})));
    let failed = call(&pool, "fail", json!({"text": "no such city"})).await.expect("an answer");
    assert_eq!((failed.is_error, failed.error_text.as_str()), (true, "no such city"));
    assert_eq!(failed.value, "no such city");
    let (class, sent, message) = fault(call(&pool, "reported", json!({})).await);
    assert_eq!((class, sent), (FaultClass::InvalidArguments, Sent::Answered));
    assert!(message.contains("Invalid arguments"), "{message}");
    for (code, class, sent) in [
        (-32603, FaultClass::ProtocolError, Sent::Answered),
        (-32601, FaultClass::ProtocolError, Sent::Never),
        (-32602, FaultClass::InvalidArguments, Sent::Never),
    ] {
        let seen = fault(call(&pool, "rpc_error", json!({"code": code, "message": "because"})).await);
        assert_eq!(seen, (class, sent, format!("because ({code})")));
    }
    pool.close().await;
}

#[tokio::test]
async fn the_tools_of_a_server_come_with_schema_and_hints() {
    let pool = pool_of(entry(&[], json!({})));
    let tools = pool.tools(&"s".parse().unwrap()).await.expect("tools");
    let echo = tools.tools.iter().find(|tool| tool.name.as_str() == "echo").expect("echo");
    assert_eq!(echo.description.as_deref(), Some("Gives its arguments back."));
    assert_eq!(echo.input_schema["properties"]["text"], json!({"type": "string"}));
    assert_eq!((echo.hints.read_only, echo.hints.idempotent), (Some(true), None));
    pool.close().await;
}

#[tokio::test]
async fn mistakes_are_found_before_the_call() {
    let pool = pool_of(entry(&[], json!({})));
    let (class, sent, message) = fault(call(&pool, "ecco", json!({})).await);
    assert_eq!((class, sent), (FaultClass::UnknownTool, Sent::Never));
    assert!(message.contains("did you mean `echo`?") && message.contains("reported and 5 more"), "{message}");
    let (class, sent, message) = fault(call(&pool, "echo", json!({"text": 7})).await);
    assert_eq!((class, sent), (FaultClass::InvalidArguments, Sent::Never));
    assert!(message.contains("/text: the value is not of type \"string\""), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn a_tool_that_appears_later_is_found() {
    for tell in [false, true] {
        let pool = pool_of(entry(&[], json!({})));
        call(&pool, "grow", json!({"name": "fresh", "tell": tell})).await.expect("an answer");
        assert_eq!(call(&pool, "fresh", json!({})).await.expect("an answer").value, "fresh was called");
        pool.close().await;
    }
}

#[tokio::test]
async fn a_server_without_a_list_is_called_all_the_same() {
    let pool = pool_of(entry(&["--no-list"], json!({})));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn a_list_without_end_is_given_up() {
    let pool = pool_of(entry(&["--endless-list"], json!({})));
    let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Never));
    assert!(message.contains("more than"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn a_server_that_never_answers_meets_its_deadline() {
    let dir = tempfile::tempdir().expect("a folder");
    let cancelled = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--cancelled", &cancelled.display().to_string()], json!({})));
    let seen = fault(call_within(&pool, "never", json!({}), Duration::from_millis(300)).await);
    assert_eq!(seen, (FaultClass::Timeout, Sent::Maybe, "no answer within 300ms".to_owned()));
    until("the server is told to stop", || lines(&cancelled) == ["call"]).await;
    pool.close().await;
}

#[tokio::test]
async fn what_a_server_printed_during_a_call_is_in_the_message_of_its_deadline() {
    let mut entry = entry(&[], json!({}));
    entry["env"] = json!({"TOKEN": "${LONGSHORE_TEST_SECRET}"});
    let pool = pool_of(entry);
    let mut deadline = Duration::from_millis(200);
    // The server may be slow to print; then it gets more time.
    let message = loop {
        call(&pool, "echo", json!({})).await.expect("an answer");
        let say = json!({"say": "waiting for the lock with s3cret-value"});
        let (class, _, message) = fault(call_within(&pool, "never", say, deadline).await);
        assert_eq!(class, FaultClass::Timeout);
        if message.contains("it said") || deadline > PATIENCE / 4 {
            break message;
        }
        deadline *= 2;
    };
    assert!(message.ends_with("; it said:\nwaiting for the lock with ***"), "{message}");
    call(&pool, "echo", json!({})).await.expect("an answer");
    let (_, _, message) = fault(call_within(&pool, "never", json!({}), Duration::from_millis(200)).await);
    assert_eq!(message, "no answer within 200ms", "what it said during another call is not repeated");
    pool.close().await;
}

#[tokio::test]
async fn the_data_of_an_error_is_in_its_message() {
    let pool = pool_of(entry(&[], json!({})));
    let data = json!({"elicitations": [{"mode": "url", "url": "https://example.com/sign-in"}]});
    let given = json!({"code": -32042, "message": "sign in first", "data": data});
    let (_, _, message) = fault(call(&pool, "rpc_error", given).await);
    assert!(message.starts_with("sign in first (-32042); data: {\"elicitations\":[{"), "{message}");
    assert!(message.contains("https://example.com/sign-in"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn a_server_that_stops_reading_meets_its_deadline_too() {
    let pool = pool_of(entry(&[], json!({})));
    call(&pool, "deafen", json!({})).await.expect("an answer");
    // More than any pipe holds, so that the request itself cannot be written.
    let long = json!({"text": "x".repeat(1_000_000)});
    for _ in 0..2 {
        let (class, sent, _) =
            fault(call_within(&pool, "echo", long.clone(), Duration::from_millis(300)).await);
        assert_eq!((class, sent), (FaultClass::Timeout, Sent::Maybe));
    }
    assert!(call(&pool, "echo", long).await.is_ok(), "the next call has a new server");
    pool.close().await;
}

#[tokio::test]
async fn the_server_file_can_shorten_every_deadline() {
    let pool = pool_of(entry(&[], json!({"call_timeout_ms": 200})));
    let (class, _, message) = fault(call(&pool, "never", json!({})).await);
    assert_eq!((class, message.as_str()), (FaultClass::Timeout, "no answer within 200ms"));
    pool.close().await;
}

#[tokio::test]
async fn an_answer_after_the_deadline_disturbs_nobody() {
    let pool = pool_of(entry(&[], json!({})));
    let (class, _, _) =
        fault(call_within(&pool, "slow", json!({"seconds": 0.3}), Duration::from_millis(100)).await);
    assert_eq!(class, FaultClass::Timeout);
    assert_eq!(call(&pool, "slow", json!({"seconds": 0.4})).await.expect("an answer").value, "slept");
    pool.close().await;
}

#[tokio::test]
async fn two_deadlines_in_a_row_replace_the_connection() {
    let pool = pool_of(entry(&[], json!({})));
    let pid = |pool| async move { call(pool, "pid", json!({})).await.expect("an answer").value };
    let first = pid(&pool).await;
    let wait = Duration::from_millis(100);
    call_within(&pool, "never", json!({}), wait).await.expect_err("a fault");
    assert_eq!(pid(&pool).await, first, "one is not enough, and an answer forgives it");
    call_within(&pool, "never", json!({}), wait).await.expect_err("a fault");
    call_within(&pool, "never", json!({}), wait).await.expect_err("a fault");
    assert_ne!(pid(&pool).await, first);
    pool.close().await;
}

#[tokio::test]
async fn a_cancelled_run_ends_its_call_and_tells_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let told = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--cancelled", &told.display().to_string()], json!({})));
    call(&pool, "echo", json!({})).await.expect("an answer");
    let cancel = CancellationToken::new();
    let steps = json!({"values": [1, 2, 3, 4, 5, 6, 7, 8, 9]});
    // The first progress proves that the call has arrived.
    let progress = |activity| {
        if matches!(activity, CallActivity::Progress(_)) {
            cancel.cancel();
        }
    };
    let seen = fault(call_watched(&pool, "steps", steps, Duration::from_secs(20), &progress, &cancel).await);
    assert_eq!((seen.0, seen.1), (FaultClass::Cancelled, Sent::Maybe));
    until("the server is told", || lines(&told) == ["call"]).await;
    let early =
        fault(call_watched(&pool, "echo", json!({}), Duration::from_secs(20), &|_| {}, &cancel).await);
    assert_eq!((early.0, early.1), (FaultClass::Cancelled, Sent::Never));
    pool.close().await;
}

#[tokio::test]
async fn an_abandoned_call_is_cancelled_at_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let told = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--cancelled", &told.display().to_string()], json!({})));
    call(&pool, "echo", json!({})).await.expect("an answer");
    let abandoned = tokio::time::timeout(Duration::from_millis(200), call(&pool, "never", json!({}))).await;
    assert!(abandoned.is_err());
    until("the server is told", || lines(&told) == ["call"]).await;
    pool.close().await;
}

#[tokio::test]
async fn fifty_calls_at_once_share_one_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let starts = file(&dir, "starts");
    let pool = pool_of(entry(&["--starts", &starts.display().to_string()], json!({})));
    let calls = (0..50).map(|number| {
        let pool = &pool;
        async move { (number, call(pool, "echo", json!({"text": number.to_string()})).await) }
    });
    for (number, answer) in futures::future::join_all(calls).await {
        assert_eq!(answer.expect("an answer").value, json!({"text": number.to_string()}));
    }
    assert_eq!(lines(&starts).len(), 1);
    pool.close().await;
}

#[tokio::test]
async fn an_unknown_server_is_answered_with_what_exists() {
    let mut off = entry(&[], json!({}));
    off["disabled"] = json!(true);
    let none = pool(json!({"files": entry(&[], json!({})), "s": off}));
    let (class, sent, message) = fault(call(&none, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::UnknownServer, Sent::Never));
    assert_eq!(message, "the server `s` cannot be used: it is disabled in the file");
    let seen = none.tools(&"file".parse().unwrap()).await;
    assert_eq!(fault(seen).2, "no server `file` in the servers file; did you mean `files`?");
}
