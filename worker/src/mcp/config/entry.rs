//! One entry of the servers file: a command to start, a URL, or the server without either that measurements need.
//!
//! The fields are those of other hosts (`command`, `args`, `env`, `cwd`; `url`, `headers`; `type`), plus our own
//! nested `longshore` object.

use std::collections::BTreeMap;

use longshore_ports::{is_loopback, redact_addresses};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::child_env::{hide_env, inherit_env};
use super::expand::Expanded;
use super::expansion::Expansion;
use super::fields::Fields;
use super::header::headers;
use super::secret::{Secret, Secrets};
use super::settings::{Settings, settings};
use super::spelling;

/// A server that can be called.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    /// How it is reached.
    pub(crate) reach: Reach,
    /// How it is treated.
    pub(crate) settings: Settings,
    /// What must not be seen.
    pub(crate) secrets: Secrets,
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub(crate) enum Reach {
    /// A child process, over its standard input and output.
    Stdio(StdioServer),
    /// Streamable HTTP.
    Http(HttpServer),
    /// The worker itself, for measuring.
    Noop,
}

/// A command to start.
#[derive(Clone, Debug)]
pub(crate) struct StdioServer {
    /// The program: a path, or a name looked up in the child's `PATH`.
    pub(crate) command: Expanded,
    /// Its arguments.
    pub(crate) args: Vec<Expanded>,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, Secret>,
    /// Where it runs; by default where we run.
    pub(crate) cwd: Option<Expanded>,
}

/// A URL to post to.
#[derive(Clone, Debug)]
pub(crate) struct HttpServer {
    /// The MCP endpoint: `http` or `https`.
    pub(crate) url: Expanded,
    /// Sent with every request, credentials among them.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

impl HttpServer {
    /// Scheme, host and port: what says which server it is, without paths, parameters or credentials.
    pub(crate) fn origin(&self) -> Option<String> {
        Some(Url::parse(self.url.value()).ok()?.origin().ascii_serialization())
    }

    /// Returns true if headers, any of which may be a credential, go over the network in plain text.
    fn exposes_headers(&self) -> bool {
        let is_plain = |url: Url| url.scheme() == "http" && !url.host_str().is_some_and(is_loopback);
        !self.headers.is_empty() && Url::parse(self.url.value()).is_ok_and(is_plain)
    }
}

/// What was found out while reading an entry.
#[derive(Default)]
pub(super) struct Findings {
    /// Mistakes in the entry, which make its server unusable.
    pub(super) problems: Vec<String>,
    /// Reasons that lie outside of the entry, such as a variable that is not set.
    pub(super) unusable: Vec<String>,
    /// Oddities.
    pub(super) warnings: Vec<String>,
    /// What must not be seen, also of an entry that is unusable: messages quote it.
    pub(super) secrets: Secrets,
    /// The entry is switched off, so nothing else of it was read.
    pub(super) is_disabled: bool,
}

/// Reads the entry at `place` of the file. Nothing comes back if there are problems, or if the server is unusable.
pub(super) fn read(
    place: &str,
    mut entry: Value,
    env: &dyn Fn(&str) -> Option<String>,
    found: &mut Findings,
) -> Option<ServerConfig> {
    let Findings { problems, unusable, warnings, secrets, is_disabled } = found;
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
    let mut fields = Fields::of(String::new(), entry, problems)?;
    fields.take_bool("disabled");
    let visible = variables.visible.as_slice();
    let mut expansion = Expansion { env, place, visible, unusable, warnings, secrets };
    let reach = match transport(&mut fields, expansion.unusable) {
        Some(Transport::Stdio) => stdio(&mut fields, &mut expansion).map(Reach::Stdio),
        Some(Transport::Http) => {
            let server = http(&mut fields, &mut expansion);
            if server.as_ref().is_some_and(HttpServer::exposes_headers) {
                expansion.warn(
                    "sends its headers over http to another machine: credentials in them can be read on the way; use https",
                );
            }
            server.map(Reach::Http)
        }
        Some(Transport::Noop) => Some(Reach::Noop),
        None => None,
    };
    // Without a transport, nothing was read of what belongs to one.
    for field in fields.rest().into_iter().filter(|field| reach.is_some() || !spelling::is_known(field)) {
        if let Some(why) = spelling::unknown_field(&field) {
            expansion.warn(format!("{field}: {why}"));
        }
    }
    if settings.limits.is_any() && !matches!(reach, None | Some(Reach::Stdio(_))) {
        problems.push("longshore.limits: only a server with a `command` has processes to limit".to_owned());
    }
    if settings.pool > 1 && !matches!(reach, None | Some(Reach::Stdio(_))) {
        problems.push(
            "longshore.pool: only a server with a `command` has processes; over HTTP one client serves all calls"
                .to_owned(),
        );
    }
    let mut reach = reach?;
    if let Reach::Stdio(stdio) = &mut reach {
        inherit_env(&mut stdio.env, &variables.inherit, env);
        hide_env(place, &stdio.env, written_env.as_ref(), visible, secrets);
    }
    Some(ServerConfig { reach, settings, secrets: secrets.clone() })
}

enum Transport {
    Stdio,
    Http,
    Noop,
}

/// Which transport an entry means: by its `type`, else by what it brings.
fn transport(fields: &mut Fields<'_>, unusable: &mut Vec<String>) -> Option<Transport> {
    let kind = fields.take_text("type");
    match kind.as_deref().map(spelling::transport_word).as_deref() {
        Some("stdio" | "local") => Some(Transport::Stdio),
        Some("http" | "streamablehttp" | "remote") => Some(Transport::Http),
        Some("noop") => Some(Transport::Noop),
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
            (true, false) => Some(Transport::Stdio),
            (false, true) => Some(Transport::Http),
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

fn stdio(fields: &mut Fields<'_>, expansion: &mut Expansion<'_>) -> Option<StdioServer> {
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
    expansion.secrets.add_from_arguments(args.iter().flatten().map(Expanded::value));
    let env: Option<BTreeMap<_, _>> = env
        .iter()
        .map(|(name, value)| {
            let value = expansion.secret(&format!("env.{name}"), value)?;
            Some((name.clone(), Secret(value.value().to_owned())))
        })
        .collect();
    let cwd = match cwd {
        Some(cwd) => Some(expansion.plain("cwd", &cwd)?),
        None => None,
    };
    Some(StdioServer { command: command?, args: args?, env: env?, cwd })
}

fn http(fields: &mut Fields<'_>, expansion: &mut Expansion<'_>) -> Option<HttpServer> {
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
