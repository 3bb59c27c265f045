//! Bounds on the cost of a server's list of tools.

use std::time::Duration;

use longshore_proto::{FaultClass, Sent};
use serde_json::json;

use super::fixture::{call_within, entry, fault, pool_of};

#[tokio::test]
async fn doubling_schema_is_not_checked_and_the_call_is_made() {
    let pool = pool_of(entry(&["--costly-tools"], json!({})));
    // Each check would take for ever, so the call would miss its deadline.
    for _ in 0..4 {
        let answer = call_within(&pool, "doubling", json!({"a": 1}), Duration::from_secs(20)).await;
        assert_eq!(answer.expect("an answer").value, json!("doubling was called"));
    }
}

#[tokio::test]
async fn tool_that_is_too_large_is_left_out_and_named() {
    let pool = pool_of(entry(&["--costly-tools"], json!({})));
    let (class, sent, message) =
        fault(call_within(&pool, "oversized", json!({}), Duration::from_secs(20)).await);
    assert_eq!((class, sent), (FaultClass::UnknownTool, Sent::Never));
    assert!(message.contains("the tool `oversized` was left out of the server's list"), "{message}");
    assert!(call_within(&pool, "echo", json!({"text": "x"}), Duration::from_secs(20)).await.is_ok());
}
