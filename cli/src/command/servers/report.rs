//! JSON documents about a server, a tool or a call.

use std::collections::BTreeMap;
use std::time::Duration;

use longshore_ports::redact_addresses;
use longshore_proto::{Fault, ServerName, ToolName};
use longshore_worker::mcp::{Answer, CallFault, ServerReport, Tool};
use serde::Serialize;
use serde_json::Value;

/// State of a server.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum ServerState {
    /// The server answers.
    Ready {
        server: ServerName,
        /// The name that the server reports.
        name: Option<String>,
        server_version: Option<String>,
        protocol_version: String,
        /// `stateless`: 2026-07-28 and later; `handshake`: earlier.
        era: &'static str,
        connect_ms: f64,
        list_ms: f64,
        tools: usize,
        /// Tools that cannot be called, by name, each with the reason.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        left_out: BTreeMap<String, String>,
        pid: Option<u32>,
        /// Variables and headers whose values are masked in outputs of all servers.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        masked: Vec<String>,
    },
    /// The server does not answer.
    Broken { server: ServerName, fault: Fault },
    /// The server is in the file, but cannot be used here.
    Unusable { server: ServerName, reasons: Vec<String> },
    /// The server is disabled in the file.
    Disabled { server: ServerName },
}

impl ServerState {
    pub(super) fn of(
        server: &ServerName,
        checked: Result<ServerReport, CallFault>,
        masked: &[String],
    ) -> Self {
        let server = server.clone();
        match checked {
            Err(CallFault { mut fault, .. }) => {
                fault.message = redact_addresses(&fault.message).into_owned();
                Self::Broken { server, fault }
            }
            Ok(report) => Self::Ready {
                server,
                name: report.name,
                server_version: report.version,
                era: if report.modern { "stateless" } else { "handshake" },
                protocol_version: report.protocol_version,
                connect_ms: millis(report.connect_time),
                list_ms: millis(report.list_latency),
                tools: report.tools,
                left_out: report.left_out,
                pid: report.pid,
                masked: masked.to_vec(),
            },
        }
    }

    pub(super) fn unusable(server: &ServerName, reasons: &[String]) -> Self {
        let reasons = reasons.iter().map(|reason| redact_addresses(reason).into_owned());
        Self::Unusable { server: server.clone(), reasons: reasons.collect() }
    }

    pub(super) const fn name(&self) -> &ServerName {
        match self {
            Self::Ready { server, .. }
            | Self::Broken { server, .. }
            | Self::Unusable { server, .. }
            | Self::Disabled { server } => server,
        }
    }

    /// Returns true if the server is ready, or disabled on purpose.
    pub(super) const fn is_as_configured(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Disabled { .. })
    }
}

/// A tool of a server.
#[derive(Debug, Serialize)]
pub(super) struct ToolReport {
    pub(super) server: ServerName,
    #[serde(flatten)]
    pub(super) tool: Tool,
}

/// Result of a call.
#[derive(Debug, Serialize)]
pub(super) struct CallReport {
    server: ServerName,
    pub(super) tool: ToolName,
    pub(super) is_error: bool,
    /// The value that a step would have as `output`.
    pub(super) value: Value,
    /// The value that a step would have as `content`.
    content: Value,
    /// The `_meta` of the result.
    #[serde(rename = "_meta", skip_serializing_if = "Value::is_null")]
    meta: Value,
    took_ms: f64,
    /// The error text of the tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// A number of the answer that 64 bits cannot hold, as the server wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rounded: Option<String>,
}

impl CallReport {
    pub(super) fn new(server: ServerName, tool: ToolName, answer: Answer, took: Duration) -> Self {
        let Answer { value, content, meta, is_error, error_text, rounded } = answer;
        let error = is_error.then_some(error_text);
        Self { server, tool, is_error, value, content, meta, took_ms: millis(took), error, rounded }
    }
}

impl CallReport {
    /// Returns the parts of the answer.
    pub(super) const fn content(&self) -> &Value {
        &self.content
    }
}

/// Returns milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
