//! The data file: changes that are durable when they return, and reads beside them.

use rusqlite::Connection;

use super::failure::StoreError;
use super::readers::Readers;
use super::writer::Writer;

/// Access to the data file: one writer, if the directory was opened for writing, and a few readers.
pub(super) struct DataFile {
    pub(super) writer: Option<Writer>,
    pub(super) readers: Readers,
}

impl DataFile {
    /// Makes a change and waits until it is durable. `bytes` is the approximate size of the change.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(bytes, change, |value| value).await
    }

    /// Makes a change, and calls `on_durable` as soon as it is durable, whether or not the caller still waits.
    pub(super) async fn write_then<T: Send + 'static, R: Send + 'static>(
        &self,
        bytes: usize,
        change: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        on_durable: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, StoreError> {
        self.writer.as_ref().ok_or(StoreError::ReadOnly)?.write(bytes, change, on_durable).await
    }

    /// Runs a query.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.read(query).await
    }

    /// Completes waiting requests and refuses new ones.
    pub(super) async fn close(&self) {
        // Readers first: the write-ahead log is merged into the file by the last connection that closes, if it may
        // write.
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.stop().await;
        }
    }
}
