//! `longshore servers`: checks MCP servers, lists and calls their tools, and reads their resources.
//!
//! Requests go to all servers at the same time, and a broken server does not affect the others.

mod arguments;
mod attachments;
mod list;
mod page;
mod pool;
mod progress;
mod report;
mod resource;
mod waiting;

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use longshore_proto::{FaultClass, MAX_TIMEOUT_FACTOR, ServerName};
use longshore_worker::mcp::{Answer, CallFault, ServerPool, Tool, ToolCall, ToolList, mask_warning};
use serde_json::{Map, Value};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use self::list::list;
pub(super) use self::pool::with_pool;
use self::pool::{find, require_usable, unusable_server};
use self::progress::CallProgress;
use self::report::{CallReport, ToolReport};
pub(super) use self::resource::read;
use self::waiting::WaitingServers;
use crate::args::{ServersCallArgs, ServersToolsArgs, ServersTrustArgs, ToolSelection, ToolTarget};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;
use crate::servers_file::{DEFAULT_PATH, ServersFile, ServersSource, TrustedServers};
use crate::suggest;
use crate::trust;

/// Stores a servers file as trusted, so that no question is asked about it.
pub(super) fn trust(args: &ServersTrustArgs, output: &Output) -> Result<Exit, Failure> {
    let path = args.file.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
    // An invalid file is refused before it is trusted.
    ServersFile::find(&ServersSource::Named(path.clone()), output)?;
    output.message(&trust::give(&path, &input_text::read(&path, "servers file")?)?);
    Ok(Exit::Success)
}

/// Lists the tools of one server, or of all.
pub(super) async fn tools(args: ServersToolsArgs, output: &Output) -> Result<Exit, Failure> {
    let file = find(&args.servers, output)?;
    if let Some(of) = &args.of {
        require_usable(&file, &of.server)?;
    }
    let (mut reports, exit) = listed(&file, args.of.as_ref().map(|of| &of.server), output).await?;
    let wanted = args.of.and_then(|ToolSelection { server, tool }| Some(ToolTarget { server, tool: tool? }));
    if let Some(target) = wanted.as_ref().filter(|_| exit == Exit::Success) {
        known(reports.iter().map(|report| &report.tool), target)?;
        reports.retain(|report| report.tool.name == target.tool);
    }
    match (reports.as_slice(), &wanted) {
        (reports, _) if args.json => {
            reports.iter().try_for_each(|report| output.document("longshore.tool", report))?;
        }
        ([report], Some(_)) => {
            output.wrapped_lines(page::tool(report))?;
            output.value(&report.tool.input_schema)?;
        }
        (reports, _) => output.lines(page::tools(reports, output.table_room()))?,
    }
    Ok(exit)
}

/// Returns the tools of one server, or of all. A server that does not list them, or that is unusable, is reported, and makes
/// the exit code an error.
async fn listed(
    file: &TrustedServers,
    only: Option<&ServerName>,
    output: &Output,
) -> Result<(Vec<ToolReport>, Exit), Failure> {
    let asked = with_pool(file, async |pool, names| {
        let wanted: Vec<&ServerName> =
            names.iter().filter(|name| only.is_none_or(|only| *name == only)).collect();
        let waiting = RefCell::new(WaitingServers::new(output, wanted.iter().copied().cloned()));
        let ask = async |name: &ServerName| {
            let tools = pool.tools(name).await;
            let mut waiting = waiting.borrow_mut();
            waiting.answered(name);
            waiting.show_below(Vec::new());
            (name.clone(), tools)
        };
        Ok(join_all(wanted.into_iter().map(ask)).await)
    })
    .await?;
    let (mut reports, mut exit) = (Vec::new(), Exit::Success);
    if only.is_none() {
        for failure in file.unusable().filter_map(|(server, _)| require_usable(file, server).err()) {
            exit = Exit::Error;
            output.failure(&failure);
        }
    }
    for (server, tools) in asked {
        match tools {
            Ok(ToolList { tools, left_out, .. }) => {
                for (tool, why) in left_out {
                    output.warning(&format!("{server}/{tool:?} cannot be called: {why}"));
                }
                reports.extend(tools.into_iter().map(|tool| ToolReport { server: server.clone(), tool }));
            }
            Err(fault) => {
                exit = Exit::Error;
                output.failure(&unusable_server(&server, &fault));
            }
        }
    }
    Ok((reports, exit))
}

