//! Unusual answers of servers: valid parts are kept, and an unreadable answer is a fault at once.

use longshore_proto::{FaultClass, StepStatus};
use serde_json::{Value, json};

use crate::cases::folder::{Case, WORKFLOW};

#[tokio::test]
async fn bare_nan_in_a_text_is_kept_as_text_and_named_where_a_value_is_read() {
    let case = Case::of("06-nan");
    let ended = case.run(WORKFLOW).await.expecting(20);
    ended.saying(&["is text (\"{\\\"mean\\\": 1.5, \\\"stddev\\\": NaN}\") and has no `mean`"]);
    assert_eq!(case.step("a").await.status, StepStatus::Succeeded);
}

#[tokio::test]
async fn bare_nan_in_a_message_is_a_fault_at_once_and_not_indeterminate() {
    let case = Case::of("06-nan");
    let words = ["`NaN` is no value of JSON, at byte", "the server answered"];
    case.run("message.yaml").await.expecting(20).saying(&words);
    let step = case.step("a").await;
    let class = step.error.map(|fault| fault.class);
    assert_eq!((step.status, class), (StepStatus::Failed, Some(FaultClass::ProtocolError)));
    case.servers(&["call", "s/in_message"]).await.expecting(1).saying(&words);
}

#[tokio::test]
async fn lone_surrogate_is_replaced_and_the_rest_kept() {
    assert_eq!(Case::of("07-lone-surrogate").outputs().await, json!({ "t": "tools \u{fffd}" }));
}

#[tokio::test]
async fn ids_returned_as_text_fraction_or_zero_are_recognised() {
    let case = Case::of("09-odd-ids");
    assert_eq!(case.outputs().await, json!({ "all": ["got x", "got y", "got z"] }));
    case.servers(&["list"]).await.expecting(0);
}

#[tokio::test]
async fn banners_and_logs_on_standard_output_are_skipped() {
    let case = Case::of("18-stdout-logs");
    assert_eq!(case.outputs().await, json!({ "all": vec!["ok"; 11] }));
    assert_eq!(case.received("the client answered"), 0, "nothing of it was taken for a request");
}

#[tokio::test]
async fn messages_framed_by_content_length_are_recognised_at_once() {
    let case = Case::of("18-stdout-logs");
    let words = ["the server frames its messages with `Content-Length` headers; over stdio"];
    case.run("header.yaml").await.expecting(20).saying(&words);
    assert_eq!(case.step("a").await.error.map(|fault| fault.class), Some(FaultClass::ProtocolError));
}

#[tokio::test]
async fn last_words_of_a_server_on_standard_output_are_quoted() {
    let case = Case::of("18-stdout-logs");
    let words = ["exit status: 3", "stdout: `no licence for this machine`"];
    case.run("quits.yaml").await.expecting(20).saying(&words);
}

#[tokio::test]
async fn every_kind_of_content_becomes_an_output_that_steps_can_use() {
    let link = |uri: &str| json!({ "type": "resource_link", "uri": uri, "name": "q3", "mimeType": "application/pdf" });
    let resource = |resource: Value| json!([{ "type": "resource", "resource": resource }]);
    let expected = json!({
        "image": "",
        "image_text": "{\"w\": 3}",
        "audio": "",
        "resource": resource(json!({ "uri": "file:///a.txt", "mimeType": "text/plain", "text": "inside" })),
        "blob": resource(json!({ "uri": "file:///a.bin", "blob": "AAAA" })),
        "links": [link("reports://q3"), link("reports://q4")],
        "link": { "count": 1 },
        "link_noname": { "count": 1 },
        "unknown_type": [{ "type": "error", "text": "Invalid number" }],
        "future_type": { "ok": true },
        "image_nomime": "",
        "nulls": "x",
        "text_null": "",
        "text_number": "42",
        "content_text": "plain text",
        "content_object": "x",
        "tool_result": { "content": [{ "type": "text", "text": "old" }] },
        "bare": { "temperature": 21 },
        "empty": "",
        "sc_list": [{ "id": 1 }, { "id": 2 }],
        "sc_text": "only text",
        "sc_number": 3,
        "priority": "x",
    });
    assert_eq!(Case::of("21-content").outputs().await, expected);
}

#[tokio::test]
async fn blocks_of_an_answer_are_read_by_their_index() {
    let case = Case::of("21-content");
    let found = case.run("blocks.yaml").await.expecting(0).json();
    let expected = json!({
        "png": "iVBORw0KGgo=",
        "inside": "inside",
        "bytes": "AAAA",
        "uris": ["reports://q3", "reports://q4"],
        "second": 2,
        "video": "video/mp4",
        "code": "QUOTA",
        "refused": { "class": "tool_error", "message": "quota" },
        "said_no": { "class": "tool_error", "message": "no" },
    });
    assert_eq!(found, expected);
}

#[tokio::test]
async fn resource_of_a_link_in_an_answer_can_be_read() {
    let case = Case::of("21-content");
    let words = ["is a link to reports://q4", "`longshore servers read s URI`"];
    let called = case.servers(&["call", "s/links"]).await.expecting(0).saying(&words);
    let links = called.json();
    let uris: Vec<_> = ["/0/uri", "/1/uri"].iter().filter_map(|at| links.pointer(at)?.as_str()).collect();
    assert_eq!(uris, ["reports://q3", "reports://q4"]);
    let read = case.servers(&["read", "s", "reports://q4"]).await.expecting(0);
    assert_eq!(read.stdout, "fourth quarter\n");
    let read = case.servers(&["read", "s", "reports://q3", "--save", "saved"]).await.expecting(0);
    let saved: Vec<_> = std::fs::read_dir(case.path().join("saved")).expect("a folder").flatten().collect();
    let [file] = &saved[..] else { panic!("one file: {saved:?}\n{read}") };
    assert_eq!(std::fs::read(file.path()).expect("bytes"), b"%PDF");
    let words = ["the server `s` has no resource `reports://q9`: ", "Resource not found"];
    case.servers(&["read", "s", "reports://q9"]).await.expecting(5).saying(&words);
}
