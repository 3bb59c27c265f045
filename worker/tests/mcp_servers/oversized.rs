//! Messages of more than `max_message_bytes` over standard output: only the call that such a message answers ends with a fault.

use std::time::Duration;

use longshore_proto::{FaultClass, Sent};
use longshore_worker::mcp::ServerPool;
use serde_json::{Value, json};

use crate::fixture::{call, call_within, entry, fault, pool_of};

const LIMIT: usize = 1_000_000;

fn limited(options: &[&str]) -> ServerPool {
    pool_of(entry(options, json!({ "max_message_bytes": LIMIT })))
}

async fn process(pool: &ServerPool) -> Value {
    call(pool, "pid", json!({})).await.expect("an answer").value
}

#[tokio::test]
async fn oversized_answer_is_a_fault_of_its_own_call_only() {
    for options in [&[][..], &["--modern"][..]] {
        let pool = limited(options);
        let large = call(&pool, "huge", json!({"bytes": 900_000})).await.expect("an answer");
        assert_eq!(large.value.as_str().map(str::len), Some(900_000));
        let before = process(&pool).await;
        let others = (0..8).map(|_| call(&pool, "slow", json!({"seconds": 1})));
        let huge = async {
            let early = call(&pool, "huge", json!({"bytes": 100_000_000})).await;
            (early, call(&pool, "huge", json!({"bytes": 2_000_000, "id_last": true})).await)
        };
        let (others, huge) = tokio::join!(futures::future::join_all(others), huge);
        for (seen, least) in [(huge.0, 100_000_000), (huge.1, 2_000_000)] {
            let (class, sent, message) = fault(seen);
            assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Answered), "{message}");
            let (bytes, rest) =
                message.strip_prefix("the answer has ").and_then(|it| it.split_once(' ')).expect("bytes");
            assert!(bytes.parse::<usize>().expect("a number") > least, "{message}");
            assert_eq!(rest, "bytes, which exceeds `max_message_bytes` of the server (1000000)");
        }
        for other in others {
            assert_eq!(other.expect("an answer").value, "slept");
        }
        assert_eq!(process(&pool).await, before, "the connection is still the same");
        pool.close().await;
    }
}

#[tokio::test]
async fn oversized_lines_without_an_answer_are_dropped() {
    let pool = limited(&[]);
    let before = process(&pool).await;
    for kind in ["notification", "noise", "request", "stderr"] {
        let answer = call(&pool, "noise", json!({"bytes": 3_000_000, "kind": kind})).await;
        assert_eq!(answer.expect(kind).value, "after the line", "{kind}");
    }
    assert_eq!(process(&pool).await, before);
    pool.close().await;
}

#[tokio::test]
async fn call_with_an_oversized_answer_without_id_reaches_its_deadline() {
    let pool = limited(&[]);
    let lost =
        call_within(&pool, "noise", json!({"bytes": 3_000_000, "kind": "no_id"}), Duration::from_millis(700));
    let (lost, other) = tokio::join!(lost, call(&pool, "slow", json!({"seconds": 1})));
    let (class, sent, _) = fault(lost);
    assert_eq!((class, sent), (FaultClass::Timeout, Sent::Maybe));
    assert_eq!(other.expect("an answer").value, "slept");
    pool.close().await;
}

#[tokio::test]
async fn oversized_list_of_tools_is_a_fault_that_says_so() {
    let pool = pool_of(entry(&[], json!({ "max_message_bytes": 1024 })));
    let (class, sent, message) = fault(call(&pool, "echo", json!({})).await);
    assert_eq!((class, sent), (FaultClass::ProtocolError, Sent::Never));
    assert!(message.contains("exceeds `max_message_bytes` of the server (1024)"), "{message}");
    pool.close().await;
}

#[tokio::test]
async fn answer_of_a_hundred_megabytes_is_refused_by_default() {
    let pool = pool_of(entry(&[], json!({})));
    let (class, _, message) = fault(call(&pool, "huge", json!({"bytes": 100_000_000})).await);
    assert_eq!(class, FaultClass::ProtocolError);
    assert!(message.contains("33554432"), "{message}");
    let large = call(&pool, "huge", json!({"bytes": 20_000_000})).await.expect("an answer");
    assert_eq!(large.value.as_str().map(str::len), Some(20_000_000));
    pool.close().await;
}
