//! A list of running processes in Redis. Each has an entry, which expires by the server's clock unless the process
//! renews it.
//!
//! There is one list of schedulers and one of workers. Every operation removes expired entries.

use std::sync::LazyLock;
use std::time::Duration;

use longshore_ports::Error;
use longshore_proto::NodeId;
use redis::Script;

use super::connection::{RedisConnection, allow_oom_script, millis};

/// The script. It also runs on a full server, because schedulers share the partitions by it. An entry is small and
/// expires with its process.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| allow_oom_script(include_str!("process_list.lua")));

/// Names of processes with their entries.
type Entries = Vec<(String, Vec<u8>)>;

/// A list of processes of one kind.
pub(super) struct ProcessList {
    connection: RedisConnection,
    /// Kind of the processes, in the plural.
    kind: &'static str,
}

impl ProcessList {
    pub(super) const fn new(connection: RedisConnection, kind: &'static str) -> Self {
        Self { connection, kind }
    }

    /// Returns the keys of the expiry times and of the entries.
    pub(super) fn keys(prefix: &str, kind: &str) -> [String; 2] {
        [format!("{prefix}:{{{kind}}}:until"), format!("{prefix}:{{{kind}}}:entries")]
    }

    async fn run(
        &self,
        operation: &str,
        name: &str,
        lifetime: Duration,
        entry: &[u8],
    ) -> Result<Entries, Error> {
        let [times, entries] = Self::keys(self.connection.prefix(), self.kind);
        let mut script = SCRIPT.key(times);
        script.key(entries).arg(operation).arg(name).arg(millis(lifetime)).arg(entry);
        let doing = match operation {
            "present" => format!("add this process to the list of {}", self.kind),
            "withdraw" => format!("remove this process from the list of {}", self.kind),
            _ => format!("read the list of {}", self.kind),
        };
        self.connection.run_script(&script, &doing).await
    }

    /// Adds or renews the entry of a process, until `lifetime` from now. Returns all entries.
    pub(super) async fn present(
        &self,
        node: &NodeId,
        entry: &[u8],
        lifetime: Duration,
    ) -> Result<Entries, Error> {
        self.run("present", node.as_str(), lifetime, entry).await
    }

    /// Removes the entry of a process.
    pub(super) async fn withdraw(&self, node: &NodeId) -> Result<(), Error> {
        self.run("withdraw", node.as_str(), Duration::ZERO, b"").await.map(|_| ())
    }

    /// Returns all entries.
    pub(super) async fn list(&self) -> Result<Entries, Error> {
        self.run("list", "", Duration::ZERO, b"").await
    }
}
