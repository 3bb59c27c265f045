//! Blobs: one stream with one message for each content address.
//!
//! A blob that fits into a message is stored under its digest. A larger one is split into parts, which are blobs
//! themselves, and a list of parts under the digest of the whole. Every message is stored on condition that its subject
//! has none, so a put that failed half-way is completed by putting again, and equal parts are stored once.

use async_nats::jetstream::stream::{DirectGetErrorKind, LastRawMessageErrorKind};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use longshore_ports::{Blobs, Error, run_by_size};
use longshore_proto::{BLOB_LIMIT_BYTES, Digest, decode, encode, subject};
use tokio::time::Instant;

use super::api::API_PREFIX;
use super::connection::Connection;
use super::denials;
use super::failure::failed;
use super::publisher::{OutgoingMessage, Publisher, StoreMode};

/// Bytes of a part: half of what a NATS server accepts in one message by default, and far below what slows it down.
const PART_BYTES: usize = 512 * 1024;

/// Parts in flight, in either direction: 4 MiB.
const PARTS_AT_ONCE: usize = 8;

/// The blobs of a cluster.
pub(super) struct BlobStore {
    connection: Connection,
    publisher: Publisher,
}

impl BlobStore {
    pub(super) fn new(connection: &Connection) -> Self {
        Self { connection: connection.clone(), publisher: Publisher::open(connection) }
    }

    /// Stores a large blob in parts and returns their digests, in order.
    async fn put_parts(&self, doing: &str, bytes: &Bytes) -> Result<Vec<Digest>, Error> {
        let mut digests = Vec::new();
        let mut rest = bytes.clone();
        while !rest.is_empty() {
            let mut group = rest.split_to(rest.len().min(PARTS_AT_ONCE * PART_BYTES));
            let parts = run_by_size(group.len(), move || {
                let mut parts = Vec::new();
                while !group.is_empty() {
                    let body = group.split_to(group.len().min(PART_BYTES));
                    parts.push((Digest::of(&body), body));
                }
                parts
            });
            let mut messages = Vec::new();
            for (digest, body) in parts.await {
                digests.push(digest);
                messages.push(OutgoingMessage {
                    subject: subject::blob(digest).into(),
                    body,
                    store: StoreMode::IfAbsent,
                });
            }
            self.publisher.publish(doing, messages).await?;
        }
        Ok(digests)
    }

    /// Returns the message under a subject. Any replica may answer. One that lags behind does not have a message that
    /// was just stored, so the leader is asked again if there is none.
    async fn fetch(&self, subject: String) -> Result<Option<Bytes>, Error> {
        let doing = || format!("read {subject}");
        let stream = self.connection.context.get_stream_no_info(subject::BLOBS_STREAM).await;
        let stream = stream.map_err(|error| failed(doing(), error))?;
        let direct = format!("{API_PREFIX}.DIRECT.GET.{}.{subject}", subject::BLOBS_STREAM);
        let answer = tokio::select! {
            biased;
            denied = denials::denied(&direct, Instant::now()) => return Err(failed(doing(), denied)),
            answer = stream.direct_get_last_for_subject(subject.as_str()) => answer,
        };
        match answer {
            Ok(message) => return Ok(Some(message.payload)),
            Err(error) if error.kind() == DirectGetErrorKind::NotFound => {}
            Err(error) => return Err(failed(doing(), error)),
        }
        let from_leader = format!("{API_PREFIX}.STREAM.MSG.GET.{}", subject::BLOBS_STREAM);
        let answer = tokio::select! {
            biased;
            denied = denials::denied(&from_leader, Instant::now()) => return Err(failed(doing(), denied)),
            answer = stream.get_last_raw_message_by_subject(&subject) => answer,
        };
        match answer {
            Ok(message) => Ok(Some(message.payload)),
            Err(error) if matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound) => Ok(None),
            Err(error) => Err(failed(doing(), error)),
        }
    }

    async fn fetch_part(&self, digest: Digest) -> Result<Bytes, Error> {
        let part = self.fetch(subject::blob(digest)).await?;
        part.ok_or_else(|| {
            Error::permanent(format!("read blob {digest}"), "a part of a larger blob is missing")
        })
    }
}

#[async_trait]
impl Blobs for BlobStore {
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, Error> {
        let size = bytes.len();
        if size > BLOB_LIMIT_BYTES {
            let refusal = format!("it is larger than {BLOB_LIMIT_BYTES} bytes");
            return Err(Error::permanent(format!("store a blob of {size} bytes"), refusal));
        }
        let bytes = Bytes::from(bytes);
        let digest = digest_of(bytes.clone()).await;
        let doing = format!("store blob {digest}");
        let (subject, body) = if size <= PART_BYTES {
            (subject::blob(digest), bytes)
        } else {
            let parts = self.put_parts(&doing, &bytes).await?;
            let list = encode(&parts).map_err(|error| Error::permanent(doing.as_str(), error))?;
            (parts_subject(digest), list.into())
        };
        self.publisher
            .publish(
                &doing,
                vec![OutgoingMessage { subject: subject.into(), body, store: StoreMode::IfAbsent }],
            )
            .await?;
        Ok(digest)
    }

    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let doing = || format!("read blob {digest}");
        let bytes = if let Some(whole) = self.fetch(subject::blob(digest)).await? {
            whole
        } else if let Some(list) = self.fetch(parts_subject(digest)).await? {
            let parts: Vec<Digest> = decode(&list).map_err(|error| Error::permanent(doing(), error))?;
            let parts = stream::iter(parts).map(|part| self.fetch_part(part)).buffered(PARTS_AT_ONCE);
            parts.try_collect::<Vec<_>>().await?.concat().into()
        } else {
            return Ok(None);
        };
        if digest_of(bytes.clone()).await != digest {
            return Err(Error::permanent(doing(), "its content does not match its address"));
        }
        Ok(Some(bytes.into()))
    }
}

/// Computes a digest, on a blocking thread if the blob is large.
async fn digest_of(bytes: Bytes) -> Digest {
    run_by_size(bytes.len(), move || Digest::of(&bytes)).await
}

/// Returns the subject of the list of parts.
pub(super) fn parts_subject(digest: Digest) -> String {
    format!("{}.parts", subject::blob(digest))
}
