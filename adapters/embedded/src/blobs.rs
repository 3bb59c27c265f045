//! Blobs in the data file.

use std::sync::Arc;

use async_trait::async_trait;
use longshore_ports::{Blobs, Error, run_by_size};
use longshore_proto::{BLOB_LIMIT_BYTES, Digest};
use rusqlite::{OptionalExtension, params};

use super::failure::StoreError;
use super::store::DataFile;

/// The blobs of a data directory.
pub(super) struct BlobTable {
    store: Arc<DataFile>,
}

impl BlobTable {
    pub(super) fn new(store: Arc<DataFile>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Blobs for BlobTable {
    async fn put(&self, bytes: Vec<u8>) -> Result<Digest, Error> {
        let size = bytes.len();
        if size > BLOB_LIMIT_BYTES {
            let refusal = StoreError::Refused(format!("it is larger than {BLOB_LIMIT_BYTES} bytes"));
            return Err(refusal.when(format!("store a blob of {size} bytes")));
        }
        let (digest, bytes) = run_by_size(size, move || (Digest::of(&bytes), bytes)).await;
        let name = digest.to_string();
        let put = self.store.write(size, move |connection| {
            let sql = "INSERT INTO blobs (digest, body) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING";
            connection.prepare_cached(sql)?.execute(params![name, bytes])
        });
        put.await.map_err(|failure| failure.when(format!("store blob {digest}")))?;
        Ok(digest)
    }

    async fn get(&self, digest: Digest) -> Result<Option<Vec<u8>>, Error> {
        let read = self.store.read(move |connection| {
            let mut query = connection.prepare_cached("SELECT body FROM blobs WHERE digest = ?1")?;
            let found: Option<Vec<u8>> =
                query.query_row([digest.to_string()], |row| row.get(0)).optional()?;
            match found {
                Some(bytes) if Digest::of(&bytes) != digest => {
                    Err(StoreError::Damaged("its content does not match its address".to_owned()))
                }
                found => Ok(found),
            }
        });
        read.await.map_err(|failure| failure.when(format!("read blob {digest}")))
    }
}
