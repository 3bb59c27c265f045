//! Connections that only read, beside the writer: in the write-ahead log's mode neither waits for the other.
//!
//! Reads block their thread, so they run on the runtime's blocking threads, a few at a time.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::database;
use super::failure::Failure;

/// How many reads run at once. They are answered from the page cache; more would only take turns on the same
/// cores.
const READS_AT_ONCE: u32 = 4;

/// The connections, opened as they are needed.
pub(super) struct Readers {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, turns: Arc::new(Semaphore::new(READS_AT_ONCE as usize)), idle: Arc::default() }
    }

    /// Runs a query. One that its caller no longer waits for runs to its end and is thrown away.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| Failure::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let read = move || {
            let waiting = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = waiting.map_or_else(|| database::open_reader(&path), Ok)?;
            let result = query(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(turn);
            result
        };
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(Failure::Closed))
    }

    /// Waits for the reads that run, refuses new ones, and closes the connections.
    pub(super) async fn close(&self) {
        // Fails only if it was closed before.
        let _turns = self.turns.acquire_many(READS_AT_ONCE).await;
        self.turns.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
