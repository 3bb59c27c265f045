//! One entry of the servers file: a command to start, a URL, or the server without either that measurements need.
//!
//! The fields are those of other hosts (`command`, `args`, `env`, `cwd`; `url`, `headers`; `type`), plus our own
//! nested `longshore` object. The environment of a child process is put together here, clean: a short list of
//! harmless variables, what `inherit_env` names, and what `env` sets.

use std::collections::BTreeMap;
use std::str::FromStr;

use longshore_backend::is_loopback;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::expand::{Expanded, expand};
use super::fields::Fields;
use super::secret::{Secret, Secrets};
use super::settings::{Settings, settings};

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
}

/// What every child process gets of our environment: what programs need to find files and speak a language, and
/// nothing that carries a credential. The list is that of the official MCP libraries, plus locale, time zone and
/// temporary folder.
const INHERITED: [&str; 11] =
    ["HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];

/// Headers that belong to the protocol.
const RESERVED_HEADERS: [&str; 7] = [
    "accept",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
];

/// What was found out while reading an entry.
#[derive(Default)]
pub(super) struct Findings {
    /// Mistakes: the file is refused.
    pub(super) problems: Vec<String>,
    /// Reasons why this server cannot be used here.
    pub(super) unusable: Vec<String>,
    /// Oddities.
    pub(super) warnings: Vec<String>,
}

/// Reads one entry. Nothing comes back if there are problems, or if the server is unusable.
pub(super) fn read(
    name: &str,
    entry: Value,
    env: &dyn Fn(&str) -> Option<String>,
    found: &mut Findings,
) -> Option<ServerConfig> {
    let place = format!("mcpServers.{name}");
    let Findings { problems, unusable, warnings } = found;
    let mut fields = Fields::of(place.clone(), entry, problems)?;
    let own = fields.take("longshore");
    let mut expansion = Expansion { env, unusable, secrets: Secrets::default() };
    if fields.take_bool("disabled") == Some(true) {
        expansion.unusable.push("it is disabled in the file".to_owned());
    }
    let reach = match transport(&mut fields, expansion.unusable) {
        Some(Transport::Stdio) => stdio(&mut fields, &mut expansion).map(Reach::Stdio),
        Some(Transport::Http) => {
            let server = http(&mut fields, &mut expansion);
            if server.as_ref().is_some_and(exposes_headers) {
                warnings.push(format!(
                    "{place} sends its headers over http to another machine: credentials in them can be read on the way; use https"
                ));
            }
            server.map(Reach::Http)
        }
        Some(Transport::Noop) => Some(Reach::Noop),
        None => None,
    };
    if reach.is_some() {
        warnings.extend(fields.rest().iter().map(|field| format!("{place}.{field} is not a known field")));
    }
    let own = own.unwrap_or_else(|| Value::Object(Map::new()));
    let (settings, variables) = settings(format!("{place}.longshore"), own, problems);
    if settings.limits.is_any() && !matches!(reach, None | Some(Reach::Stdio(_))) {
        problems
            .push(format!("{place}.longshore.limits: only a server with a `command` has processes to limit"));
    }
    if settings.pool > 1 && !matches!(reach, None | Some(Reach::Stdio(_))) {
        problems.push(format!(
            "{place}.longshore.pool: only a server with a `command` has processes; over HTTP one client serves all calls"
        ));
    }
    let mut server = ServerConfig { reach: reach?, settings, secrets: expansion.secrets };
    if let Reach::Stdio(stdio) = &mut server.reach {
        inherit_env(&mut stdio.env, &variables.inherit, env);
        hide_env(&stdio.env, &variables.visible, &mut server.secrets);
    }
    Some(server)
}

enum Transport {
    Stdio,
    Http,
    Noop,
}

/// Which transport an entry means: by its `type`, else by what it brings.
fn transport(fields: &mut Fields<'_>, unusable: &mut Vec<String>) -> Option<Transport> {
    let kind = fields.take_text("type").or_else(|| fields.take_text("transport"));
    match kind.as_deref() {
        Some("stdio") => Some(Transport::Stdio),
        Some("http" | "streamable-http" | "streamableHttp") => Some(Transport::Http),
        Some("noop") => Some(Transport::Noop),
        Some("sse") => {
            unusable.push(
                "its transport `sse` was replaced by streamable HTTP in 2025; most servers offer that at `/mcp`: \
                 write `\"type\": \"http\"` and that URL"
                    .to_owned(),
            );
            None
        }
        Some(other) => {
            fields.refuse("type", format!("must be stdio or http, not `{other}`"));
            None
        }
        None => match (fields.has("command"), fields.has("url")) {
            (true, false) => Some(Transport::Stdio),
            (false, true) => Some(Transport::Http),
            (true, true) => {
                fields.refuse("url", "stands beside `command`; keep one of them, or say which by `type`");
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
    let command = expansion.plain("command", &command?);
    let args: Option<Vec<_>> = args.iter().map(|arg| expansion.secret("args", arg)).collect();
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
    let texts = fields.take_text_map("headers").unwrap_or_default();
    let url = expansion.secret("url", &url?);
    if let Some(url) = &url
        && !Url::parse(url.value())
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
    {
        fields.refuse("url", format!("`{url}` is not an http or https address"));
    }
    let mut headers = Vec::new();
    for (name, text) in &texts {
        let Some(value) = expansion.secret(&format!("headers.{name}"), text) else { continue };
        // Whatever stands in a header may be a credential, and a server may well quote it without its scheme.
        expansion.secrets.add(value.value());
        expansion.secrets.add(value.value().rsplit(' ').next().unwrap_or_default());
        match header(name, value.value()) {
            Ok(header) => headers.push(header),
            Err(why) => fields.refuse("headers", format!("`{name}` {why}")),
        }
    }
    Some(HttpServer { url: url?, headers })
}

/// Whether headers, any of which may be a credential, go over the network in plain text.
fn exposes_headers(server: &HttpServer) -> bool {
    let is_plain = |url: Url| url.scheme() == "http" && !url.host_str().is_some_and(is_loopback);
    !server.headers.is_empty() && Url::parse(server.url.value()).is_ok_and(is_plain)
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), &'static str> {
    let name = HeaderName::from_str(name).map_err(|_| "is not the name of a header")?;
    if RESERVED_HEADERS.contains(&name.as_str()) {
        return Err("belongs to the protocol and is set for you");
    }
    let mut value = HeaderValue::from_str(value).map_err(|_| "has characters that no header may hold")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Adds what a child process inherits; what the entry sets itself wins.
fn inherit_env(
    child: &mut BTreeMap<String, Secret>,
    inherit: &[String],
    env: &dyn Fn(&str) -> Option<String>,
) {
    for name in INHERITED.into_iter().chain(inherit.iter().map(String::as_str)) {
        if !child.contains_key(name)
            && let Some(value) = env(name)
        {
            child.insert(name.to_owned(), Secret(value));
        }
    }
}

/// Has the values of the environment hidden, except those of variables that are harmless or said to be.
fn hide_env(env: &BTreeMap<String, Secret>, visible: &[String], secrets: &mut Secrets) {
    let is_visible = |name: &String| INHERITED.contains(&name.as_str()) || visible.contains(name);
    env.iter().filter(|(name, _)| !is_visible(name)).for_each(|(_, value)| secrets.add(&value.0));
}

/// Fills in the variables of one entry.
struct Expansion<'a> {
    env: &'a dyn Fn(&str) -> Option<String>,
    unusable: &'a mut Vec<String>,
    secrets: Secrets,
}

impl Expansion<'_> {
    /// A text that may hold a credential: the values of its variables are hidden from now on.
    fn secret(&mut self, field: &str, text: &str) -> Option<Expanded> {
        let Self { env, unusable, secrets } = self;
        let mut hide = |name: &str, value: &str| {
            // Paths and names of people stand in every other message, and are not credentials.
            if !INHERITED.contains(&name) {
                secrets.add(value);
            }
        };
        expanded(field, text, *env, &mut hide, unusable)
    }

    /// A text that names a file or a folder.
    fn plain(&mut self, field: &str, text: &str) -> Option<Expanded> {
        expanded(field, text, self.env, &mut |_, _| {}, self.unusable)
    }
}

fn expanded(
    field: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    used: &mut dyn FnMut(&str, &str),
    unusable: &mut Vec<String>,
) -> Option<Expanded> {
    match expand(text, env, used) {
        Ok(expanded) => Some(expanded),
        Err(problems) => {
            unusable.extend(problems.iter().map(|problem| format!("{field}: {problem}")));
            None
        }
    }
}