/// Calls a tool once.
pub(super) async fn call(args: ServersCallArgs, output: &Output) -> Result<Exit, Failure> {
    let object = arguments::object(args.arguments.as_deref())?;
    let file = find(&args.servers, output)?;
    require_usable(&file, &args.target.server)?;
    let report = with_pool(&file, async |pool, _| {
        let ToolTarget { server, tool } = &args.target;
        let tools = pool.tools(server).await.map_err(|fault| unusable_server(server, &fault))?;
        let schema = &known(&tools.tools, &args.target)?.input_schema;
        let arguments = arguments::override_with(object, &args.argument, schema, output)?;
        arguments::refuse_unknown(&arguments, &args.target, schema, output)?;
        let began = Instant::now();
        let answer = make_call(pool, &args.target, &arguments, args.timeout, output).await?;
        let (server, tool) = (server.clone(), tool.clone());
        Ok(CallReport::new(server, tool, answer, began.elapsed()))
    })
    .await?;
    let save = args.save.as_deref();
    if save.is_some() || !args.json {
        attachments::show_or_save(report.content(), save, output)?;
    }
    if !args.json {
        attachments::show_links(report.content(), &args.target.server, output);
    }
    if args.json {
        output.document("longshore.call", &report)?;
    } else if !report.is_error {
        match &report.value {
            Value::String(text) => output.text(text)?,
            other => output.value(other)?,
        }
    }
    match report.error {
        None => Ok(Exit::Success),
        Some(text) => {
            Err(Failure::new(Exit::Error, format!("the tool `{}` reports an error: {text}", report.tool)))
        }
    }
}

async fn make_call(
    pool: &ServerPool,
    target: &ToolTarget,
    arguments: &Map<String, Value>,
    timeout: Duration,
    output: &Output,
) -> Result<Answer, Failure> {
    let ToolTarget { server, tool } = target;
    let key = format!("call-{:032x}", rand::random::<u128>());
    let call = ToolCall {
        server,
        tool,
        arguments,
        timeout,
        max_timeout: timeout.saturating_mul(MAX_TIMEOUT_FACTOR),
        idempotency_key: &key,
        trace: None,
        job: None,
    };
    let cancelled = CancellationToken::new();
    let progress = CallProgress::new(output, target);
    let report = |activity| progress.store(activity);
    let ended = tokio::select! {
        ended = pool.call(call, &report, &cancelled) => ended,
        never = progress.show() => match never {},
    };
    drop(progress);
    if !ended.masked.is_empty() {
        output.warning(&mask_warning("the answer", &ended.masked));
    }
    ended.result.map_err(|CallFault { fault, .. }| {
        let exit = match fault.class {
            FaultClass::InvalidArguments => Exit::Invalid,
            FaultClass::UnknownTool | FaultClass::UnknownServer => Exit::NotFound,
            _ => Exit::Error,
        };
        Failure::new(exit, format!("the call of {server}/{tool} failed: {fault}"))
    })
}

/// Returns the tool of this name.
fn known<'t>(
    tools: impl IntoIterator<Item = &'t Tool, IntoIter: Clone>,
    target: &ToolTarget,
) -> Result<&'t Tool, Failure> {
    let tools = tools.into_iter();
    tools.clone().find(|tool| tool.name == target.tool).ok_or_else(|| {
        let message = format!("the server `{}` has no tool `{}`", target.server, target.tool);
        Failure::new(Exit::NotFound, message).maybe_help(unknown_tool_help(tools, target.tool.as_str()))
    })
}

/// Returns advice about a tool that is not among these; `None` if it is.
pub(super) fn unknown_tool_help<'t>(
    tools: impl IntoIterator<Item = &'t Tool>,
    wanted: &str,
) -> Option<String> {
    let names: Vec<&str> = tools.into_iter().map(|tool| tool.name.as_str()).collect();
    if names.contains(&wanted) {
        return None;
    }
    Some(suggest::among(wanted, &names))
}
