//! The contracts of [`Blobs`](longshore_ports::Blobs).

use longshore_proto::{BLOB_LIMIT_BYTES, Digest};

use super::{Fixture, contracts};

contracts![
    blob_is_read_by_its_digest,
    unknown_digest_has_no_blob,
    repeated_put_changes_nothing,
    concurrent_puts_of_the_same_bytes_succeed,
    empty_blob_is_stored,
    blob_of_megabytes_is_stored_completely,
    blob_that_is_too_large_is_refused_for_good,
    blob_outlives_the_process,
];

async fn blob_is_read_by_its_digest(fixture: &mut dyn Fixture) {
    let blobs = fixture.backend().blobs;
    let digest = blobs.put(b"text".to_vec()).await.expect("puts");
    assert_eq!(digest, Digest::of(b"text"));
    assert_eq!(blobs.get(digest).await.expect("gets").expect("is there"), b"text");
}

async fn unknown_digest_has_no_blob(fixture: &mut dyn Fixture) {
    let found = fixture.backend().blobs.get(Digest::of(b"unknown")).await.expect("gets");
    assert_eq!(found, None);
}

async fn repeated_put_changes_nothing(fixture: &mut dyn Fixture) {
    let blobs = fixture.backend().blobs;
    let first = blobs.put(b"text".to_vec()).await.expect("puts");
    let second = blobs.put(b"text".to_vec()).await.expect("puts again");
    assert_eq!(first, second);
    assert_eq!(blobs.get(first).await.expect("gets").expect("is there"), b"text");
}

async fn concurrent_puts_of_the_same_bytes_succeed(fixture: &mut dyn Fixture) {
    let blobs = fixture.backend().blobs;
    let puts = (0..50).map(|_| blobs.put(vec![7; 10_000]));
    let digests = futures::future::join_all(puts).await;
    assert!(digests.into_iter().all(|put| put.expect("puts") == Digest::of(&[7; 10_000])));
}

async fn empty_blob_is_stored(fixture: &mut dyn Fixture) {
    let blobs = fixture.backend().blobs;
    let digest = blobs.put(Vec::new()).await.expect("puts");
    assert_eq!(blobs.get(digest).await.expect("gets"), Some(Vec::new()));
}

async fn blob_of_megabytes_is_stored_completely(fixture: &mut dyn Fixture) {
    let blobs = fixture.backend().blobs;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let digest = blobs.put(bytes.clone()).await.expect("puts");
    assert!(blobs.get(digest).await.expect("gets").expect("is there") == bytes);
}

async fn blob_that_is_too_large_is_refused_for_good(fixture: &mut dyn Fixture) {
    let refusal = fixture.backend().blobs.put(vec![0; BLOB_LIMIT_BYTES + 1]).await.expect_err("too large");
    assert!(!refusal.retryable, "{refusal}");
}

async fn blob_outlives_the_process(fixture: &mut dyn Fixture) {
    let digest = fixture.backend().blobs.put(b"text".to_vec()).await.expect("puts");
    fixture.restart().await;
    assert_eq!(fixture.backend().blobs.get(digest).await.expect("gets").expect("is there"), b"text");
}
