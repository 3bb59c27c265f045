//! Starts nats-server, and waits until a server with the given name answers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::{StartError, failed_to};
use crate::port::OwnedPort;
use crate::process::{AnswerWait, Identity, Launch, Process};

/// The limit for the first message of a server, which it sends to each new connection at once.
const INFO_LIMIT: Duration = Duration::from_secs(1);

/// The configuration file of the server, in its folder.
const CONFIGURATION: &str = "nats.conf";

/// Writes a configuration file with this port and name, starts the server, and waits until it answers with its name.
/// `settings` is the rest of the configuration. When this returns, the server accepts clients, also with TLS.
///
/// # Errors
/// If the program does not exist, ends, or does not answer in time, or if another server has the port.
pub async fn start(
    launch: &Launch,
    port: &OwnedPort,
    server_name: &str,
    settings: &str,
) -> Result<Process, StartError> {
    let file = configure(&launch.folder, port, server_name, settings)?;
    let mut launch = launch.clone();
    launch.arguments.extend(["--config".to_owned(), file.display().to_string()]);
    let mut process = launch.start()?;
    let wait = AnswerWait::new();
    while !wait.is_over(&mut process, port, identify(port, server_name).await).await? {}
    Ok(process)
}

/// Writes the configuration file in a folder. A running server reads it again when it gets SIGHUP.
///
/// # Errors
/// If the file cannot be written.
pub fn configure(
    folder: &Path,
    port: &OwnedPort,
    server_name: &str,
    settings: &str,
) -> Result<PathBuf, StartError> {
    let text = format!("listen: {}\nserver_name: {server_name:?}\n{settings}", port.address());
    let file = folder.join(CONFIGURATION);
    fs::write(&file, text).map_err(failed_to(format!("write {}", file.display())))?;
    Ok(file)
}

/// Reads the first message of the server: `INFO {"server_name":"...",...}`. It is not encrypted.
async fn identify(port: &OwnedPort, server_name: &str) -> Identity {
    let mut line = String::new();
    let read = async {
        let stream = TcpStream::connect(port.address()).await.ok()?;
        BufReader::new(stream).read_line(&mut line).await.ok()
    };
    if !matches!(timeout(INFO_LIMIT, read).await, Ok(Some(_))) {
        return Identity::NoAnswer;
    }
    let info = line.strip_prefix("INFO ").and_then(|json| serde_json::from_str::<Value>(json.trim()).ok());
    match info.as_ref().and_then(|info| info.get("server_name")).and_then(Value::as_str) {
        Some(name) if name == server_name => Identity::Confirmed,
        Some(_) => Identity::Foreign,
        None => Identity::NoAnswer,
    }
}
