//! The tools of a server, as it listed them.
//!
//! Names and arguments are checked here before a call leaves, because servers report both mistakes in many ways, and
//! because a call that was never sent may be corrected without any doubt. The request that fetches the list is in
//! `list_tools`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use longshore_proto::{IdError, ServerName, ToolName};
use longshore_suggest::closest;
use rmcp::model::ListToolsResult;
use serde_json::{Map, Value};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::call::{Hints, Tool};
use super::classify::Observation;
use super::config::Secrets;
use super::schema::CompiledSchema;
use super::wire::{left_out_of, task_tools_of};

/// Tools of one server.
const MOST_TOOLS: usize = 10_000;
/// A listing is asked for again after this, however long the server says that it holds.
pub(super) const LONGEST_USE: Duration = Duration::from_mins(5);
/// And is used for this long even if the server says that it does not hold at all: otherwise every call would be two.
const SHORTEST_USE: Duration = Duration::from_secs(10);
/// A larger tool is left out: no tool of a real server comes near.
const MOST_TOOL_BYTES: usize = 1024 * 1024;
/// All tools of one server together. A listing is kept for minutes, by each worker and for each server.
const MOST_LISTING_BYTES: usize = 32 * 1024 * 1024;
/// Characters of the name of a tool that is left out.
const MOST_NAME_CHARS: usize = 200;
/// The length of one mistake in arguments: a schema's own words can be long.
const MOST_MISTAKE_CHARS: usize = 500;
/// Tools that are named when one is not found.
const MOST_NAMED: usize = 20;

/// Tools that a server lists and that cannot be called, each with the reason.
type LeftOut = BTreeMap<String, String>;

/// The tools of a server at one moment.
#[derive(Debug)]
pub(crate) struct Listing {
    tools: BTreeMap<ToolName, Arc<Listed>>,
    left_out: LeftOut,
    task_tools: BTreeSet<String>,
    /// Whether the server lists its tools at all; if not, every call is let through.
    complete: bool,
    listed_at: Instant,
    holds_for: Duration,
}

#[derive(Debug)]
struct Listed {
    tool: Tool,
    /// Compiled when the tool is first called, on a thread of its own; an error if the schema is left to the server.
    compiled: OnceLock<Result<CompiledSchema, ()>>,
}

impl Listing {
    /// Makes a listing of all pages. `complete` is false for a server that does not list its tools.
    pub(super) fn new(tools: PageTools, complete: bool, holds_for: Duration) -> Self {
        let PageTools { kept, left_out, task_tools, .. } = tools;
        let listed = |tool: Tool| (tool.name.clone(), Arc::new(Listed { tool, compiled: OnceLock::new() }));
        let tools = kept.into_iter().map(listed).collect();
        let holds_for = holds_for.max(SHORTEST_USE);
        Self { tools, left_out, task_tools, complete, listed_at: Instant::now(), holds_for }
    }

    /// Whether it may be used without asking again.
    pub(crate) fn holds(&self) -> bool {
        self.listed_at.elapsed() < self.holds_for
    }

