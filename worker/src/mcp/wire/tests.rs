//! Messages of servers, and their effects on waiting calls.

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam,
};
use rmcp::model::{InitializeRequest, InitializeRequestParams, JsonRpcMessage as Message};

use super::*;

fn id(number: i64) -> RequestId {
    RequestId::Number(number)
}

/// Returns pending requests in which calls with these ids wait.
fn calling(ids: &[i64]) -> PendingRequests {
    let requests = PendingRequests::new(Secrets::default(), Elicitation::Refuse);
    for number in ids {
        let call = CallToolRequest::new(CallToolRequestParams::new("t"));
        requests.note_sent(&Message::request(ClientRequest::CallToolRequest(call), id(*number)));
    }
    requests
}

/// Returns the result of a call as text.
fn end(requests: &PendingRequests, number: i64) -> String {
    match requests.take(&id(number)).map(|answer| answer.result) {
        Some(Ok(result)) => Value::Object(result).to_string(),
        Some(Err(failure)) => format!("{:?}: {failure}", super::super::classify::classify(&failure).1),
        None => "waits".to_owned(),
    }
}

/// Reads a text while call 2 waits, and returns the result of the call.
fn reading(text: &str) -> String {
    let requests = calling(&[2]);
    requests.read(text.as_bytes(), None);
    end(&requests, 2)
}

