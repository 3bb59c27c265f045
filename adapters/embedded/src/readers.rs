//! Read-only connections beside the writer. With a write-ahead log, readers and the writer do not wait for each other.
//!
//! Reads block their thread, so they run on the runtime's blocking threads, a few at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::database;
use super::failure::StoreError;

/// Reads that run at the same time. Most data is in the page cache, so more would only compete for the same cores.
const CONCURRENT_READS: u32 = 4;

/// A pool of connections, which are opened as they are needed.
pub(super) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, permits: Arc::new(Semaphore::new(CONCURRENT_READS as usize)), idle: Arc::default() }
    }

    /// Runs a query. A query whose caller stops waiting runs to its end, and its result is dropped.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let read = move || {
            let pooled = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = pooled.map_or_else(|| database::open_reader(&path), Ok)?;
            let result = query(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(StoreError::Closed))
    }

    /// Waits for running reads, refuses new ones, and closes the connections.
    pub(super) async fn close(&self) {
        // Fails only if it was closed before.
        let _permits = self.permits.acquire_many(CONCURRENT_READS).await;
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