    /// All tools, by name.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values().map(|listed| &listed.tool)
    }

    /// The tools that it lists and that cannot be called, each with the reason.
    pub(crate) const fn left_out(&self) -> &BTreeMap<String, String> {
        &self.left_out
    }

    /// Returns true if the tool is called only as a task.
    pub(crate) fn needs_task(&self, tool: &ToolName) -> bool {
        self.task_tools.contains(tool.as_str())
    }

    /// The arguments to send, if there is such a tool and they fit it. Checking them ends after `limit`.
    pub(crate) async fn arguments(
        &self,
        tool: &ToolName,
        given: &Map<String, Value>,
        idempotency_key: &str,
        (limit, secrets): (Duration, &Secrets),
    ) -> Result<Map<String, Value>, Observation> {
        let arguments = given.clone();
        let Some(listed) = self.tools.get(tool) else {
            return if self.complete { Err(self.unknown(tool)) } else { Ok(arguments) };
        };
        if listed.takes_idempotency_key() && !arguments.contains_key(KEY_ARGUMENT) {
            let mut keyed = arguments.clone();
            keyed.insert(KEY_ARGUMENT.to_owned(), Value::String(idempotency_key.to_owned()));
            // A schema that takes no such key, a shorter one perhaps, must not refuse a call that is right without it.
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

    fn unknown(&self, tool: &ToolName) -> Observation {
        if let Some(why) = self.left_out.get(tool.as_str()) {
            return Observation::UnknownTool(format!(
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
        Observation::UnknownTool(format!("the server has no tool `{tool}`{it_has} {named}{more}"))
    }
}

/// The tools of all pages so far.
#[derive(Debug, Default)]
pub(super) struct PageTools {
    kept: Vec<Tool>,
    left_out: LeftOut,
    /// Names of tools that are called only as tasks.
    task_tools: BTreeSet<String>,
    bytes: usize,
}

impl PageTools {
    /// Adds the tools of a page, but for those that cannot be called.
    pub(super) fn add(
        &mut self,
        server: &ServerName,
        page: &mut ListToolsResult,
        secrets: &Secrets,
    ) -> Result<(), Observation> {
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
                return Err(Observation::Unreadable(format!(
                    "the server lists more than {MOST_TOOLS} tools"
                )));
            }
            if self.bytes > MOST_LISTING_BYTES {
                return Err(Observation::Unreadable(format!(
                    "the list of tools takes more than {MOST_LISTING_BYTES} bytes"
                )));
            }
        }
        Ok(())
    }

    /// Secrets are hidden before the name is cut, or the first part of one would be seen.
    fn leave_out(&mut self, server: &ServerName, tool: &str, why: &str, secrets: &Secrets) {
        let tool: String = secrets.hide(tool).chars().take(MOST_NAME_CHARS).collect();
        let why = secrets.hide(why).into_owned();
        info!(%server, ?tool, %why, "tool left out");
        self.left_out.insert(tool, why);
    }
}

/// The argument by which tools in the field take an idempotency key.
const KEY_ARGUMENT: &str = "idempotency_key";

impl Listed {
    fn takes_idempotency_key(&self) -> bool {
        self.tool
            .input_schema
            .get("properties")
            .is_some_and(|properties| properties.get(KEY_ARGUMENT).is_some())
    }

    /// The arguments without those that are `null` and may be left out; nothing if there are none. Many tools take an argument or
    /// nothing, and no `null`.
    fn without_nulls(&self, given: &Map<String, Value>) -> Option<Map<String, Value>> {
        let required = self.tool.input_schema.get("required").and_then(Value::as_array);
        let required =
            |name: &String| required.is_some_and(|names| names.iter().any(|required| required == name));
        let mut rest = given.clone();
        rest.retain(|name, value| !value.is_null() || required(name));
        (rest.len() < given.len()).then_some(rest)
    }

    /// Checks arguments, within `limit`. What takes longer, or is beyond the bounds, is left to the server.
    async fn check(
        self: &Arc<Self>,
        arguments: Value,
        limit: Duration,
        secrets: &Secrets,
    ) -> Result<Value, Observation> {
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
            // Was logged when the schema was compiled.
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

    fn refuse(&self, mistakes: &[String], secrets: &Secrets) -> Result<(), Observation> {
        if mistakes.is_empty() {
            return Ok(());
        }
        let shown = |text: &String| secrets.hide(text).chars().take(MOST_MISTAKE_CHARS).collect();
        let mistakes: Vec<String> = mistakes.iter().map(shown).collect();
        Err(Observation::InvalidArguments(format!(
            "the arguments do not fit the tool `{}`: {}",
            self.tool.name,
            mistakes.join("; ")
        )))
    }
}

/// The bytes of a value as JSON text.
fn json_bytes(value: &impl serde::Serialize) -> usize {
    /// Counts what is written to it.
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
    // Neither a tool nor a counter can fail; if they did, the tool would count for what was written.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// A tool in our words; the reason if its name is one that no workflow can write.
fn described(tool: rmcp::model::Tool, secrets: &Secrets) -> Result<Tool, String> {
    let name = tool.name.parse::<ToolName>().map_err(|error: IdError| {
        // The reason repeats the beginning of the name.
        let hidden = secrets.hide(&tool.name).parse::<ToolName>();
        hidden.err().unwrap_or(error).to_string()
    })?;
    let hints = tool.annotations.unwrap_or_default();
    Ok(Tool {
        name,
        description: tool.description.map(Into::into),
        input_schema: Value::Object(Arc::unwrap_or_clone(tool.input_schema)),
        output_schema: tool.output_schema.map(|schema| Value::Object(Arc::unwrap_or_clone(schema))),
        hints: Hints {
            read_only: hints.read_only_hint,
            destructive: hints.destructive_hint,
            idempotent: hints.idempotent_hint,
            open_world: hints.open_world_hint,
        },
    })
}

#[cfg(test)]
mod tests;
