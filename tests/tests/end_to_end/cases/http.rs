//! Servers over HTTP that redirect, lose sessions, refuse requests, or are behind a gateway.

use longshore_proto::{FaultClass, StepStatus};
use longshore_tests::scratch::step;
use longshore_tests::wait::until;
use serde_json::json;

use crate::cases::folder::{Case, WORKFLOW};

#[tokio::test]
async fn redirect_within_the_origin_is_followed_and_another_is_named() {
    let case = Case::served("10-redirect");
    assert_eq!(case.outputs().await, json!({ "a": "hi" }));
    let words = ["HTTP 307", "https://elsewhere.example"];
    case.run("gone.yaml").await.expecting(20).saying(&words);
}

#[tokio::test]
async fn lost_session_is_replaced_for_every_form_of_refusal() {
    for how in ["404", "404text", "400", "400null", "400text"] {
        let case = Case::served("11-session").with("HOW", how);
        assert_eq!(case.outputs().await, json!({ "c": "done" }), "{how}");
        assert_eq!(case.received("\"method\":\"initialize\""), 3, "{how}: one session for each call");
    }
}

#[tokio::test]
async fn error_in_a_stream_instead_of_an_answer_is_a_fault_at_once() {
    let case = Case::served("11-session").with("HOW", "sse200");
    case.run(WORKFLOW).await.expecting(20).saying(&["Session not found"]);
    let fault = case.step("b").await.error.expect("a fault");
    assert_eq!(fault.class, FaultClass::ProtocolError, "{fault}");
}

#[tokio::test]
async fn token_with_a_line_break_makes_only_its_server_unusable() {
    let case = Case::served("24-header-newline").with("MY_TOKEN", "tok-123456789\n");
    let words = ["the variable `MY_TOKEN` ends with a line break", "headers.Authorization"];
    let refused = case.run(WORKFLOW).await.expecting(3).saying(&words);
    assert!(!refused.stderr.contains("tok-123456789"), "{refused}");
    case.run("other.yaml").await.expecting(0);
    assert_eq!(case.received("credentials: None"), case.received("credentials: "), "none was sent");
}

#[tokio::test]
async fn other_unusual_tokens_are_sent_unchanged() {
    let mut case = Case::served("24-header-newline").with("MY_TOKEN", "tok-123456789 ");
    case.run(WORKFLOW).await.expecting(0).saying(&["the variable `MY_TOKEN` begins or ends with a space"]);
    assert!(case.received("credentials: 'Bearer tok-123456789 '") > 0);
    case.set("MY_TOKEN", "tök-123456789");
    case.run(WORKFLOW).await.expecting(0);
    case.set("MY_TOKEN", "");
    case.run(WORKFLOW).await.expecting(0);
    assert!(case.received("credentials: 'Bearer '") > 0);
}

#[tokio::test]
async fn long_retry_after_is_shown_with_the_time_of_the_next_attempt() {
    let case = Case::served("37-retry-after").with("SECONDS_TO_WAIT", "36000");
    let mut run = case.running(WORKFLOW, &[]).start();
    let words =
        ["waits for its next attempt at", "rate_limited: HTTP 429: `slow down`", "Retry-After: 36000 s"];
    until("the reason and the time are shown", || words.iter().all(|words| run.stderr().contains(words)))
        .await;
    assert!(run.is_running());
    run.interrupt();
    run.end().await.expecting(21);
}

#[tokio::test]
async fn malformed_retry_after_is_shown_and_ignored() {
    for seconds in ["1.5", "soon"] {
        let case = Case::served("37-retry-after").with("SECONDS_TO_WAIT", seconds);
        let reason = format!("rate_limited: HTTP 429: `slow down`; Retry-After: `{seconds}` is ignored");
        case.run(WORKFLOW).await.expecting(20).saying(&["3 attempts", &reason]);
    }
}

