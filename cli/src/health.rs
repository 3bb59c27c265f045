//! `/livez`, `/readyz` and `/metrics` of a process, over HTTP.
//!
//! `/livez` says only that the process answers: if it checked anything else, processes would be restarted for the failures
//! of other systems. `/readyz` says whether the stores that the process needs can be used, from its own records: clients of
//! this port cannot cause requests to the stores. It fails first when the process begins to end.

mod listener;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering;

/// Content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the name of each store that the process needs, with the reason if it cannot be used. Does not block.
pub(crate) type Readiness = Box<dyn Fn() -> Vec<(String, Result<(), String>)> + Send + Sync>;

/// Source of the answers.
struct HealthState {
    readiness: Readiness,
    metrics: PrometheusHandle,
    /// Cancelled when the process begins to end.
    ending: CancellationToken,
}

/// A bound listener that does not answer yet.
pub(crate) struct HealthServer {
    listener: TcpListener,
    router: Router,
}

impl HealthServer {
    /// Binds the listener. Once `ending` is cancelled, the process is no longer ready.
    pub(crate) async fn bind(
        address: SocketAddr,
        readiness: Readiness,
        metrics: PrometheusHandle,
        ending: CancellationToken,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            Failure::new(Exit::Error, format!("cannot listen on {address} for metrics: {error}"))
                .help("give another address with --metrics-listen or LONGSHORE_METRICS__LISTEN")
        })?;
        if !address.ip().is_loopback() {
            warn!(
                %address,
                "metrics and health are shown to every client that reaches this address, without a login: names of \
                 workflows, steps, servers and tools, and faults of NATS and Redis. Let only collectors and probes \
                 reach it, or listen on 127.0.0.1"
            );
        }
        Ok(Self { listener, router: router(HealthState { readiness, metrics, ending }) })
    }

    /// Answers requests for as long as it is polled. Dropping it cuts off the answers under way.
    pub(crate) async fn run(self) {
        listener::serve(self.listener, self.router).await;
    }
}

fn router(health: HealthState) -> Router {
    Router::new()
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(health))
}

async fn metrics(State(health): State<Arc<HealthState>>) -> Response {
    let is_ready = verdicts(&health).iter().all(|(_, answer)| answer.is_ok());
    gauge!("longshore_ready").set(if is_ready { 1 } else { 0 });
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metering::exported(&health.metrics)).into_response()
}

async fn ready(State(health): State<Arc<HealthState>>, RawQuery(query): RawQuery) -> Response {
    let is_verbose = query.is_some_and(|query| query.split('&').any(|part| part.starts_with("verbose")));
    let answers = verdicts(&health);
    let is_ready = answers.iter().all(|(_, answer)| answer.is_ok());
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = if is_ready && !is_verbose { "ok\n".to_owned() } else { answers.iter().map(line).collect() };
    (status, text).into_response()
}

fn verdicts(health: &HealthState) -> Vec<(String, Result<(), String>)> {
    let mut answers = (health.readiness)();
    if health.ending.is_cancelled() {
        answers.push(("shutdown".to_owned(), Err("the process is ending".to_owned())));
    }
    answers
}

/// Returns a line in the format of Kubernetes: `[+]nats ok`.
fn line((name, answer): &(String, Result<(), String>)) -> String {
    match answer {
        Ok(()) => format!("[+]{name} ok\n"),
        Err(why) => format!("[-]{name} failed: {why}\n"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinSet;

    use super::*;

    async fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        format!("{status} {}", body.trim_end().replace('\n', "|"))
    }

    #[tokio::test]
    async fn readiness_follows_the_stores_and_fails_when_the_process_ends_while_liveness_stays() {
        let there = Arc::new(AtomicBool::new(true));
        let read = Arc::clone(&there);
        let readiness: Readiness = Box::new(move || {
            let nats = if read.load(Ordering::Relaxed) { Ok(()) } else { Err("no connection".to_owned()) };
            vec![("nats".to_owned(), nats), ("redis".to_owned(), Ok(()))]
        });
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let ending = CancellationToken::new();
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = HealthServer::bind(local, readiness, metrics, ending.clone()).await;
        let server = server.expect("listens");
        let address = server.listener.local_addr().expect("an address");
        let mut tasks = JoinSet::new();
        tasks.spawn(server.run());

        assert_eq!(ask(address, "/readyz").await, "200 ok");
        assert_eq!(ask(address, "/readyz?verbose").await, "200 [+]nats ok|[+]redis ok");
        assert_eq!(ask(address, "/metrics").await, "200 ");
        there.store(false, Ordering::Relaxed);
        assert_eq!(ask(address, "/readyz").await, "503 [-]nats failed: no connection|[+]redis ok");
        assert_eq!(ask(address, "/livez").await, "200 ok");
        there.store(true, Ordering::Relaxed);
        ending.cancel();
        let last = "503 [+]nats ok|[+]redis ok|[-]shutdown failed: the process is ending";
        assert_eq!(ask(address, "/readyz").await, last);
        assert_eq!(ask(address, "/livez").await, "200 ok");
    }
}
