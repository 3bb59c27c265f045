//! Output of `servers list` and `servers tools` for people.

use longshore_proto::StepStatus;
use serde_json::Value;

use super::report::{ServerState, ToolReport};
use crate::output::{
    BAD, DOUBTFUL, FAINT, GOOD, PLAIN, STRONG, ShrinkingColumn, StyledLine, Symbols, TableRoom, Truncation,
    aligned, aligned_within,
};
use crate::schema::type_words;

/// Returns a row for each server, and below a server that cannot be used the reasons, wrapped to the width. Where nothing is
/// cut, names are padded to `name_width`, so that all parts of a list are aligned.
pub(super) fn servers<'h>(
    all: impl Iterator<Item = &'h ServerState> + Clone,
    symbols: Symbols,
    room: TableRoom,
    name_width: usize,
) -> Vec<StyledLine> {
    let padding = if room.columns.is_none() { name_width } else { 0 };
    let name = ShrinkingColumn::new(0, 12, Truncation::Middle);
    let own = ShrinkingColumn::new(2, 8, Truncation::Middle);
    let rows =
        aligned_within(all.clone().map(|state| row(state, symbols, padding)).collect(), room, &[name, own]);
    let why = |state| why(state).into_iter().flat_map(|line| room.wrapped(line));
    all.zip(rows).flat_map(|(state, row)| room.wrapped(row).into_iter().chain(why(state))).collect()
}

/// Widths of the columns behind the name where nothing is cut: each row is printed before the next one is known. A cell that
/// is wider moves the rest of its row.
const PLAIN_WIDTHS: [usize; 5] = [8, 32, 22, 20, 22];

/// Returns the reasons why a server, or some of its tools, cannot be used.
fn why(state: &ServerState) -> Vec<StyledLine> {
    match state {
        ServerState::Ready { left_out, masked, .. } => {
            let line = |(tool, why): (&String, &String)| {
                StyledLine::of(DOUBTFUL, &format!("    the tool {tool:?} cannot be called: {why}"))
            };
            let names = Some(masked.join(", ")).filter(|names| !names.is_empty());
            let masked = names.map(|names| {
                let text = format!("    masked in outputs: {names} (not a secret? name it in `visible_env`)");
                StyledLine::of(FAINT, &text)
            });
            left_out.iter().map(line).chain(masked).collect()
        }
        ServerState::Disabled { .. } => Vec::new(),
        ServerState::Broken { fault, .. } => vec![StyledLine::of(BAD, &format!("    {fault}"))],
        ServerState::Unusable { reasons, .. } => {
            vec![StyledLine::of(DOUBTFUL, &format!("    {}", reasons.join("; ")))]
        }
    }
}

