//! Pools of fixture servers, calls in one line, and waiting for a condition.

use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_proto::{CallActivity, FaultClass, Sent, TraceContext};
use longshore_worker::mcp::{Answer, CallFault, CallingJob, ServerPool, ServersConfig, ToolCall};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The longest wait in these tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the path of a fixture script.
pub(crate) fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).display().to_string()
}

/// Returns the entry of the stdio server with these options and `longshore` settings.
pub(crate) fn entry(options: &[&str], longshore: Value) -> Value {
    let args: Vec<String> =
        [script("stdio_server.py")].into_iter().chain(options.iter().map(|it| (*it).to_owned())).collect();
    json!({"command": "python3", "args": args, "longshore": longshore})
}

/// Returns a pool of one server, `s`.
pub(crate) fn pool_of(entry: Value) -> ServerPool {
    pool(json!({"s": entry}))
}

/// Returns a pool of servers.
pub(crate) fn pool(servers: Value) -> ServerPool {
    let text = json!({"mcpServers": servers}).to_string();
    ServerPool::new(ServersConfig::parse(&text, &env).expect("a good servers file"))
}

/// Returns a variable of the tests' environment: that of the process, and a secret that is not in it.
fn env(name: &str) -> Option<String> {
    match name {
        "LONGSHORE_TEST_SECRET" => Some("s3cret-value".to_owned()),
        #[expect(clippy::disallowed_methods, reason = "fixture servers need the real PATH")]
        _ => std::env::var(name).ok(),
    }
}

/// Calls a tool of `s` with half a minute of time.
pub(crate) async fn call(pool: &ServerPool, tool: &str, arguments: Value) -> Result<Answer, CallFault> {
    call_within(pool, tool, arguments, PATIENCE).await
}

/// Calls a tool of `s`.
pub(crate) async fn call_within(
    pool: &ServerPool,
    tool: &str,
    arguments: Value,
    timeout: Duration,
) -> Result<Answer, CallFault> {
    call_with_hooks(pool, tool, arguments, timeout, &|_| {}, &CancellationToken::new()).await
}

/// Calls a tool of `s` with a progress callback and a cancellation token.
pub(crate) async fn call_with_hooks(
    pool: &ServerPool,
    tool: &str,
    arguments: Value,
    timeout: Duration,
    report: &(dyn Fn(CallActivity) + Send + Sync),
    cancelled: &CancellationToken,
) -> Result<Answer, CallFault> {
    make_call(pool, tool, arguments, timeout, (report, cancelled), None).await
}

/// Calls a tool of `s` for a job.
pub(crate) async fn call_of(
    pool: &ServerPool,
    tool: &str,
    arguments: Value,
    job: Option<CallingJob<'_>>,
) -> Result<Answer, CallFault> {
    make_call(pool, tool, arguments, PATIENCE, (&|_| {}, &CancellationToken::new()), job).await
}

async fn make_call(
    pool: &ServerPool,
    tool: &str,
    arguments: Value,
    timeout: Duration,
    (report, cancelled): (&(dyn Fn(CallActivity) + Send + Sync), &CancellationToken),
    job: Option<CallingJob<'_>>,
) -> Result<Answer, CallFault> {
    let (server, tool) = ("s".parse().expect("a name"), tool.parse().expect("a name"));
    let trace = TraceContext {
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
        tracestate: Some("a=b".to_owned()),
    };
    let arguments = arguments.as_object().expect("an object");
    let call = ToolCall {
        server: &server,
        tool: &tool,
        arguments,
        timeout,
        max_timeout: timeout * 3,
        idempotency_key: "run/step",
        trace: Some(&trace),
        job,
    };
    // No call may hang.
    tokio::time::timeout(PATIENCE, pool.call(call, report, cancelled))
        .await
        .expect("the call came back")
        .result
}

/// Returns the class, the sent state and the message of a fault.
pub(crate) fn fault<T: std::fmt::Debug>(result: Result<T, CallFault>) -> (FaultClass, Sent, String) {
    let fault = result.expect_err("a fault");
    (fault.fault.class, fault.sent, fault.fault.message)
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("timed out waiting until {what}"));
}

/// Returns true if a process exists and is not a zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

/// Returns the path of a file for a server to write to.
pub(crate) fn file(dir: &tempfile::TempDir, name: &str) -> PathBuf {
    dir.path().join(name)
}

/// Returns the lines of a file, or none if it does not exist yet.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// Ends a process that a test started, by its pid.
pub(crate) fn kill(pid: u32) {
    let status =
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill runs");
    assert!(status.success(), "process {pid} exists");
}
