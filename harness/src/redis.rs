//! Starts redis-server, and waits until the started server has loaded its data and says its own process id.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::StartError;
use crate::port::OwnedPort;
use crate::process::{AnswerWait, Identity, Launch, Process};

/// The limit for an answer of a server that has loaded its data.
const INFO_LIMIT: Duration = Duration::from_secs(1);

/// The line that a server writes once it has bound its port and loaded its data.
const READY: &str = "Ready to accept connections";

/// The line of `INFO server` that holds the process id.
const PROCESS_ID: &str = "process_id:";

/// Starts the server with this port, and waits until it is ready and answers with its process id. `launch` has the other
/// arguments. A server whose default user is not let in without `password` is identified by its log alone.
///
/// # Errors
/// A program that is not there, that ends, that does not answer in time, or another server on the port.
pub async fn start(launch: &Launch, port: &OwnedPort, password: Option<&str>) -> Result<Process, StartError> {
    let mut launch = launch.clone();
    launch.arguments.extend(["--port".to_owned(), port.number().to_string()]);
    let mut process = launch.start()?;
    let wait = AnswerWait::new();
    loop {
        let is_ready = process.output().contains(READY);
        let identity = if is_ready { identify(&process, port, password).await } else { Identity::NoAnswer };
        if wait.is_over(&mut process, port, identity).await? {
            return Ok(process);
        }
    }
}

/// Asks the server for its process id.
async fn identify(process: &Process, port: &OwnedPort, password: Option<&str>) -> Identity {
    let Ok(Some(answer)) = timeout(INFO_LIMIT, ask(port, password)).await else { return Identity::NoAnswer };
    let found = answer.lines().find_map(|line| line.strip_prefix(PROCESS_ID));
    match found.map(str::parse) {
        Some(Ok(pid)) if Some(pid) == process.pid() => Identity::Confirmed,
        Some(_) => Identity::Foreign,
        // A refusal. The log of the process says that it has bound the port.
        None => Identity::Confirmed,
    }
}

/// Sends `INFO server` and returns the answer up to the process id, or a refusal.
async fn ask(port: &OwnedPort, password: Option<&str>) -> Option<String> {
    let mut stream = TcpStream::connect(port.address()).await.ok()?;
    let login = password.map(|password| format!("AUTH {password}\r\n")).unwrap_or_default();
    stream.write_all(format!("{login}INFO server\r\n").as_bytes()).await.ok()?;
    let (mut answer, mut buffer) = (String::new(), [0; 4_096]);
    loop {
        let count = stream.read(&mut buffer).await.ok()?;
        answer.push_str(&String::from_utf8_lossy(buffer.get(..count)?));
        let has_process_id =
            answer.lines().any(|line| line.starts_with(PROCESS_ID)) && answer.ends_with('\n');
        if count == 0 || has_process_id || answer.lines().any(|line| line.starts_with('-')) {
            return Some(answer);
        }
    }
}
