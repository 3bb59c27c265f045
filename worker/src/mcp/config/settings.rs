//! The nested `longshore` object: our own settings of a server.
//!
//! Other hosts ignore it, so one file serves them all. It is ours, so an unknown key is an error.

use std::time::Duration;

use serde_json::Value;

use super::super::elicitation::Elicitation;
use super::fields::Fields;
use super::limits::limits;
use crate::launcher::Limits;

/// Which era of the protocol to speak.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Era {
    /// Ask for the stateless one, fall back to the handshake.
    #[default]
    Auto,
    /// Only the stateless one, 2026-07-28 and later.
    Modern,
    /// Only the `initialize` handshake, up to 2025-11-25.
    Legacy,
}

/// How a server is treated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    /// Which era to speak.
    pub(crate) protocol: Era,
    /// Whether calls build on what earlier calls left in the process: then it is never closed for being idle.
    pub(crate) stateful: bool,
    /// Processes at most, each with a connection of its own.
    pub(crate) pool: usize,
    /// Calls at once, of all processes together.
    pub(crate) max_concurrency: usize,
    /// From nothing to a usable connection; also for a listing of the tools.
    pub(crate) connect_timeout: Duration,
    /// An upper bound on the deadline of every call. Without it, the step's own timeout rules alone.
    pub(crate) call_timeout: Option<Duration>,
    /// How long a connection is kept without calls.
    pub(crate) idle_timeout: Duration,
    /// The largest message the server may send.
    pub(crate) max_message_bytes: usize,
    /// What its questions to a person are answered with.
    pub(crate) elicitation: Elicitation,
    /// What each of its processes may use.
    pub(crate) limits: Limits,
}

impl Settings {
    /// Enough to keep a server busy, few enough not to flood one that works through its requests in turn.
    const CONCURRENCY: usize = 8;
    /// What one process is asked to hold open at once: well under the 1024 requests that a connection queues.
    const MOST_CONCURRENCY: u64 = 512;
    /// Processes of some 70 MB each: more is for more workers.
    const MOST_POOL: u64 = 64;
    /// Starting a server takes well under a second; the rest is for the one that is fetched first (`npx`), and for
    /// the 10 s that an old server may let the question about its era go unanswered.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
    /// A server process costs some 70 MB; one that is used every few minutes stays warm.
    const IDLE_TIMEOUT: Duration = Duration::from_mins(5);
    /// Twice what the MCP libraries accept by default, so that it is not us who refuse first.
    const MESSAGE_BYTES: usize = 32 * 1024 * 1024;
    /// What a blob holds: a larger answer could be read, and not be kept.
    const MOST_MESSAGE_BYTES: u64 = longshore_proto::BLOB_LIMIT_BYTES as u64;
    /// No wait is longer than a day.
    const MOST_MILLIS: u64 = 24 * 60 * 60 * 1000;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            protocol: Era::Auto,
            stateful: false,
            pool: 1,
            max_concurrency: Self::CONCURRENCY,
            connect_timeout: Self::CONNECT_TIMEOUT,
            call_timeout: None,
            idle_timeout: Self::IDLE_TIMEOUT,
            max_message_bytes: Self::MESSAGE_BYTES,
            elicitation: Elicitation::default(),
            limits: Limits::default(),
        }
    }
}

const KNOWN: [&str; 12] = [
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

/// Settings that are described and not there yet: refused, because a setting without effect is a lie.
const NOT_BUILT: [&str; 2] = ["trust", "tools"];

/// Names of variables of a child process.
#[derive(Debug, Default)]
pub(super) struct VariableNames {
    /// Those that it gets from our own environment.
    pub(super) inherit: Vec<String>,
    /// Those whose values are no secrets, and stay in what the server says.
    pub(super) visible: Vec<String>,
}

/// Reads the `longshore` object of a server.
pub(super) fn settings(place: String, value: Value, problems: &mut Vec<String>) -> (Settings, VariableNames) {
    let mut settings = Settings::default();
    let place_of_limits = format!("{place}.limits");
    let Some(mut fields) = Fields::of(place, value, problems) else {
        return (settings, VariableNames::default());
    };
    if let Some(protocol) = fields.take_text("protocol") {
        match protocol.as_str() {
            "auto" => settings.protocol = Era::Auto,
            "modern" => settings.protocol = Era::Modern,
            "legacy" => settings.protocol = Era::Legacy,
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
    if let Some(most) = fields.take_number("max_concurrency", 1, Settings::MOST_CONCURRENCY) {
        settings.max_concurrency = usize::try_from(most).unwrap_or(1);
    }
    if let Some(size) = fields.take_number("pool", 1, Settings::MOST_POOL) {
        settings.pool = usize::try_from(size).unwrap_or(1);
    }
    if let Some(bytes) = fields.take_number("max_message_bytes", 1024, Settings::MOST_MESSAGE_BYTES) {
        settings.max_message_bytes = usize::try_from(bytes).unwrap_or(Settings::MESSAGE_BYTES);
    }
    let mut millis =
        |field: &str| fields.take_number(field, 1, Settings::MOST_MILLIS).map(Duration::from_millis);
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

fn variable_names(fields: &mut Fields<'_>, field: &str) -> Vec<String> {
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
    match longshore_suggest::closest(name, KNOWN) {
        Some(near) => format!("no such setting; did you mean `{near}`?"),
        None => format!("no such setting; there are {}", KNOWN.join(", ")),
    }
}
