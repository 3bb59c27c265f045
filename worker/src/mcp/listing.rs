//! The tools of a server, as it listed them.
//!
//! Names and arguments are checked here before a call leaves, because servers report both mistakes in many ways, and
//! because a call that was never sent may be corrected without any doubt. Pure, but for the request that fetches
//! the list.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use jsonschema::{PatternOptions, Validator};
use longshore_proto::{ServerName, ToolName, closest};
use rmcp::model::{ClientRequest, ListToolsRequest, ListToolsResult, PaginatedRequestParams, ServerResult};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::call::{Hints, Tool};
use super::classify::{METHOD_NOT_FOUND, Observation};
use super::connection::Connection;

/// Pages of a listing; a cursor that leads in a circle ends here.
const MOST_PAGES: usize = 100;
/// Tools of one server.
const MOST_TOOLS: usize = 10_000;
/// A listing is asked for again after this, however long the server says that it holds.
const LONGEST_USE: Duration = Duration::from_mins(5);
/// And is used for this long even if the server says that it does not hold at all: otherwise every call would be two.
const SHORTEST_USE: Duration = Duration::from_secs(10);
/// Larger schemas are left to the server: compiling one takes time and memory in proportion.
const MOST_SCHEMA_BYTES: usize = 256 * 1024;
/// Tools that are named when one is not found.
const MOST_NAMED: usize = 20;
/// Mistakes that are named when arguments do not fit.
const MOST_MISTAKES: usize = 5;

/// The tools of a server at one moment.
#[derive(Debug)]
pub(crate) struct Listing {
    tools: BTreeMap<ToolName, Listed>,
    /// Whether the server lists its tools at all; if not, every call is let through.
    complete: bool,
    listed_at: Instant,
    holds_for: Duration,
}

#[derive(Debug)]
struct Listed {
    tool: Tool,
    /// Compiled when the tool is first called; nothing if its schema is of no use.
    validator: OnceLock<Option<Validator>>,
}

impl Listing {
    /// Asks a server for all its tools.
    pub(crate) async fn fetch(connection: &Connection, limit: Duration) -> Result<Self, Observation> {
        let deadline = Instant::now() + limit;
        let (mut tools, mut cursor, mut holds_for) = (Vec::new(), None, LONGEST_USE);
        for _ in 0..MOST_PAGES {
            let page = match page(connection, cursor, deadline, limit).await {
                Err(Observation::JsonRpc { code: METHOD_NOT_FOUND, .. }) => {
                    return Ok(Self::new(Vec::new(), false, LONGEST_USE));
                }
                page => page?,
            };
            holds_for = holds_for.min(page.ttl_ms.map_or(LONGEST_USE, Duration::from_millis));
            tools.extend(page.tools.into_iter().filter_map(|tool| described(connection.server(), tool)));
            if tools.len() > MOST_TOOLS {
                return Err(Observation::Unreadable(format!(
                    "the server lists more than {MOST_TOOLS} tools"
                )));
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(Self::new(tools, true, holds_for));
            }
        }
        Err(Observation::Unreadable(format!("the list of tools has more than {MOST_PAGES} pages")))
    }

    fn new(tools: Vec<Tool>, complete: bool, holds_for: Duration) -> Self {
        let tools = tools
            .into_iter()
            .map(|tool| (tool.name.clone(), Listed { tool, validator: OnceLock::new() }))
            .collect();
        Self { tools, complete, listed_at: Instant::now(), holds_for: holds_for.max(SHORTEST_USE) }
    }

    /// Whether it may be used without asking again.
    pub(crate) fn holds(&self) -> bool {
        self.listed_at.elapsed() < self.holds_for
    }

    /// All tools, by name.
    pub(crate) fn tools(&self) -> impl Iterator<Item = &Tool> {
        self.tools.values().map(|listed| &listed.tool)
    }

    /// The arguments to send, if there is such a tool and they fit it.
    pub(crate) fn arguments(
        &self,
        tool: &ToolName,
        given: &Map<String, Value>,
        idempotency_key: &str,
    ) -> Result<Map<String, Value>, Observation> {
        let mut arguments = given.clone();
        let Some(listed) = self.tools.get(tool) else {
            return if self.complete { Err(self.unknown(tool)) } else { Ok(arguments) };
        };
        if listed.takes_idempotency_key() && !arguments.contains_key(KEY_ARGUMENT) {
            arguments.insert(KEY_ARGUMENT.to_owned(), Value::String(idempotency_key.to_owned()));
        }
        let arguments = Value::Object(arguments);
        listed.check(&arguments)?;
        match arguments {
            Value::Object(arguments) => Ok(arguments),
            _ => Ok(Map::new()),
        }
    }

