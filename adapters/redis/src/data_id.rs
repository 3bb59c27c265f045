//! Identity of the data of a server: a value that is stored once, and lost with everything else.
//!
//! Each server, database and prefix has another one.

use std::sync::LazyLock;

use longshore_ports::Error;
use redis::Script;

use super::connection::{RedisConnection, allow_oom_script};

/// Also runs on a full server: the value takes some bytes once.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| allow_oom_script(include_str!("data_id.lua")));

/// Returns the identity. Creates one on a server that has none yet.
pub(super) async fn read(connection: &RedisConnection) -> Result<String, Error> {
    connection.run_script(&SCRIPT.key(key(connection.prefix())), "read the identity of the data").await
}

/// Returns the key of the identity.
fn key(prefix: &str) -> String {
    format!("{prefix}:id")
}
