//! Longshore's settings of a server, in the nested object `longshore`.
//!
//! Other hosts ignore this object, so that one file serves all hosts. Only Longshore reads it, so an unknown key is an error.

use std::time::Duration;

use serde_json::Value;

use super::super::elicitation::Elicitation;
use super::fields::ObjectFields;
use super::limits::limits;
use crate::launcher::ProcessLimits;

/// The protocol era that is used with a server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum ProtocolEra {
    /// The stateless era is tried first, and the handshake is the fallback.
    #[default]
    Auto,
    /// Only the stateless era is used: 2026-07-28 and later.
    Modern,
    /// Only the `initialize` handshake is used: up to 2025-11-25.
    Legacy,
}

/// Longshore's settings of a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ServerSettings {
    /// Protocol era.
    pub(crate) protocol: ProtocolEra,
    /// Calls of a run depend on state in the server process. Such a process is never closed for being idle.
    pub(crate) stateful: bool,
    /// Largest number of processes, each with its own connection.
    pub(crate) pool: usize,
    /// Largest number of concurrent calls of all processes together.
    pub(crate) max_concurrency: usize,
    /// Time to open a connection, and to fetch the list of tools.
    pub(crate) connect_timeout: Duration,
    /// Upper bound of the deadline of every call. Without it, only the step's own timeouts apply.
    pub(crate) call_timeout: Option<Duration>,
    /// Time after which a connection without calls is closed.
    pub(crate) idle_timeout: Duration,
    /// Size of the largest message that the server may send.
    pub(crate) max_message_bytes: usize,
    /// Answer to the server's questions to a person.
    pub(crate) elicitation: Elicitation,
    /// Resource limits of each process.
    pub(crate) limits: ProcessLimits,
}

impl ServerSettings {
    /// Default concurrency: enough to keep a server busy, and few calls for a server that processes one after the other.
    const CONCURRENCY: usize = 8;
    /// Largest concurrency: well below the 1024 requests that a connection queues.
    const MOST_CONCURRENCY: u64 = 512;
    /// Largest number of processes, of some 70 MB each. A server that needs more should run on several workers.
    const MOST_POOL: u64 = 64;
    /// Default connect timeout. Most servers start in less than a second; some are downloaded first (`npx`), and some do not answer
    /// `server/discover`.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
    /// Default idle timeout. A process takes some 70 MB, and one that is used every few minutes stays open.
    const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
    /// Default size of messages: twice the default of the MCP libraries, so that those refuse first.
    const MESSAGE_BYTES: usize = 32 * 1024 * 1024;
    /// Largest size of messages: that of a blob, since a larger answer could not be stored.
    const MOST_MESSAGE_BYTES: u64 = longshore_proto::BLOB_LIMIT_BYTES as u64;
    /// Longest timeout: a day.
    const MOST_MILLIS: u64 = 24 * 60 * 60 * 1000;
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            protocol: ProtocolEra::Auto,
            stateful: false,
            pool: 1,
            max_concurrency: Self::CONCURRENCY,
            connect_timeout: Self::CONNECT_TIMEOUT,
            call_timeout: None,
            idle_timeout: Self::IDLE_TIMEOUT,
            max_message_bytes: Self::MESSAGE_BYTES,
            elicitation: Elicitation::default(),
            limits: ProcessLimits::default(),
        }
    }
}

/// Names of all settings.
const SETTING_NAMES: [&str; 12] = [
    "protocol",
    "stateful",
    "pool",
    "max_concurrency",
    "connect_timeout_ms",
    "call_timeout_ms",
    "idle_timeout_ms",
    "max_message_bytes",
    "inherit_env",
    "visible_env",
    "elicitation",
    "limits",
];

/// Planned settings that have no effect yet. They are errors, because a user would rely on them.
const NOT_BUILT: [&str; 2] = ["trust", "tools"];

/// Names of variables of a child process.
#[derive(Debug, Default)]
pub(super) struct VariableNames {
    /// Variables that the child inherits from Longshore's environment.
    pub(super) inherit: Vec<String>,
    /// Variables whose values are not secrets, and are not hidden.
    pub(super) visible: Vec<String>,
}

/// Reads the `longshore` object of a server.
pub(super) fn settings(
    place: String,
    value: Value,
    problems: &mut Vec<String>,
) -> (ServerSettings, VariableNames) {
    let mut settings = ServerSettings::default();
    let place_of_limits = format!("{place}.limits");
    let Some(mut fields) = ObjectFields::of(place, value, problems) else {
        return (settings, VariableNames::default());
    };
    if let Some(protocol) = fields.take_text("protocol") {
        match protocol.as_str() {
            "auto" => settings.protocol = ProtocolEra::Auto,
            "modern" => settings.protocol = ProtocolEra::Modern,
            "legacy" => settings.protocol = ProtocolEra::Legacy,
            other => fields.refuse("protocol", format!("must be auto, modern or legacy, not `{other}`")),
        }
    }
    if let Some(answers) = fields.take_text("elicitation") {
        match answers.as_str() {
            "refuse" => settings.elicitation = Elicitation::Refuse,
            "defaults" => settings.elicitation = Elicitation::Defaults,
            other => fields.refuse("elicitation", format!("must be refuse or defaults, not `{other}`")),
        }
    }
    if fields.take_bool("stateful") == Some(true) {
        settings.stateful = true;
        settings.max_concurrency = 1;
    }
    if let Some(most) = fields.take_number("max_concurrency", 1, ServerSettings::MOST_CONCURRENCY) {
        settings.max_concurrency = usize::try_from(most).unwrap_or(1);
    }
    if let Some(size) = fields.take_number("pool", 1, ServerSettings::MOST_POOL) {
        settings.pool = usize::try_from(size).unwrap_or(1);
    }
    if let Some(bytes) = fields.take_number("max_message_bytes", 1024, ServerSettings::MOST_MESSAGE_BYTES) {
        settings.max_message_bytes = usize::try_from(bytes).unwrap_or(ServerSettings::MESSAGE_BYTES);
    }
    let mut millis =
        |field: &str| fields.take_number(field, 1, ServerSettings::MOST_MILLIS).map(Duration::from_millis);
    settings.connect_timeout = millis("connect_timeout_ms").unwrap_or(settings.connect_timeout);
    settings.call_timeout = millis("call_timeout_ms");
    settings.idle_timeout = millis("idle_timeout_ms").unwrap_or(settings.idle_timeout);
    let inherit = variable_names(&mut fields, "inherit_env");
    let visible = variable_names(&mut fields, "visible_env");
    let of_processes = fields.take("limits");
    for unknown in fields.rest() {
        fields.refuse(&unknown, unknown_setting(&unknown));
    }
    if let Some(value) = of_processes {
        settings.limits = limits(place_of_limits, value, problems);
    }
    (settings, VariableNames { inherit, visible })
}

fn variable_names(fields: &mut ObjectFields<'_>, field: &str) -> Vec<String> {
    let names = fields.take_texts(field).unwrap_or_default();
    for name in names.iter().filter(|name| !super::expand::is_variable_name(name)) {
        fields.refuse(field, format!("`{name}` is not the name of a variable"));
    }
    names
}

fn unknown_setting(name: &str) -> String {
    if NOT_BUILT.contains(&name) {
        return "this setting is not built yet; leave it out".to_owned();
    }
    match longshore_suggest::closest(name, SETTING_NAMES) {
        Some(near) => format!("no such setting; did you mean `{near}`?"),
        None => format!("no such setting; there are {}", SETTING_NAMES.join(", ")),
    }
}
