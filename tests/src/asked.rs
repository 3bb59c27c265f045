//! A scheduler or worker whose health is asked for over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::longshore::Started;
use crate::port::free_address;
use crate::wait::until;

/// The status and the body of what is answered at an address; nothing while nothing answers.
pub fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
}

/// The process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Asked {
    address: String,
    process: Started,
}

impl Asked {
    /// Starts a process of this role with a listener of its own.
    pub fn start(cluster: &Cluster, role: &str) -> Self {
        let address = free_address().to_string();
        let process = cluster.client([role, "--metrics-listen", &address]).start();
        Self { address, process }
    }

    /// The status and the body of an answer; nothing while nothing answers.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        get(&self.address, path)
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.process.stderr()
    }

    /// The value of a metric, by its name with its labels; nothing if it is not exported.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let (_, text) = self.get("/metrics")?;
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    /// Returns true if the metric has a series, with any labels.
    pub fn exports(&self, name: &str) -> bool {
        let is_series = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        self.get("/metrics").is_some_and(|(_, text)| text.lines().any(is_series))
    }

    /// Waits until it is ready.
    pub async fn is_ready(&self, what: &str) {
        until(what, || self.get("/readyz").is_some_and(|(status, _)| status == 200)).await;
    }

    /// Waits until it is not ready, with these words in one of the reasons.
    ///
    /// # Panics
    /// When it stays ready.
    pub async fn is_not_ready(&self, what: &str, words: &[&str]) {
        let says = |text: &str| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        until(what, || self.get("/readyz").is_some_and(|(status, text)| status == 503 && says(&text))).await;
        assert_eq!(self.get("/livez").map(|(status, _)| status), Some(200), "it is alive all the same");
    }
}