#[test]
fn answer_reaches_its_call_unchanged() {
    let kept = r#"{"n":9007199254740993,"new":{"x":1},"p":0.7}"#;
    assert_eq!(reading(&format!(r#"{{"jsonrpc":"2.0","id":2,"result":{kept}}}"#)), kept);
    for id in [r#""2""#, "2.0", "2e0", "0", "null", "7", r#""x""#, "[]"] {
        assert_eq!(reading(&format!(r#"{{"id":{id},"result":{{"a":1}}}}"#)), r#"{"a":1}"#, "{id}");
    }
    assert_eq!(reading(r#"{"result":{"a":1}}"#), r#"{"a":1}"#);
    assert_eq!(reading(r#"[{"id":2,"result":{"a":1}}]"#), r#"{"a":1}"#);
    assert_eq!(reading(r#"{"id":2,"result":{"a":"\ud83d"},"error":null}"#), "{\"a\":\"\u{fffd}\"}");
}

#[test]
fn answer_that_cannot_be_read_ends_its_call_at_once() {
    let cases = [
        (
            r#"{"id":2,"result":{"m":NaN}}"#,
            "Answered: the server answered, and the answer cannot be read: `NaN` is no value of JSON, at byte 22: \
             `{\"id\":2,\"result\":{\"m\":NaN}}`",
        ),
        (
            r#"{"id":2,"result":[1]}"#,
            "Answered: the server answered, and the answer cannot be read: its result is no object: `{\"id\":2,\"result\":[1]}`",
        ),
        (r#"{"id":2,"error":{"code":null,"message":null}}"#, "Answered: the server gives no reason"),
        (r#"{"error":"Session not found"}"#, "Answered: Session not found"),
        (r#"{"id":null,"error":{"code":-32700,"message":"Parse error"}}"#, "Never: Parse error (-32700)"),
        (
            r#"{"id":2}"#,
            "Maybe: the answer does not follow the protocol: it has neither `result` nor `error`: `{\"id\":2}`",
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(reading(text), wanted, "{text}");
    }
}

#[test]
fn text_that_is_no_message_ends_no_call_and_is_shown_in_faults() {
    for text in ["Server ready", "{\"level\":\"info\",\"msg\":\"up\"}", "42", "{\"m\":NaN}", "[]x"] {
        let requests = calling(&[2]);
        let reading = requests.read(text.as_bytes(), None);
        assert!(reading.is_unread, "{text}");
        assert!(reading.messages.is_empty());
        assert_eq!(end(&requests, 2), "waits", "{text}");
    }
}

#[test]
fn with_several_calls_only_a_known_id_ends_one() {
    let requests = calling(&[2, 3]);
    for text in [r#"{"id":0,"result":{}}"#, r#"{"id":null,"error":{"code":1,"message":"x"}}"#] {
        assert!(requests.read(text.as_bytes(), None).is_unread, "{text}");
    }
    requests.read(br#"{"id":3,"result":{}}"#, None);
    assert_eq!((end(&requests, 2), end(&requests, 3)), ("waits".to_owned(), "{}".to_owned()));
}

#[test]
fn response_to_a_post_ends_the_posted_request() {
    for text in [r#"{"id":"server-error","error":{"code":-32600,"message":"x"}}"#, r#"{"error":"x"}"#] {
        let requests = calling(&[2, 3]);
        requests.read(text.as_bytes(), Some(&id(3)));
        assert!(end(&requests, 3).contains(": x"), "{text}");
        assert_eq!(end(&requests, 2), "waits");
    }
}

#[test]
fn late_answer_ends_no_other_call() {
    let requests = calling(&[2, 3]);
    let given_up = CancelledNotification::new(CancelledNotificationParam::new(Some(id(2)), None));
    requests.note_sent(&Message::notification(ClientNotification::CancelledNotification(given_up)));
    let reading = requests.read(br#"{"id":2,"result":{}}"#, None);
    assert!(reading.messages.is_empty() && !reading.is_unread);
    assert_eq!(end(&requests, 3), "waits");
}

#[test]
fn question_to_a_person_makes_the_call_a_fault() {
    let question = r#"{"id":9,"method":"elicitation/create","params":{"message":"Delete all?","requestedSchema":{"type":"object","properties":{}}}}"#;
    let requests = calling(&[2]);
    assert_eq!(requests.read(question.as_bytes(), None).messages.len(), 1);
    requests.read(br#"{"id":2,"result":{"content":[]}}"#, None);
    assert!(
        end(&requests, 2).starts_with("Answered: the server asked a person during the call: \"Delete all?\"")
    );
    // With two calls, it is not known which of them the question belongs to.
    let requests = calling(&[2, 3]);
    requests.read(question.as_bytes(), None);
    requests.read(br#"{"id":2,"result":{}}"#, None);
    assert_eq!(end(&requests, 2), "{}");
}

#[test]
fn handshake_without_a_server_version_is_accepted() {
    let requests = PendingRequests::new(Secrets::default(), Elicitation::Refuse);
    let asked = ClientRequest::InitializeRequest(InitializeRequest::new(InitializeRequestParams::default()));
    requests.note_sent(&Message::request(asked, id(0)));
    let text = br#"{"id":0,"result":{"protocolVersion":"2025-06-18","serverInfo":{"name":"x"}}}"#;
    let messages = requests.read(text, None).messages;
    assert!(
        matches!(messages.as_slice(), [Message::Response(answer)] if matches!(answer.result, ServerResult::InitializeResult(_))),
        "{messages:?}"
    );
}

#[test]
fn number_of_given_up_requests_is_bounded() {
    let requests = calling(&[]);
    for number in 0..3_000 {
        let call = CallToolRequest::new(CallToolRequestParams::new("t"));
        requests.note_sent(&Message::request(ClientRequest::CallToolRequest(call), id(number)));
        requests.give_up(&id(number));
    }
    let state = requests.state();
    assert_eq!((state.waiting.len(), state.given_up.len(), state.answers.len()), (0, MOST_GIVEN_UP, 0));
}

#[test]
fn answer_with_too_many_values_ends_its_call() {
    let bomb =
        format!(r#"{{"id":2,"result":{{"content":[],"structuredContent":[{}1]}}}}"#, "[],".repeat(10 << 20));
    let said = reading(&bomb);
    assert!(
        said.starts_with(
            "Answered: the server answered, and the answer cannot be read: it has so many values that reading it would \
             take more than 256 MiB of memory: `{\"id\":2,"
        ),
        "{}",
        said.get(..300).unwrap_or_default()
    );
}
