//! `longshore servers read`: a resource of a server.

use longshore_proto::ServerName;
use longshore_worker::mcp::{CallFault, ReadFault};
use serde::Serialize;
use serde_json::{Value, json};

use super::attachments;
use super::pool::{find, require_usable, unusable_server, with_pool};
use crate::args::ServersReadArgs;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// JSON document about a resource.
#[derive(Debug, Serialize)]
struct ResourceReport {
    server: ServerName,
    uri: String,
    /// The parts as the server sent them.
    contents: Value,
}

/// Reads a resource, and prints or saves its parts.
pub(crate) async fn read(args: ServersReadArgs, output: &Output) -> Result<Exit, Failure> {
    let file = find(&args.servers, output)?;
    require_usable(&file, &args.server)?;
    let contents = with_pool(&file, async |pool, _| {
        let read = pool.read(&args.server, &args.uri, args.timeout).await;
        read.map_err(|fault| unreadable(&args.server, &args.uri, &fault))
    })
    .await?;
    if args.save.is_some() || !args.json {
        attachments::show_or_save(&parts(&contents), args.save.as_deref(), output)?;
    }
    if args.json {
        let report = ResourceReport { server: args.server, uri: args.uri, contents };
        output.document("longshore.resource", &report)?;
        return Ok(Exit::Success);
    }
    let contents = contents.as_array().map(Vec::as_slice).unwrap_or_default();
    if contents.is_empty() {
        output.message("the resource is empty");
    }
    contents.iter().filter_map(|part| part.get("text")?.as_str()).try_for_each(|text| output.text(text))?;
    Ok(Exit::Success)
}

fn unreadable(server: &ServerName, uri: &str, fault: &ReadFault) -> Failure {
    match fault {
        ReadFault::Server(fault) => unusable_server(server, fault),
        ReadFault::NotFound(words) => {
            let message = format!("the server `{server}` has no resource `{uri}`: {words}");
            Failure::new(Exit::NotFound, message)
        }
        ReadFault::Resource(CallFault { fault, .. }) => {
            let message = format!("the resource `{uri}` of the server `{server}` cannot be read: {fault}");
            Failure::new(Exit::Error, message)
        }
    }
}

/// Returns the parts of a resource in the form of parts of a tool result.
fn parts(contents: &Value) -> Value {
    let contents = contents.as_array().map(Vec::as_slice).unwrap_or_default();
    contents.iter().map(|part| json!({ "type": "resource", "resource": part })).collect()
}
