//! One entry of the servers file: a command to start, a URL, or the server for measurements, which has neither.
//!
//! The fields are those of other hosts (`command`, `args`, `env`, `cwd`; `url`, `headers`; `type`), plus the nested object
//! `longshore` with Longshore's own settings.

use std::collections::BTreeMap;

use longshore_ports::{is_loopback, redact_addresses};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::child_env::{hide_env, inherit_env};
use super::expand::ExpandedText;
use super::expansion::EntryExpansion;
use super::fields::ObjectFields;
use super::header::headers;
use super::secret::{SecretValue, Secrets};
use super::settings::{ServerSettings, settings};
use super::spelling;

/// A server that can be called.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    /// Transport to the server.
    pub(crate) transport: ServerTransport,
    /// Longshore's settings of the server.
    pub(crate) settings: ServerSettings,
    /// Values to hide in texts of the server.
    pub(crate) secrets: Secrets,
}

/// The transport to a server.
#[derive(Clone, Debug)]
pub(crate) enum ServerTransport {
    /// Standard input and output of a child process.
    Stdio(StdioServer),
    /// Streamable HTTP.
    Http(HttpServer),
    /// No transport: the worker itself answers, for measurements.
    Noop,
}

/// A server that is started as a child process.
#[derive(Clone, Debug)]
pub(crate) struct StdioServer {
    /// Path of the program, or a name that is looked up in the child's `PATH`.
    pub(crate) command: ExpandedText,
    /// Arguments of the program.
    pub(crate) args: Vec<ExpandedText>,
    /// Whole environment of the child.
    pub(crate) env: BTreeMap<String, SecretValue>,
    /// Working directory of the child; by default that of Longshore.
    pub(crate) cwd: Option<ExpandedText>,
}

/// A server that is reached over HTTP.
#[derive(Clone, Debug)]
pub(crate) struct HttpServer {
    /// URL of the MCP endpoint, with the scheme `http` or `https`.
    pub(crate) url: ExpandedText,
    /// Headers of every request, which may hold credentials.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl HttpServer {
    /// Returns scheme, host and port, which identify the server without paths, parameters or credentials.
    pub(crate) fn origin(&self) -> Option<String> {
        Some(Url::parse(self.url.value()).ok()?.origin().ascii_serialization())
    }

    /// Returns true if headers, any of which may be a credential, are sent over the network in plain text.
    fn exposes_headers(&self) -> bool {
        let is_plain = |url: Url| url.scheme() == "http" && !url.host_str().is_some_and(is_loopback);
        !self.headers.is_empty() && Url::parse(self.url.value()).is_ok_and(is_plain)
    }
}

/// Messages about an entry, and its secrets.
#[derive(Default)]
pub(super) struct EntryFindings {
    /// Mistakes in the entry, which make its server unusable.
    pub(super) problems: Vec<String>,
    /// Reasons outside of the entry that make its server unusable, such as a variable that is not set.
    pub(super) unusable: Vec<String>,
    /// Warnings about the entry.
    pub(super) warnings: Vec<String>,
    /// Values to hide, also those of an unusable entry, since messages quote it.
    pub(super) secrets: Secrets,
    /// The entry is switched off, so no other field was read.
    pub(super) is_disabled: bool,
}

/// Reads the entry at the path `place` of the file. Returns `None` if there are problems, or if the server is unusable.
pub(super) fn read(
    place: &str,
    mut entry: Value,
    env: &dyn Fn(&str) -> Option<String>,
    found: &mut EntryFindings,
) -> Option<ServerConfig> {
    let EntryFindings { problems, unusable, warnings, secrets, is_disabled } = found;
    problems.append(&mut spelling::canonical(&mut entry));
    if entry.get("disabled") == Some(&Value::Bool(true)) {
        problems.clear();
        *is_disabled = true;
        return None;
    }
    let own = entry.as_object_mut().and_then(|fields| fields.remove("longshore"));
    let own = own.unwrap_or_else(|| Value::Object(Map::new()));
    let (settings, variables) = settings("longshore".to_owned(), own, problems);
    let written_env = entry.get("env").cloned();
    let mut fields = ObjectFields::of(String::new(), entry, problems)?;
    fields.take_bool("disabled");
    let visible = variables.visible.as_slice();
    let mut expansion = EntryExpansion { env, place, visible, unusable, warnings, secrets };
    let transport = match transport_kind(&mut fields, expansion.unusable) {
        Some(TransportKind::Stdio) => stdio(&mut fields, &mut expansion).map(ServerTransport::Stdio),
        Some(TransportKind::Http) => {
            let server = http(&mut fields, &mut expansion);
            if server.as_ref().is_some_and(HttpServer::exposes_headers) {
                expansion.warn(
                    "sends its headers over http to another machine: credentials in them can be read on the way; use https",
                );
            }
            server.map(ServerTransport::Http)
        }
        Some(TransportKind::Noop) => Some(ServerTransport::Noop),
        None => None,
    };
    // Without a transport, the fields of a transport were not read.
    for field in fields.rest().into_iter().filter(|field| transport.is_some() || !spelling::is_known(field)) {
        if let Some(why) = spelling::unknown_field(&field) {
            expansion.warn(format!("{field}: {why}"));
        }
    }
    if settings.limits.has_limit() && !matches!(transport, None | Some(ServerTransport::Stdio(_))) {
        problems.push("longshore.limits: only a server with a `command` has processes to limit".to_owned());
    }
    if settings.pool > 1 && !matches!(transport, None | Some(ServerTransport::Stdio(_))) {
        problems.push(
            "longshore.pool: only a server with a `command` has processes; over HTTP one client serves all calls"
                .to_owned(),
        );
    }
    let mut transport = transport?;
    if let ServerTransport::Stdio(stdio) = &mut transport {
        inherit_env(&mut stdio.env, &variables.inherit, env);
        hide_env(place, &stdio.env, written_env.as_ref(), visible, secrets);
    }
    Some(ServerConfig { transport, settings, secrets: secrets.clone() })
}