fn row(state: &ServerState, symbols: Symbols, padding: usize) -> Vec<StyledLine> {
    let (sign, style) = symbols.step(match state {
        ServerState::Ready { .. } => StepStatus::Succeeded,
        ServerState::Broken { .. } => StepStatus::Failed,
        ServerState::Unusable { .. } | ServerState::Disabled { .. } => StepStatus::Skipped,
    });
    let name = StyledLine::of(style, sign).with(STRONG, &format!(" {:<padding$}", state.name().as_str()));
    let ServerState::Ready {
        name: own,
        server_version,
        protocol_version,
        era,
        connect_ms,
        list_ms,
        tools,
        pid,
        ..
    } = state
    else {
        let word = match state {
            ServerState::Broken { .. } => "broken",
            ServerState::Disabled { .. } => "disabled",
            ServerState::Unusable { .. } | ServerState::Ready { .. } => "unusable",
        };
        return vec![name, StyledLine::of(style, word)];
    };
    let own = [own.as_deref(), server_version.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let pid = pid.map(|pid| format!("pid {pid}")).unwrap_or_default();
    let tools = if *tools == 1 { "1 tool".to_owned() } else { format!("{tools} tools") };
    let cells = [
        StyledLine::of(style, "ready"),
        StyledLine::of(PLAIN, &own),
        StyledLine::of(PLAIN, &format!("{protocol_version} ({era})")),
        StyledLine::of(PLAIN, &format!("connected in {connect_ms:.0}ms")),
        StyledLine::of(PLAIN, &format!("{tools} in {list_ms:.1}ms")),
    ];
    let is_plain = padding > 0;
    let cells = cells.into_iter().zip(PLAIN_WIDTHS);
    let cells = cells.map(|(cell, width)| if is_plain { cell.padded(width) } else { cell });
    std::iter::once(name).chain(cells).chain([StyledLine::of(FAINT, &pid)]).collect()
}

/// Returns a row for each tool. A name that is wider than half of the terminal has a line of its own, so that the descriptions
/// keep their room.
pub(super) fn tools(reports: &[ToolReport], room: TableRoom) -> Vec<StyledLine> {
    let name =
        |report: &ToolReport| StyledLine::of(STRONG, &format!("{}/{}", report.server, report.tool.name));
    let own_line = |report: &ToolReport| {
        Some(name(report)).filter(|name| room.columns.is_some_and(|columns| name.width() > columns / 2))
    };
    let row = |report: &ToolReport| {
        vec![
            if own_line(report).is_some() { StyledLine::default() } else { name(report) },
            hints(report),
            StyledLine::of(FAINT, report.tool.description.as_deref().unwrap_or_default()),
        ]
    };
    let rows = aligned(reports.iter().map(row).collect());
    reports.iter().zip(rows).flat_map(|(report, row)| own_line(report).into_iter().chain([row])).collect()
}

/// Returns a tool with its arguments. Its schema is printed below.
pub(super) fn tool(report: &ToolReport) -> Vec<StyledLine> {
    let name = format!("{}/{}", report.server, report.tool.name);
    let mut lines = vec![StyledLine::of(STRONG, &name).with(PLAIN, "  ").followed_by(hints(report))];
    let description = report.tool.description.as_deref().unwrap_or_default();
    lines.extend(description.lines().map(|text| StyledLine::of(PLAIN, &format!("  {text}"))));
    let rows = arguments(&report.tool.input_schema);
    lines.push(StyledLine::default());
    if rows.is_empty() {
        lines.push(StyledLine::of(FAINT, "  no arguments are described"));
    }
    lines.extend(aligned(rows));
    lines.push(StyledLine::default());
    lines.push(StyledLine::of(FAINT, "schema of the arguments:"));
    lines
}

/// Returns a row for each argument in a schema: its name, its type, whether it is required, and its description.
fn arguments(schema: &Value) -> Vec<Vec<StyledLine>> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let row = |(name, part): (&String, &Value)| {
        let is_required = required.contains(&name.as_str());
        let about = part.get("description").and_then(Value::as_str).unwrap_or_default();
        vec![
            StyledLine::of(PLAIN, &format!("  {name}")),
            StyledLine::of(FAINT, &type_words(schema, name)),
            StyledLine::of(DOUBTFUL, if is_required { "required" } else { "" }),
            StyledLine::of(FAINT, about),
        ]
    };
    properties.map(row).collect()
}

/// Returns the server's hints about repeating a call.
fn hints(report: &ToolReport) -> StyledLine {
    let hints = report.tool.hints;
    let named = [
        (hints.read_only == Some(true), GOOD, "read-only"),
        (hints.idempotent == Some(true), GOOD, "idempotent"),
        (hints.destructive == Some(true), BAD, "destructive"),
        (hints.open_world == Some(true), PLAIN, "open-world"),
    ];
    let mut line = StyledLine::default();
    for (_, style, name) in named.into_iter().filter(|(given, ..)| *given) {
        let gap = if line == StyledLine::default() { "" } else { " " };
        line = line.with(PLAIN, gap).with(style, name);
    }
    line
}

#[cfg(test)]
mod tests {
    use longshore_proto::{Fault, FaultClass};
    use longshore_worker::mcp::{Tool, ToolHints};

    use super::*;

    /// Room in which nothing is cut.
    const WHOLE: TableRoom = TableRoom { columns: None, ellipsis: "..." };

    fn texts(lines: &[StyledLine]) -> Vec<String> {
        lines.iter().map(StyledLine::text).collect()
    }

