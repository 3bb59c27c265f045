//! The words at the door of a server: what is asked, and what comes back.
//!
//! Plain data. [`super::Pool`] takes a [`ToolCall`] and gives an [`Answer`] or a [`CallFault`]; the rest is what the
//! doctor shows about a server.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_attempt::{Answer, CallFault};
use longshore_proto::{RunId, ServerInstance, ServerName, StepPath, ToolName, TraceContext};
use serde::Serialize;
use serde_json::{Map, Value};

use super::config::Secrets;

/// One MCP `tools/call` to make.
#[derive(Clone, Copy, Debug)]
pub struct ToolCall<'a> {
    /// The server, by its name in the servers file.
    pub server: &'a ServerName,
    /// The tool.
    pub tool: &'a ToolName,
    /// The arguments as the workflow gave them.
    pub arguments: &'a Map<String, Value>,
    /// The deadline, counted from the start of the request or from the last progress. The server's own `call_timeout_ms` may
    /// shorten it. Connecting is counted apart, under `connect_timeout_ms`.
    pub timeout: Duration,
    /// The deadline whatever progress is reported, counted from the start of the request. The server's own `call_timeout_ms`
    /// may shorten it.
    pub max_timeout: Duration,
    /// Equal for all attempts of a step. Sent in `_meta`, and as the argument `idempotency_key` if the tool has one
    /// and the workflow left it out.
    pub idempotency_key: &'a str,
    /// The trace the run belongs to.
    pub trace: Option<&'a TraceContext>,
    /// The job that the call is made for, if there is one. It decides which process of the server carries the call.
    pub job: Option<CallingJob<'a>>,
}

/// The job that a call is made for.
#[derive(Clone, Copy, Debug)]
pub struct CallingJob<'a> {
    /// Its run.
    pub run: RunId,
    /// Its step in the run.
    pub step: &'a StepPath,
    /// Delivery count of the job, starting at 1.
    pub delivered: u32,
}

/// A call that has ended, and the server process that it was sent to.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedCall {
    /// The process of the server. `None` for a call that had no connection.
    pub process: Option<ServerInstance>,
    /// The variables and headers of the servers file whose values were replaced by `***` in the answer, in words.
    pub masked: Vec<String>,
    /// What came of the call.
    pub result: Result<Answer, CallFault>,
}

/// A tool as its server describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: ToolName,
    /// What it does, in the server's words.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub input_schema: Value,
    /// JSON Schema of its structured content, if the server gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// What the server says about repeating it.
    pub hints: Hints,
}

/// A server's hints about a tool (`annotations`). They are not promises; absent means unknown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Hints {
    /// It changes nothing.
    pub read_only: Option<bool>,
    /// It may destroy something.
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
    /// It reaches into a world that it does not own.
    pub open_world: Option<bool>,
}

/// The tools of a server, as it lists them now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolList {
    /// Those that can be called, by name.
    pub tools: Vec<Tool>,
    /// Those that cannot, by name, each with the reason.
    pub left_out: BTreeMap<String, String>,
    /// The server declares that the list changes while it runs (`listChanged`).
    pub changes: bool,
}

/// What the doctor shows about a server that answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerReport {
    /// The protocol version that was agreed on, such as `2026-07-28`.
    pub protocol_version: String,
    /// Whether that version belongs to the stateless era (2026-07-28 and later).
    pub modern: bool,
    /// What the server calls itself.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// How long it took from nothing to a usable connection.
    pub connect_time: Duration,
    /// How long a fresh listing of the tools took.
    pub list_latency: Duration,
    /// How many tools it has.
    pub tools: usize,
    /// Tools that it lists and that cannot be called, by name, each with the reason.
    pub left_out: BTreeMap<String, String>,
    /// The process, for a server over stdio.
    pub pid: Option<u32>,
}

impl ToolList {
    /// Returns the list without any of the values in descriptions, schemas and reasons.
    pub(super) fn without(mut self, secrets: &Secrets) -> Self {
        for Tool { description, input_schema, output_schema, .. } in &mut self.tools {
            *description = description.take().map(|text| secrets.hide(&text).into_owned());
            *input_schema = secrets.hide_in(std::mem::take(input_schema));
            *output_schema = output_schema.take().map(|schema| secrets.hide_in(schema));
        }
        Self { left_out: left_out_without(self.left_out, secrets), ..self }
    }
}

impl ServerReport {
    /// Returns the report without any of the values in what the server says of itself.
    pub(super) fn without(self, secrets: &Secrets) -> Self {
        let hide = |text: String| secrets.hide(&text).into_owned();
        Self {
            protocol_version: hide(self.protocol_version),
            name: self.name.map(hide),
            version: self.version.map(hide),
            left_out: left_out_without(self.left_out, secrets),
            ..self
        }
    }
}

fn left_out_without(left_out: BTreeMap<String, String>, secrets: &Secrets) -> BTreeMap<String, String> {
    let hide = |text: &str| secrets.hide(text).into_owned();
    left_out.iter().map(|(name, why)| (hide(name), hide(why))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reports_and_lists_hold_no_secret() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        let says = |what: &str| format!("{what} s3cret-token");
        let tool = Tool {
            name: "echo".parse().expect("a name"),
            description: Some(says("echoes")),
            input_schema: json!({ "properties": { "s3cret-token": { "enum": [says("a")], "description": says("b") } } }),
            output_schema: Some(json!({ "const": "s3cret-token" })),
            hints: Hints::default(),
        };
        let left_out: BTreeMap<_, _> = [(says("tool"), says("why"))].into();
        let list =
            ToolList { tools: vec![tool], left_out: left_out.clone(), changes: false }.without(&secrets);
        let report = ServerReport {
            protocol_version: says("2026"),
            modern: true,
            name: Some(says("server")),
            version: Some(says("1")),
            connect_time: Duration::ZERO,
            list_latency: Duration::ZERO,
            tools: 1,
            left_out,
            pid: None,
        };
        let report = report.without(&secrets);
        let shown = format!("{list:?} {report:?}");
        assert_eq!((shown.contains("s3cret"), shown.matches("***").count()), (false, 12), "{shown}");
    }
}
