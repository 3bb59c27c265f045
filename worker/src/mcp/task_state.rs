//! The state of a task of an MCP server.

use std::time::Duration;

use serde_json::{Map, Value};

/// The poll interval of a task whose server names none.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest poll interval, even if the server names a shorter one: a request costs the server more than the wait costs the
/// step.
const SHORTEST_POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The longest poll interval: a step should end soon after its task.
const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The state of a task, as its server describes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct McpTask {
    /// Id that the server gave the task.
    pub(crate) id: String,
    pub(super) status: String,
    pub(super) message: Option<String>,
    pub(super) poll_interval: Duration,
}

impl McpTask {
    /// Reads a task. Returns an error message if it has no id.
    pub(crate) fn read(task: &Map<String, Value>) -> Result<Self, String> {
        let text = |key: &str| task.get(key).and_then(Value::as_str).map(str::to_owned);
        let id = text("taskId").ok_or_else(|| "it is a task without a `taskId`".to_owned())?;
        let named = task.get("pollInterval").and_then(Value::as_f64).map(|millis| millis / 1000.0);
        let named = named.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Ok(Self {
            id,
            status: text("status").unwrap_or_else(|| "working".to_owned()),
            message: text("statusMessage"),
            poll_interval: named
                .unwrap_or(DEFAULT_POLL_INTERVAL)
                .clamp(SHORTEST_POLL_INTERVAL, LONGEST_POLL_INTERVAL),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(task: Value) -> Result<McpTask, String> {
        McpTask::read(task.as_object().expect("an object"))
    }

    #[test]
    fn poll_interval_is_bounded() {
        let interval =
            |named: Value| read(json!({"taskId": "7", "pollInterval": named})).map(|task| task.poll_interval);
        for (named, wanted) in [
            (json!(1500), Duration::from_millis(1500)),
            (json!(0), SHORTEST_POLL_INTERVAL),
            (json!(1e300), DEFAULT_POLL_INTERVAL),
            (json!(3_600_000), LONGEST_POLL_INTERVAL),
            (json!(-5), DEFAULT_POLL_INTERVAL),
            (json!("soon"), DEFAULT_POLL_INTERVAL),
            (Value::Null, DEFAULT_POLL_INTERVAL),
        ] {
            assert_eq!(interval(named.clone()), Ok(wanted), "{named}");
        }
    }

    #[test]
    fn task_needs_an_id_and_its_default_status_is_working() {
        assert_eq!(read(json!({"status": "working"})), Err("it is a task without a `taskId`".to_owned()));
        assert_eq!(read(json!({"taskId": "7"})).map(|task| task.status), Ok("working".to_owned()));
    }
}
