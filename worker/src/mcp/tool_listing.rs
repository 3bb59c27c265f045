//! The listed tools of a server, and the check of a call against them.
//!
//! Tool names and arguments are checked before a call is sent, because servers report these mistakes in many ways, and because a
//! call that was never sent certainly had no effect. `list_tools` fetches the listing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use longshore_proto::{IdError, ServerName, ToolName};
use longshore_suggest::closest;
use rmcp::model::ListToolsResult;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::call::{Tool, ToolHints};
use super::classify::McpFailure;
use super::config::Secrets;
use super::schema::CompiledSchema;
use super::wire::{left_out_of, task_tools_of};

/// Maximum number of tools of one server.
const MOST_TOOLS: usize = 10_000;
/// The longest use of a listing, whatever time to live the server gives it.
pub(super) const LONGEST_USE: Duration = Duration::from_mins(5);
/// The shortest use of a listing, even with a time to live of zero: otherwise every call would fetch it.
const SHORTEST_USE: Duration = Duration::from_secs(10);
/// The size above which a tool is left out. Tools of real servers are much smaller.
const MOST_TOOL_BYTES: usize = 1024 * 1024;
/// Maximum number of bytes of all tools of one server. Each worker keeps a listing of each server for minutes.
const MOST_LISTING_BYTES: usize = 32 * 1024 * 1024;
/// Characters of the name of a tool that is left out.
const MOST_NAME_CHARS: usize = 200;
/// Characters of one mistake in arguments: texts of a schema can be long.
const MOST_MISTAKE_CHARS: usize = 500;
/// Maximum number of tools that a fault names when a tool is not found.
const MOST_NAMED: usize = 20;

/// Names of listed tools that cannot be called, each with the reason.
type LeftOutTools = BTreeMap<String, String>;

/// The listed tools of a server.
#[derive(Debug)]
pub(crate) struct ToolListing {
    tools: BTreeMap<ToolName, Arc<ListedTool>>,
    left_out: LeftOutTools,
    task_tools: BTreeSet<String>,
    /// The server lists its tools. If it does not, calls of any name are sent.
    is_complete: bool,
    listed_at: Instant,
    valid_for: Duration,
}

#[derive(Debug)]
struct ListedTool {
    tool: Tool,
    /// Schema, compiled by the first call of the tool on a thread of its own. An error means that the server checks arguments.
    compiled: OnceLock<Result<CompiledSchema, ()>>,
}

impl ToolListing {
    /// Creates the listing of all pages. `is_complete` is false for a server that does not list its tools.
    pub(super) fn new(tools: PageTools, is_complete: bool, valid_for: Duration) -> Self {
        let PageTools { kept, left_out, task_tools, .. } = tools;
        let listed =
            |tool: Tool| (tool.name.clone(), Arc::new(ListedTool { tool, compiled: OnceLock::new() }));
        let tools = kept.into_iter().map(listed).collect();
        let valid_for = valid_for.max(SHORTEST_USE);
        Self { tools, left_out, task_tools, is_complete, listed_at: Instant::now(), valid_for }
    }

    /// Returns true if the listing can be used without fetching it again.
    pub(crate) fn is_valid(&self) -> bool {
        self.listed_at.elapsed() < self.valid_for
    }

