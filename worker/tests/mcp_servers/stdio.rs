//! Answers and faults of a server over standard input and output.

use std::time::Duration;

use longshore_proto::{CallActivity, FaultClass, Sent};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::fixture::{
    PATIENCE, call, call_with_hooks, call_within, entry, fault, file, lines, pool, pool_of, until,
};

#[tokio::test]
async fn tool_answers_in_either_era() {
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
async fn era_can_be_forced_and_a_server_that_answers_discover_wrongly_gets_the_handshake() {
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
async fn server_that_exits_on_discover_gets_the_handshake_and_no_further_discover() {
    let folder = tempfile::tempdir().unwrap();
    let starts = file(&folder, "starts");
    let pool = pool_of(entry(&["--strict", "--starts", starts.to_str().unwrap()], json!({})));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    assert_eq!(lines(&starts).len(), 2, "one process for `server/discover` and one for the handshake");
    assert_eq!(fault(call(&pool, "die", json!({})).await).0, FaultClass::Unavailable);
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    assert_eq!(lines(&starts).len(), 3, "its era is remembered");
    pool.close().await;
}

#[tokio::test]
async fn server_that_does_not_answer_discover_gets_the_handshake_soon() {
    // Less than the 10 s for which the library would wait.
    let settings = json!({ "connect_timeout_ms": 9000 });
    let folder = tempfile::tempdir().unwrap();
    let starts = file(&folder, "starts");
    let options = ["--ignore", "--starts", starts.to_str().unwrap()];
    let pool = pool_of(entry(&options, settings.clone()));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    assert_eq!(lines(&starts).len(), 1, "the same process");
    pool.close().await;
    // A server of the other era that starts slowly.
    let pool = pool_of(entry(&["--modern", "--late", "3.5"], json!({ "connect_timeout_ms": 20000 })));
    let report = pool.check(&"s".parse().unwrap()).await.expect("a report");
    assert!(report.modern, "{report:?}");
    pool.close().await;
}

#[tokio::test]
async fn handshake_offers_a_version_of_its_era_and_accepts_known_versions_only() {
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
async fn circular_list_of_tools_ends_at_the_first_repeated_page() {
    let pool = pool_of(entry(&["--circular-list"], json!({})));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn idempotency_key_and_trace_are_sent() {
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
async fn output_that_is_no_message_is_skipped() {
    let pool = pool_of(entry(&[], json!({})));
    assert_eq!(call(&pool, "noise", json!({})).await.expect("an answer").value, "after the noise");
    pool.close().await;
}

#[tokio::test]
async fn server_does_not_inherit_the_whole_environment() {
    let mut entry = entry(&[], json!({}));
    entry["env"] = json!({"TOKEN": "${LONGSHORE_TEST_SECRET}"});
    let pool = pool_of(entry);
    let env = call(&pool, "env", json!({})).await.expect("an answer").value;
    // The value of the variable is masked.
    assert_eq!(env["TOKEN"], "***");
    assert!(env.get("PATH").is_some());
    // Cargo's variables are in the environment of every test and must not reach a child.
    let leaked: Vec<&String> =
        env.as_object().expect("an object").keys().filter(|name| name.starts_with("CARGO")).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    pool.close().await;
}

#[tokio::test]
async fn server_runs_in_the_folder_of_the_servers_file() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut entry = entry(&[], json!({}));
    entry["cwd"] = json!(dir.path());
    let pool = pool_of(entry);
    let cwd = call(&pool, "cwd", json!({})).await.expect("an answer").value;
    assert_eq!(cwd, json!(dir.path().canonicalize().expect("a folder")));
    pool.close().await;
}

#[tokio::test]
async fn errors_of_a_tool_and_of_the_protocol_are_distinguished() {
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
async fn tools_are_listed_with_schema_and_hints() {
    let pool = pool_of(entry(&[], json!({})));
    let tools = pool.tools(&"s".parse().unwrap()).await.expect("tools");
    let echo = tools.tools.iter().find(|tool| tool.name.as_str() == "echo").expect("echo");
    assert_eq!(echo.description.as_deref(), Some("Gives its arguments back."));
    assert_eq!(echo.input_schema["properties"]["text"], json!({"type": "string"}));
    assert_eq!((echo.hints.read_only, echo.hints.idempotent), (Some(true), None));
    pool.close().await;
}

#[tokio::test]
async fn wrong_tool_name_and_arguments_are_found_before_the_call() {
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
async fn tool_that_is_added_later_is_found() {
    for notifies in [false, true] {
        let pool = pool_of(entry(&[], json!({})));
        call(&pool, "grow", json!({"name": "fresh", "tell": notifies})).await.expect("an answer");
        assert_eq!(call(&pool, "fresh", json!({})).await.expect("an answer").value, "fresh was called");
        pool.close().await;
    }
}

#[tokio::test]
async fn server_without_a_list_of_tools_is_called() {
    let pool = pool_of(entry(&["--no-list"], json!({})));
    assert!(call(&pool, "echo", json!({})).await.is_ok());
    pool.close().await;
}

#[tokio::test]
async fn endless_list_of_tools_is_a_fault() {
    let pool = pool_of(entry(&["--endless-list"], json!({})));
    let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Never));
    assert!(message.contains("more than"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn call_without_an_answer_reaches_its_deadline_and_is_cancelled_at_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let cancelled = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--cancelled", &cancelled.display().to_string()], json!({})));
    let seen = fault(call_within(&pool, "never", json!({}), Duration::from_millis(300)).await);
    assert_eq!(seen, (FaultClass::Timeout, Sent::Maybe, "no answer within 300ms".to_owned()));
    until("the server gets the cancellation", || lines(&cancelled) == ["call"]).await;
    pool.close().await;
}

#[tokio::test]
async fn output_of_the_server_during_a_call_is_in_the_message_of_its_deadline() {
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
    assert_eq!(message, "no answer within 200ms", "output during another call is not repeated");
    pool.close().await;
}

#[tokio::test]
async fn data_of_an_error_is_in_its_message() {
    let pool = pool_of(entry(&[], json!({})));
    let data = json!({"elicitations": [{"mode": "url", "url": "https://example.com/sign-in"}]});
    let given = json!({"code": -32042, "message": "sign in first", "data": data});
    let (_, _, message) = fault(call(&pool, "rpc_error", given).await);
    assert!(message.starts_with("sign in first (-32042); data: {\"elicitations\":[{"), "{message}");
    assert!(message.contains("https://example.com/sign-in"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn call_to_a_server_that_stops_reading_reaches_its_deadline() {
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
async fn servers_file_can_shorten_every_deadline() {
    let pool = pool_of(entry(&[], json!({"call_timeout_ms": 200})));
    let (class, _, message) = fault(call(&pool, "never", json!({})).await);
    assert_eq!((class, message.as_str()), (FaultClass::Timeout, "no answer within 200ms"));
    pool.close().await;
}

#[tokio::test]
async fn answer_after_the_deadline_ends_no_other_call() {
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
    assert_eq!(pid(&pool).await, first, "one deadline is not enough, and an answer resets the count");
    call_within(&pool, "never", json!({}), wait).await.expect_err("a fault");
    call_within(&pool, "never", json!({}), wait).await.expect_err("a fault");
    assert_ne!(pid(&pool).await, first);
    pool.close().await;
}

#[tokio::test]
async fn cancelled_run_cancels_its_call_at_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let cancelled = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--cancelled", &cancelled.display().to_string()], json!({})));
    call(&pool, "echo", json!({})).await.expect("an answer");
    let cancel = CancellationToken::new();
    let steps = json!({"values": [1, 2, 3, 4, 5, 6, 7, 8, 9]});
    // The first progress proves that the call has arrived.
    let progress = |activity| {
        if matches!(activity, CallActivity::Progress(_)) {
            cancel.cancel();
        }
    };
    let seen =
        fault(call_with_hooks(&pool, "steps", steps, Duration::from_secs(20), &progress, &cancel).await);
    assert_eq!((seen.0, seen.1), (FaultClass::Cancelled, Sent::Maybe));
    until("the server gets the cancellation", || lines(&cancelled) == ["call"]).await;
    let early =
        fault(call_with_hooks(&pool, "echo", json!({}), Duration::from_secs(20), &|_| {}, &cancel).await);
    assert_eq!((early.0, early.1), (FaultClass::Cancelled, Sent::Never));
    pool.close().await;
}

#[tokio::test]
async fn abandoned_call_is_cancelled_at_the_server() {
    let dir = tempfile::tempdir().expect("a folder");
    let cancelled = file(&dir, "cancelled");
    let pool = pool_of(entry(&["--cancelled", &cancelled.display().to_string()], json!({})));
    call(&pool, "echo", json!({})).await.expect("an answer");
    let abandoned = tokio::time::timeout(Duration::from_millis(200), call(&pool, "never", json!({}))).await;
    assert!(abandoned.is_err());
    until("the server gets the cancellation", || lines(&cancelled) == ["call"]).await;
    pool.close().await;
}

#[tokio::test]
async fn fifty_concurrent_calls_share_one_process() {
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
async fn unknown_server_is_reported_with_the_closest_name() {
    let mut off = entry(&[], json!({}));
    off["disabled"] = json!(true);
    let none = pool(json!({"files": entry(&[], json!({})), "s": off}));
    let (class, sent, message) = fault(call(&none, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::UnknownServer, Sent::Never));
    assert_eq!(message, "the server `s` cannot be used: it is disabled in the file");
    let seen = none.tools(&"file".parse().unwrap()).await;
    assert_eq!(fault(seen).2, "no server `file` in the servers file; did you mean `files`?");
}
