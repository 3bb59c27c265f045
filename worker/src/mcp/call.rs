//! Calls of tools and descriptions of servers, as the users of [`super::ServerPool`] see them.
//!
//! The pool takes a [`ToolCall`] and returns an [`EndedCall`]. [`ToolList`] and [`ServerReport`] are what `longshore servers`
//! shows.

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
    /// Name of the server in the servers file.
    pub server: &'a ServerName,
    /// Name of the tool.
    pub tool: &'a ToolName,
    /// Arguments of the workflow.
    pub arguments: &'a Map<String, Value>,
    /// Time from the start of the request, or from the last progress, to the deadline. The server's `call_timeout_ms` may
    /// shorten it. Connecting has its own limit, `connect_timeout_ms`.
    pub timeout: Duration,
    /// Time from the start of the request to the deadline that progress does not move. The server's `call_timeout_ms` may
    /// shorten it.
    pub max_timeout: Duration,
    /// Idempotency key, the same for all attempts of a step. Sent in `_meta`, and as the argument `idempotency_key` if the tool
    /// has one and the workflow did not set it.
    pub idempotency_key: &'a str,
    /// Trace of the run.
    pub trace: Option<&'a TraceContext>,
    /// Job of the call, if there is one. The choice of the server process depends on it.
    pub job: Option<CallingJob<'a>>,
}

/// The job that a call is made for.
#[derive(Clone, Copy, Debug)]
pub struct CallingJob<'a> {
    /// Run of the job.
    pub run: RunId,
    /// Step of the job.
    pub step: &'a StepPath,
    /// Delivery count of the job, starting at 1.
    pub delivered: u32,
}

/// A call that has ended, and the server process that it was sent to.
#[derive(Clone, Debug, PartialEq)]
pub struct EndedCall {
    /// Process of the server. `None` for a call that had no connection.
    pub process: Option<ServerInstance>,
    /// Descriptions of the variables and headers of the servers file whose values were replaced by `***` in the answer.
    pub masked: Vec<String>,
    /// The answer or the fault.
    pub result: Result<Answer, CallFault>,
}

/// A tool as its server describes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    /// Name of the tool.
    pub name: ToolName,
    /// The server's description of the tool.
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured content, if the server gives one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// The server's hints about effects of the tool.
    pub hints: ToolHints,
}

/// A server's hints about a tool (`annotations`). They are not promises; absent means unknown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct ToolHints {
    /// The tool changes nothing.
    pub read_only: Option<bool>,
    /// The tool may destroy something.
    pub destructive: Option<bool>,
    /// A second call with the same arguments has no further effect.
    pub idempotent: Option<bool>,
    /// The tool interacts with systems outside of the server.
    pub open_world: Option<bool>,
}

/// The current tools of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolList {
    /// Tools that can be called, ordered by name.
    pub tools: Vec<Tool>,
    /// Names of tools that cannot be called, each with the reason.
    pub left_out: BTreeMap<String, String>,
    /// The server declares that the list changes while it runs (`listChanged`).
    pub changes: bool,
}

/// Facts about a server that answered, for `longshore servers`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerReport {
    /// Negotiated protocol version, such as `2026-07-28`.
    pub protocol_version: String,
    /// The version belongs to the stateless era (2026-07-28 and later).
    pub modern: bool,
    /// Name that the server reports.
    pub name: Option<String>,
    /// Version that the server reports.
    pub version: Option<String>,
    /// Time to open the connection.
    pub connect_time: Duration,
    /// Time to fetch the list of tools.
    pub list_latency: Duration,
    /// Number of tools.
    pub tools: usize,
    /// Names of tools that cannot be called, each with the reason.
    pub left_out: BTreeMap<String, String>,
    /// Process id of a server over stdio.
    pub pid: Option<u32>,
}

impl ToolList {
    /// Returns the list with secret values hidden in descriptions, schemas and reasons.
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
    /// Returns the report with secret values hidden in the texts of the server.
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
    fn secrets_are_hidden_in_reports_and_lists() {
        let mut secrets = Secrets::default();
        secrets.add("s3cret-token");
        let says = |what: &str| format!("{what} s3cret-token");
        let tool = Tool {
            name: "echo".parse().expect("a name"),
            description: Some(says("echoes")),
            input_schema: json!({ "properties": { "s3cret-token": { "enum": [says("a")], "description": says("b") } } }),
            output_schema: Some(json!({ "const": "s3cret-token" })),
            hints: ToolHints::default(),
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