/// The kind of a transport.
enum TransportKind {
    Stdio,
    Http,
    Noop,
}

/// Returns the kind of an entry's transport: that of its `type`, or that of its other fields.
fn transport_kind(fields: &mut ObjectFields<'_>, unusable: &mut Vec<String>) -> Option<TransportKind> {
    let kind = fields.take_text("type");
    match kind.as_deref().map(spelling::transport_word).as_deref() {
        Some("stdio" | "local") => Some(TransportKind::Stdio),
        Some("http" | "streamablehttp" | "remote") => Some(TransportKind::Http),
        Some("noop") => Some(TransportKind::Noop),
        Some("ws" | "websocket") => {
            unusable.push(
                "type: WebSocket is not a transport of MCP; if the server offers streamable HTTP, write `\"type\": \"http\"` \
                 and that URL"
                    .to_owned(),
            );
            None
        }
        Some("sse") => {
            unusable.push(
                "type: the transport `sse` was replaced by streamable HTTP in 2025; most servers offer that at `/mcp`: \
                 write `\"type\": \"http\"` and that URL"
                    .to_owned(),
            );
            None
        }
        Some(_) => {
            let other = kind.unwrap_or_default();
            fields.refuse("type", format!("must be stdio or http, not `{other}`"));
            None
        }
        None => match (fields.has("command"), fields.has("url")) {
            (true, false) => Some(TransportKind::Stdio),
            (false, true) => Some(TransportKind::Http),
            (true, true) => {
                fields
                    .refuse("url", "contradicts `command`; keep one of them, or say which counts by `type`");
                None
            }
            (false, false) => {
                fields.refuse("command", "is missing; a server has a `command` to start, or a `url`");
                None
            }
        },
    }
}

fn stdio(fields: &mut ObjectFields<'_>, expansion: &mut EntryExpansion<'_>) -> Option<StdioServer> {
    let command = fields.take_text("command").filter(|command| !command.is_empty());
    if command.is_none() {
        fields.refuse("command", "must name the program to start");
    }
    let args = fields.take_texts("args").unwrap_or_default();
    let env = fields.take_text_map("env").unwrap_or_default();
    let cwd = fields.take_text("cwd");
    let command = command?;
    let as_in_a_shell = [
        ("command", spelling::arguments_in_command(&command)),
        ("command", spelling::shell_home(&command)),
        ("cwd", cwd.as_deref().and_then(spelling::shell_home)),
    ];
    for (field, why) in as_in_a_shell {
        why.into_iter().for_each(|why| fields.refuse(field, why));
    }
    let command = expansion.plain("command", &command);
    let args: Option<Vec<_>> = args.iter().map(|arg| expansion.argument(arg)).collect();
    expansion.secrets.add_from_arguments(args.iter().flatten().map(ExpandedText::value));
    let env: Option<BTreeMap<_, _>> = env
        .iter()
        .map(|(name, value)| {
            let value = expansion.secret(&format!("env.{name}"), value)?;
            Some((name.clone(), SecretValue(value.value().to_owned())))
        })
        .collect();
    let cwd = match cwd {
        Some(cwd) => Some(expansion.plain("cwd", &cwd)?),
        None => None,
    };
    Some(StdioServer { command: command?, args: args?, env: env?, cwd })
}

fn http(fields: &mut ObjectFields<'_>, expansion: &mut EntryExpansion<'_>) -> Option<HttpServer> {
    let url = fields.take_text("url");
    if url.is_none() {
        fields.refuse("url", "must be the address of the server");
    }
    let url = url.and_then(|url| expansion.secret("url", &url));
    if let Some(url) = &url {
        expansion.secrets.add_from_address(url.value());
        let is_http = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        if !Url::parse(url.value()).is_ok_and(is_http) {
            fields.refuse(
                "url",
                format!("`{}` is not an http or https address", redact_addresses(&url.to_string())),
            );
        }
    }
    let headers = headers(fields, expansion);
    Some(HttpServer { url: url?, headers })
}