/// The paths of the gateway, each with the words of its fault, and true if the call is indeterminate.
const FAULTS: [(&str, FaultClass, &str, bool); 19] = {
    use FaultClass::{ProtocolError, Unauthorised, Unavailable};
    [
        (
            "at_html",
            ProtocolError,
            "HTTP 200 with text/html in the place of an answer: a page, titled `502 Bad Gateway`",
            false,
        ),
        ("at_502", Unavailable, "HTTP 502: a page, titled `502 Bad Gateway`", false),
        ("at_404", ProtocolError, "HTTP 404: a page, titled `502 Bad Gateway`", false),
        (
            "at_405",
            ProtocolError,
            "HTTP 405: the address takes no POST; it may be that of the older HTTP+SSE transport",
            false,
        ),
        ("at_406", ProtocolError, "Not Acceptable: Client must accept text/event-stream", false),
        (
            "at_401",
            Unauthorised,
            "HTTP 401: the server wants credentials (resource_metadata `http://127.0.0.1/x`)",
            false,
        ),
        ("at_403", Unauthorised, "HTTP 403: these credentials do not permit the request", false),
        ("at_call502", Unavailable, "HTTP 502: a page, titled `502 Bad Gateway`", true),
        ("at_call200html", ProtocolError, "HTTP 200 with text/html in the place of an answer", true),
        ("at_call500json", Unavailable, "HTTP 500: database is down", true),
        ("at_call500rpc", ProtocolError, "database is down (-32603)", false),
        ("at_call400text", ProtocolError, "HTTP 400: `field x is missing`", false),
        ("at_call404", ProtocolError, "HTTP 404: `no such route`", false),
        ("at_call413", ProtocolError, "HTTP 413: a page", false),
        ("at_call200empty", ProtocolError, "HTTP 200 without an answer", true),
        ("at_callnan", ProtocolError, "`NaN` is no value of JSON", false),
        ("at_ssenan", ProtocolError, "`NaN` is no value of JSON", false),
        ("at_call202", ProtocolError, "HTTP 202 without an answer", true),
        ("at_cut", Unavailable, "the connection ended before the answer", true),
    ]
};

#[tokio::test]
async fn every_answer_of_a_gateway_is_one_short_correct_line() {
    let case = Case::served("43-gateway-pages");
    case.run(WORKFLOW).await.expecting(0);
    let run = case.newest().await;
    for (path, class, words, is_doubtful) in FAULTS {
        let one = step(&run, path);
        let fault = one.error.as_ref().unwrap_or_else(|| panic!("{path} has no fault: {one:#?}"));
        assert!(fault.class == class && fault.message.contains(words), "{path}: {fault}");
        let is_short = fault.message.len() < 300 && !fault.message.contains('\n');
        assert!(is_short && !fault.message.contains("<p>"), "{path}: {fault}");
        let status = if is_doubtful { StepStatus::Indeterminate } else { StepStatus::Failed };
        assert_eq!(one.status, status, "{path}");
    }
    for (path, output) in
        [("at_call200text", "x"), ("at_callsurrogate", "x \u{fffd}"), ("at_stringid", "x"), ("at_batch", "x")]
    {
        assert_eq!(step(&run, path).output, Some(json!(output)), "{path}");
    }
    assert_eq!(run.steps.len(), FAULTS.len() + 4 + 1, "every path has a step, and all are in one group");
}

#[tokio::test]
async fn credentials_in_addresses_and_headers_are_shown_nowhere() {
    let case = Case::of("66-url-secret");
    let line = ["servers", "list", "--mcp-config", "mcp.json"];
    let words = ["http://127.0.0.1:9: Connection refused", "https://no-such-host.invalid"];
    let listed = case.longshore(line).run().await.expecting(1);
    assert!(words.iter().all(|words| listed.stdout.contains(words)), "{listed}");
    let logged = case.longshore(line).env("LONGSHORE_LOG", "trace").run().await.expecting(1);
    for ended in [listed, logged] {
        assert!(!ended.stdout.contains("SECRET") && !ended.stderr.contains("SECRET"), "{ended}");
    }
}