    #[test]
    fn broken_server_is_shown_with_its_fault_beside_the_others() {
        let name = |text: &str| text.parse().expect("a name");
        let all = [
            ServerState::Broken {
                server: name("crm"),
                fault: Fault::new(FaultClass::Unavailable, "no such file"),
            },
            ServerState::Unusable { server: name("git"), reasons: vec!["args: must be a list".to_owned()] },
            ServerState::Disabled { server: name("later") },
            ServerState::Ready {
                left_out: std::collections::BTreeMap::new(),
                server: name("tables"),
                name: Some("secure-filesystem-server".to_owned()),
                server_version: Some("0.1.0".to_owned()),
                protocol_version: "2026-07-28".to_owned(),
                era: "stateless",
                connect_ms: 31.4,
                list_ms: 0.62,
                tools: 6,
                pid: Some(77),
                masked: vec!["variable `TEAM`".to_owned()],
            },
        ];
        assert_eq!(
            texts(&servers(all.iter(), Symbols::Ascii, WHOLE, 6)),
            [
                "x crm     broken",
                "    unavailable: no such file",
                "- git     unusable",
                "    args: must be a list",
                "- later   disabled",
                "+ tables  ready     secure-filesystem-server 0.1.0    2026-07-28 (stateless)  connected in 31ms     6 tools in 0.6ms        pid 77",
                "    masked in outputs: variable `TEAM` (not a secret? name it in `visible_env`)",
            ]
        );
    }

    #[test]
    fn reason_is_wrapped_to_the_terminal() {
        let reason = "args: must be a list of texts, and this is a map";
        let unusable = ServerState::Unusable {
            server: "git".parse().expect("a name"),
            reasons: vec![reason.to_owned()],
        };
        let room = TableRoom { columns: Some(30), ellipsis: "..." };
        assert_eq!(
            texts(&servers(std::iter::once(&unusable), Symbols::Ascii, room, 6)),
            ["- git  unusable", "    args: must be a list of", "      texts, and this is a map"]
        );
    }

    #[test]
    fn single_tool_is_shown_with_its_arguments() {
        let report = ToolReport {
            server: "tables".parse().expect("a name"),
            tool: Tool {
                output_schema: None,
                name: "read".parse().expect("a name"),
                description: Some("Reads a file.\nWhole.".to_owned()),
                input_schema: serde_json::json!({
                    "required": ["file"],
                    "properties": {
                        "file": { "type": "string", "description": "Its name." },
                        "limit": { "type": ["integer", "null"] },
                        "mode": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
                        "rows": { "type": "array", "items": { "type": "string" } },
                        "more": {},
                    },
                }),
                hints: ToolHints::default(),
            },
        };
        assert_eq!(
            texts(&tool(&report)),
            [
                "tables/read",
                "  Reads a file.",
                "  Whole.",
                "",
                "  file   string           required  Its name.",
                "  limit  integer or null",
                "  mode   string or null",
                "  more   any",
                "  rows   array of string",
                "",
                "schema of the arguments:",
            ]
        );
    }

    #[test]
    fn tool_is_listed_with_its_hints() {
        let tool = |name: &str, hints| ToolReport {
            server: "tables".parse().expect("a name"),
            tool: Tool {
                output_schema: None,
                name: name.parse().expect("a name"),
                description: Some("Does\nsomething.".to_owned()),
                input_schema: serde_json::json!({}),
                hints,
            },
        };
        let hints = ToolHints { read_only: Some(true), idempotent: Some(true), ..ToolHints::default() };
        assert_eq!(
            texts(&tools(&[tool("read", hints), tool("write_report", ToolHints::default())], WHOLE)),
            [
                "tables/read          read-only idempotent  Does something.",
                "tables/write_report                        Does something.",
            ]
        );
        let long = format!("read_{}", "x".repeat(90));
        let narrow = TableRoom { columns: Some(80), ellipsis: "..." };
        assert_eq!(
            texts(&tools(&[tool(&long, hints), tool("write", ToolHints::default())], narrow)),
            [
                format!("tables/{long}"),
                "              read-only idempotent  Does something.".to_owned(),
                "tables/write                        Does something.".to_owned(),
            ]
        );
    }
}
