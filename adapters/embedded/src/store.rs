//! The data file as the adapters see it: changes that are durable when they return, and reads beside them.

use rusqlite::Connection;

use super::failure::Failure;
use super::readers::Readers;
use super::writer::Writer;

/// One writer, if the directory was opened for writing, and a few readers.
pub(super) struct Store {
    pub(super) writer: Option<Writer>,
    pub(super) readers: Readers,
}

impl Store {
    /// Makes a change and returns once it is durable. `bytes` is about what it writes.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        self.write_then(bytes, make, |made| made).await
    }

    /// The same, with something to be done as soon as it is durable, whether or not the caller still waits.
    pub(super) async fn write_then<T: Send + 'static, R: Send + 'static>(
        &self,
        bytes: usize,
        make: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        durable: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        self.writer.as_ref().ok_or(Failure::ReadOnly)?.write(bytes, make, durable).await
    }

    /// Runs a query.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.readers.read(query).await
    }

    /// Finishes what waits; whatever is asked from now on is refused.
    pub(super) async fn close(&self) {
        // Readers first: only a connection that may write merges the write-ahead log into the file, and only as the
        // last one to close.
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.stop().await;
        }
    }
}