    /// Returns all tools that can be called, ordered by name.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values().map(|listed| &listed.tool)
    }

    /// Returns the names of tools that cannot be called, each with the reason.
    pub(crate) const fn left_out(&self) -> &BTreeMap<String, String> {
        &self.left_out
    }

    /// Returns true if the tool can be called as a task only.
    pub(crate) fn needs_task(&self, tool: &ToolName) -> bool {
        self.task_tools.contains(tool.as_str())
    }

    /// Checks the tool's name and the arguments, for `limit` at most. Returns the arguments to send.
    pub(crate) async fn arguments(
        &self,
        tool: &ToolName,
        given: &Map<String, Value>,
        idempotency_key: &str,
        (limit, secrets): (Duration, &Secrets),
    ) -> Result<Map<String, Value>, McpFailure> {
        let arguments = given.clone();
        let Some(listed) = self.tools.get(tool) else {
            return if self.is_complete { Err(self.unknown(tool)) } else { Ok(arguments) };
        };
        if listed.takes_idempotency_key() && !arguments.contains_key(KEY_ARGUMENT) {
            let mut keyed = arguments.clone();
            keyed.insert(KEY_ARGUMENT.to_owned(), Value::String(idempotency_key.to_owned()));
            // A schema that does not accept this key, such as one for shorter keys, must not refuse a call that is valid
            // without it.
            if let Ok(Value::Object(keyed)) = listed.check(Value::Object(keyed), limit, secrets).await {
                return Ok(keyed);
            }
        }
        let checked = match listed.check(Value::Object(arguments), limit, secrets).await {
            Err(refused) => match listed.without_nulls(given) {
                Some(rest) => listed.check(Value::Object(rest), limit, secrets).await.map_err(|_| refused)?,
                None => return Err(refused),
            },
            checked => checked?,
        };
        match checked {
            Value::Object(arguments) => Ok(arguments),
            _ => Ok(Map::new()),
        }
    }

    fn unknown(&self, tool: &ToolName) -> McpFailure {
        if let Some(why) = self.left_out.get(tool.as_str()) {
            return McpFailure::UnknownTool(format!(
                "the tool `{tool}` was left out of the server's list: {why}"
            ));
        }
        let names = || self.tools.keys().map(ToolName::as_str);
        let it_has = match closest(tool.as_str(), names()) {
            Some(near) => format!("; did you mean `{near}`? It has"),
            None => "; it has".to_owned(),
        };
        let more = match names().count().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named: Vec<&str> = names().take(MOST_NAMED).collect();
        let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        McpFailure::UnknownTool(format!("the server has no tool `{tool}`{it_has} {named}{more}"))
    }
}

/// The tools of the pages so far.
#[derive(Debug, Default)]
pub(super) struct PageTools {
    kept: Vec<Tool>,
    left_out: LeftOutTools,
    /// Names of tools that can be called as tasks only.
    task_tools: BTreeSet<String>,
    bytes: usize,
}

impl PageTools {
    /// Adds the tools of a page. Leaves out those that cannot be called.
    pub(super) fn add(
        &mut self,
        server: &ServerName,
        page: &mut ListToolsResult,
        secrets: &Secrets,
    ) -> Result<(), McpFailure> {
        for (name, why) in left_out_of(page) {
            self.leave_out(server, &name, &why, secrets);
        }
        self.task_tools.extend(task_tools_of(page));
        for tool in page.tools.drain(..) {
            let (name, bytes) = (tool.name.to_string(), json_bytes(&tool));
            match described(tool, secrets) {
                Err(why) => self.leave_out(server, &name, &why, secrets),
                Ok(_) if bytes > MOST_TOOL_BYTES => {
                    let why = format!("it takes {bytes} bytes there, and at most {MOST_TOOL_BYTES} are read");
                    self.leave_out(server, &name, &why, secrets);
                }
                Ok(tool) => {
                    self.bytes = self.bytes.saturating_add(bytes);
                    self.kept.push(tool);
                }
            }
            if self.kept.len() + self.left_out.len() > MOST_TOOLS {
                return Err(McpFailure::Unreadable(format!("the server lists more than {MOST_TOOLS} tools")));
            }
            if self.bytes > MOST_LISTING_BYTES {
                return Err(McpFailure::Unreadable(format!(
                    "the list of tools takes more than {MOST_LISTING_BYTES} bytes"
                )));
            }
        }
        Ok(())
    }

    /// Records a tool that cannot be called. Secrets are hidden before the name is cut: the first part of a cut secret would not be
    /// found.
    fn leave_out(&mut self, server: &ServerName, tool: &str, why: &str, secrets: &Secrets) {
        let tool: String = secrets.hide(tool).chars().take(MOST_NAME_CHARS).collect();
        let why = secrets.hide(why).into_owned();
        info!(%server, ?tool, %why, "tool left out");
        self.left_out.insert(tool, why);
    }
}

/// The argument in which existing tools take an idempotency key.
const KEY_ARGUMENT: &str = "idempotency_key";

impl ListedTool {
    fn takes_idempotency_key(&self) -> bool {
        self.tool
            .input_schema
            .get("properties")
            .is_some_and(|properties| properties.get(KEY_ARGUMENT).is_some())
    }

