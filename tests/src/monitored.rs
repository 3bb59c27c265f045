//! A scheduler or worker with a listener for metrics and health.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::longshore::StartedCommand;
use crate::port::{OwnedPort, take_port};
use crate::wait::until;

/// Sends a GET request. Returns the status and the body of the answer, or `None` if there is no answer.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// A scheduler or worker with a listener on a port of its own. It is killed when this is dropped.
#[derive(Debug)]
pub struct MonitoredProcess {
    process: StartedCommand,
    port: OwnedPort,
}

impl MonitoredProcess {
    /// Starts a process of this role.
    pub fn start(cluster: &Cluster, role: &str) -> Self {
        Self::start_with(|listen| cluster.client([role, "--metrics-listen", listen]).start())
    }

    /// Starts a process by a function that gets the address for `--metrics-listen`.
    pub fn start_with(start: impl FnOnce(&str) -> StartedCommand) -> Self {
        let port = take_port();
        let process = start(&port.address().to_string());
        Self { process, port }
    }

    /// Sends a GET request. Returns the status and the body of the answer, or `None` if there is no answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.port.address().to_string(), path)
    }

    /// Returns what the process has logged so far.
    pub fn said(&self) -> String {
        self.process.stderr()
    }

    /// Returns the value of a metric, by its name with its labels, or `None` if it is not exported.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Returns true if the metric has a series, with any labels.
    pub fn exports(&self, name: &str) -> bool {
        let is_series = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        self.get("/metrics").is_some_and(|(_, text)| text.lines().any(is_series))
    }

    /// Waits until the process is ready.
    pub async fn is_ready(&self, what: &str) {
        until(what, || self.get("/readyz").is_some_and(|(status, _)| status == 200)).await;
    }

    /// Returns true if the process is not ready, for a reason that contains these words.
    pub fn refuses(&self, words: &[&str]) -> bool {
        let says = |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        self.get("/readyz").is_some_and(|(status, text)| status == 503 && says(&text))
    }

    /// Waits until the process is not ready, for a reason that contains these words.
    ///
    /// # Panics
    /// When the process stays ready, or is not alive.
    pub async fn is_not_ready(&self, what: &str, words: &[&str]) {
        until(what, || self.refuses(words)).await;
        assert_eq!(self.get("/livez").map(|(status, _)| status), Some(200), "it is alive");
    }
}