    fn unknown(&self, tool: &ToolName) -> Observation {
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

/// The argument by which tools in the field take an idempotency key.
const KEY_ARGUMENT: &str = "idempotency_key";

impl Listed {
    fn takes_idempotency_key(&self) -> bool {
        self.tool
            .input_schema
            .get("properties")
            .is_some_and(|properties| properties.get(KEY_ARGUMENT).is_some())
    }

    fn check(&self, arguments: &Value) -> Result<(), Observation> {
        let Some(validator) = self.validator.get_or_init(|| compiled(&self.tool)) else { return Ok(()) };
        let mistakes: Vec<String> = validator
            .iter_errors(arguments)
            .take(MOST_MISTAKES)
            // Masked: an argument may be a credential.
            .map(|error| match error.instance_path().as_str() {
                "" => error.masked().to_string(),
                path => format!("{path}: {}", error.masked_with("the value")),
            })
            .collect();
        if mistakes.is_empty() {
            return Ok(());
        }
        Err(Observation::InvalidArguments(format!(
            "the arguments do not fit the tool `{}`: {}",
            self.tool.name,
            mistakes.join("; ")
        )))
    }
}

/// The schema of a tool, ready to use. A schema that cannot be compiled is the server's mistake, and the server will
/// check by itself. Nothing is fetched, and patterns are matched in linear time.
fn compiled(tool: &Tool) -> Option<Validator> {
    if tool.input_schema.to_string().len() > MOST_SCHEMA_BYTES {
        return None;
    }
    let built = jsonschema::options()
        .offline()
        .should_validate_formats(false)
        .with_pattern_options(PatternOptions::regex())
        .build(&tool.input_schema);
    built.inspect_err(|error| tracing::debug!(tool = %tool.name, %error, "schema of no use")).ok()
}

async fn page(
    connection: &Connection,
    cursor: Option<String>,
    deadline: Instant,
    limit: Duration,
) -> Result<ListToolsResult, Observation> {
    let request = ListToolsRequest::with_param(PaginatedRequestParams::default().with_cursor(cursor));
    match connection.request(ClientRequest::ListToolsRequest(request), deadline, limit).await {
        Ok(ServerResult::ListToolsResult(page)) => Ok(page),
        Err(Observation::Deadline(after)) => Err(Observation::NotListed(after)),
        Err(seen) => Err(seen),
        Ok(_) => Err(Observation::Unreadable("it is no list of tools".to_owned())),
    }
}

/// A tool in our words; nothing if its name is one that no workflow can write.
fn described(server: &ServerName, tool: rmcp::model::Tool) -> Option<Tool> {
    let name =
        tool.name.parse().inspect_err(|error| tracing::debug!(%server, %error, "tool left out")).ok()?;
    let hints = tool.annotations.unwrap_or_default();
    Some(Tool {
        name,
        description: tool.description.map(Into::into),
        input_schema: Value::Object(std::sync::Arc::unwrap_or_clone(tool.input_schema)),
        hints: Hints {
            read_only: hints.read_only_hint,
            destructive: hints.destructive_hint,
            idempotent: hints.idempotent_hint,
            open_world: hints.open_world_hint,
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn listing(schema: Value) -> Listing {
        let tool = |name: &str, schema: &Value| Tool {
            name: name.parse().expect("a name"),
            description: None,
            input_schema: schema.clone(),
            hints: Hints::default(),
        };
        Listing::new(vec![tool("charge", &schema), tool("refund", &schema)], true, LONGEST_USE)
    }

    fn arguments(listing: &Listing, tool: &str, given: Value) -> Result<Value, String> {
        let tool = tool.parse().expect("a name");
        let given = given.as_object().cloned().expect("an object");
        listing.arguments(&tool, &given, "run/step").map(Value::Object).map_err(|seen| seen.to_string())
    }

    #[test]
    fn an_unknown_tool_is_answered_with_what_exists() {
        let listing = listing(json!({"type": "object"}));
        assert_eq!(
            arguments(&listing, "chrage", json!({})),
            Err("the server has no tool `chrage`; did you mean `charge`? It has charge, refund".to_owned())
        );
        assert_eq!(
            arguments(&listing, "x", json!({})),
            Err("the server has no tool `x`; it has charge, refund".to_owned())
        );
    }

    #[test]
    fn wrong_arguments_are_named_by_path_and_never_shown() {
        let listing = listing(json!({"type": "object", "required": ["city"], "properties": {
            "days": {"type": "integer"}, "city": {"type": "string"}, "to": {"items": {"pattern": "^[a-z]+$"}}}}));
        let refused =
            arguments(&listing, "charge", json!({"days": "s3cret", "to": ["a", "S3CRET"]})).unwrap_err();
        assert!(refused.contains("/days: the value is not of type \"integer\""), "{refused}");
        assert!(refused.contains("/to/1: the value does not match"), "{refused}");
        assert!(refused.contains("\"city\" is a required property"), "{refused}");
        assert!(!refused.to_lowercase().contains("s3cret"), "{refused}");
        assert!(arguments(&listing, "charge", json!({"city": "Ghent", "days": 2})).is_ok());
    }

    #[test]
    fn the_key_becomes_an_argument_where_the_tool_has_one() {
        let with = listing(json!({"type": "object", "properties": {"idempotency_key": {"type": "string"}}}));
        assert_eq!(arguments(&with, "charge", json!({})), Ok(json!({"idempotency_key": "run/step"})));
        assert_eq!(
            arguments(&with, "charge", json!({"idempotency_key": "mine"})),
            Ok(json!({"idempotency_key": "mine"}))
        );
        let without = listing(json!({"type": "object"}));
        assert_eq!(arguments(&without, "charge", json!({})), Ok(json!({})));
    }

    #[test]
    fn a_schema_of_no_use_lets_every_argument_through() {
        for schema in [
            json!({"$ref": "https://example.test/schema"}),
            json!({"type": "nothing"}),
            json!({"pattern": "("}),
        ] {
            assert!(arguments(&listing(schema.clone()), "charge", json!({"a": 1})).is_ok(), "{schema}");
        }
    }

    #[test]
    fn a_server_that_lists_nothing_is_asked_all_the_same() {
        let silent = Listing::new(Vec::new(), false, LONGEST_USE);
        assert_eq!(arguments(&silent, "anything", json!({"a": 1})), Ok(json!({"a": 1})));
    }
}