    /// Returns the arguments without those that are `null` and not required. Returns `None` if nothing changes. Many tools accept a
    /// missing argument, but no `null`.
    fn without_nulls(&self, given: &Map<String, Value>) -> Option<Map<String, Value>> {
        let required = self.tool.input_schema.get("required").and_then(Value::as_array);
        let required =
            |name: &String| required.is_some_and(|names| names.iter().any(|required| required == name));
        let mut rest = given.clone();
        rest.retain(|name, value| !value.is_null() || required(name));
        (rest.len() < given.len()).then_some(rest)
    }

    /// Checks arguments, within `limit`. The server checks them if that takes longer, or if the schema is beyond the bounds.
    async fn check(
        self: &Arc<Self>,
        arguments: Value,
        limit: Duration,
        secrets: &Secrets,
    ) -> Result<Value, McpFailure> {
        if let Some(Ok(compiled)) = self.compiled.get()
            && let Some(mistakes) = compiled.check_if_short(&self.tool.input_schema, &arguments)
        {
            return self.refuse(&mistakes, secrets).map(|()| arguments);
        }
        let (listed, arguments) = (Arc::clone(self), Arc::new(arguments));
        let checked = Arc::clone(&arguments);
        let check = tokio::task::spawn_blocking(move || {
            match listed.compiled() {
            Ok(compiled) => compiled.check(&listed.tool.input_schema, &checked).inspect_err(|why| {
                warn!(tool = %listed.tool.name, %why, "arguments are not checked before the call; the server checks them");
            }),
            // The reason was logged when the schema was compiled.
            Err(()) => Ok(Vec::new()),
        }
        });
        match timeout(limit, check).await {
            Ok(Ok(Ok(mistakes))) => self.refuse(&mistakes, secrets)?,
            Ok(Ok(Err(_))) => {}
            Ok(Err(_)) | Err(_) => {
                warn!(tool = %self.tool.name, ?limit, "the check of the arguments did not end; the server checks them");
            }
        }
        Ok(Arc::unwrap_or_clone(arguments))
    }

    fn compiled(&self) -> Result<&CompiledSchema, ()> {
        let compile = || {
            CompiledSchema::compile(&self.tool.input_schema).map_err(|why| {
                warn!(tool = %self.tool.name, %why, "arguments are not checked before calls; the server checks them");
            })
        };
        self.compiled.get_or_init(compile).as_ref().map_err(|_| ())
    }

    fn refuse(&self, mistakes: &[String], secrets: &Secrets) -> Result<(), McpFailure> {
        if mistakes.is_empty() {
            return Ok(());
        }
        let shown = |text: &String| secrets.hide(text).chars().take(MOST_MISTAKE_CHARS).collect();
        let mistakes: Vec<String> = mistakes.iter().map(shown).collect();
        Err(McpFailure::InvalidArguments(format!(
            "the arguments do not fit the tool `{}`: {}",
            self.tool.name,
            mistakes.join("; ")
        )))
    }
}

/// Returns the size of a value as JSON text.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    /// A writer that counts bytes.
    struct ByteCount(usize);
    impl std::io::Write for ByteCount {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.saturating_add(bytes.len());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = ByteCount(0);
    // Neither the serialization of a tool nor the counter can fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// Converts a tool of the library. Returns the reason if its name is not valid in a workflow.
fn described(tool: rmcp::model::Tool, secrets: &Secrets) -> Result<Tool, String> {
    let name = tool.name.parse::<ToolName>().map_err(|error: IdError| {
        // The error repeats the beginning of the name, so it is made from the name with secrets hidden.
        let hidden = secrets.hide(&tool.name).parse::<ToolName>();
        hidden.err().unwrap_or(error).to_string()
    })?;
    let hints = tool.annotations.unwrap_or_default();
    Ok(Tool {
        name,
        description: tool.description.map(Into::into),
        input_schema: Value::Object(Arc::unwrap_or_clone(tool.input_schema)),
        output_schema: tool.output_schema.map(|schema| Value::Object(Arc::unwrap_or_clone(schema))),
        hints: ToolHints {
            read_only: hints.read_only_hint,
            destructive: hints.destructive_hint,
            idempotent: hints.idempotent_hint,
            open_world: hints.open_world_hint,
        },
    })
}

#[cfg(test)]
mod tests;
