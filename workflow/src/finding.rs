//! Diagnostics for problems of calls that are found with knowledge of the servers.
//!
//! A plan has no positions, since a run needs none. They are looked up in the text when there is a finding.

use longshore_proto::{ServerName, StepPath, ToolName};

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Diagnostics, Report};
use crate::document::{self, DocumentNode, MapEntry, NodeKind};
use crate::schema::STEPS_LIMIT;
use crate::source::{SourceText, Span, TEXT_LIMIT_BYTES};

/// A call in a text, which may have errors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenCall {
    /// Step that makes the call.
    pub step: StepPath,
    /// Name of the server.
    pub server: ServerName,
    /// Name of the tool.
    pub tool: ToolName,
}

/// Returns the calls of a text, without those whose step or tool is invalid, which [`compile`](crate::compile) reports.
pub fn written_calls(text: &str) -> Vec<WrittenCall> {
    if text.len() > TEXT_LIMIT_BYTES {
        return Vec::new();
    }
    let source = SourceText::new(text);
    let root = document::read(&source, document::FIRST_LINE, &mut Report::default());
    let steps = root.as_ref().map(steps).unwrap_or_default();
    let calls = steps.iter().filter_map(|(path, entries)| {
        let NodeKind::Text(call) = &get(entries, "call")?.value.kind else { return None };
        let (server, tool) = call.split_once('/')?;
        let (server, tool) = (server.parse().ok()?, tool.parse().ok()?);
        Some(WrittenCall { step: path.parse().ok()?, server, tool })
    });
    calls.collect()
}

/// A problem of a call that is found by comparing it with its server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallFinding {
    /// Step that makes the call.
    pub step: StepPath,
    /// Kind of the problem.
    pub mistake: CallMistake,
    /// Description of the problem: a lower-case fragment.
    pub message: String,
    /// Description of the remedy.
    pub help: Option<String>,
}

/// The kind of a problem of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallMistake {
    /// There is no such server.
    UnknownServer,
    /// The server cannot be used or did not answer.
    UnusableServer,
    /// The server has no such tool.
    UnknownTool,
    /// The server does not list the tool now, and declares that its list changes. A warning.
    UnlistedTool,
    /// The tool does not accept this argument.
    UnknownArgument(String),
    /// A required argument is missing.
    MissingArgument,
    /// The schema neither names nor forbids this argument. A warning.
    UnnamedArgument(String),
    /// The argument has another type than the tool requires.
    ArgumentType(String),
    /// The call uses a secret that the servers file does not bind to it.
    UnboundSecret,
}

impl CallMistake {
    const fn code(&self) -> Code {
        match self {
            Self::UnknownServer => Code::UnknownServer,
            Self::UnusableServer => Code::UnusableServer,
            Self::UnknownTool => Code::UnknownTool,
            Self::UnlistedTool => Code::UnlistedTool,
            Self::UnknownArgument(_) => Code::UnknownArgument,
            Self::UnnamedArgument(_) => Code::UnnamedArgument,
            Self::MissingArgument => Code::MissingArgument,
            Self::ArgumentType(_) => Code::ArgumentType,
            Self::UnboundSecret => Code::UnboundSecret,
        }
    }
}

impl Diagnostics {
    /// Converts findings about the workflow in a text to diagnostics, which may be errors and warnings.
    pub fn from_findings(text: &str, findings: impl IntoIterator<Item = CallFinding>) -> Self {
        let source = SourceText::new(text);
        let root = document::read(&source, document::FIRST_LINE, &mut Report::default());
        let steps = root.as_ref().map(steps).unwrap_or_default();
        let mut report = Report::default();
        for CallFinding { step, mistake, message, help } in findings {
            let entries = steps.iter().find(|(path, _)| *path == step.as_str()).map(|(_, entries)| *entries);
            let span =
                entries.and_then(|entries| mistake_span(&mistake, entries, &source)).unwrap_or_default();
            report.add(Diagnostic::new(mistake.code(), span, message).maybe_help(help));
        }
        report.finish(&source)
    }
}

/// Returns the steps with their paths, in the order of the plan, at most [`STEPS_LIMIT`].
fn steps(root: &DocumentNode) -> Vec<(String, &[MapEntry])> {
    let mut found = Vec::new();
    let NodeKind::Map(entries) = &root.kind else { return found };
    collect(get(entries, "steps"), &mut found);
    found
}

fn collect<'n>(list: Option<&'n MapEntry>, found: &mut Vec<(String, &'n [MapEntry])>) {
    let Some(NodeKind::List(items)) = list.map(|entry| &entry.value.kind) else { return };
    for item in items {
        if found.len() == STEPS_LIMIT {
            return;
        }
        let NodeKind::Map(entries) = &item.kind else { continue };
        let id = match get(entries, "id").map(|entry| &entry.value.kind) {
            Some(NodeKind::Text(id)) if id.parse::<StepPath>().is_ok() => id.clone(),
            _ => format!("#{}", found.len() + 1),
        };
        found.push((id, entries));
        collect(get(entries, "parallel"), found);
    }
}

fn get<'e>(entries: &'e [MapEntry], key: &str) -> Option<&'e MapEntry> {
    entries.iter().find(|entry| entry.key == key)
}

/// Returns the span to underline.
fn mistake_span(mistake: &CallMistake, step: &[MapEntry], source: &SourceText<'_>) -> Option<Span> {
    let call = get(step, "call")?;
    let argument = |name: &str| match &get(step, "with")?.value.kind {
        NodeKind::Map(arguments) => get(arguments, name),
        _ => None,
    };
    match mistake {
        CallMistake::UnknownServer | CallMistake::UnusableServer => Some(call_spans(call, source).0),
        CallMistake::UnknownTool | CallMistake::UnlistedTool => Some(call_spans(call, source).1),
        CallMistake::UnknownArgument(name) | CallMistake::UnnamedArgument(name) => {
            Some(argument(name)?.key_span)
        }
        CallMistake::MissingArgument | CallMistake::UnboundSecret => Some(match get(step, "with") {
            Some(with) => with.key_span,
            None => source.first_line(call.value.span),
        }),
        CallMistake::ArgumentType(name) => Some(source.first_line(argument(name)?.value.span)),
    }
}

/// Returns the spans of the server and of the tool in a `call`, without quotes.
fn call_spans(call: &MapEntry, source: &SourceText<'_>) -> (Span, Span) {
    let whole = source.first_line(call.value.span);
    let parts = match &call.value.kind {
        NodeKind::Text(text) => text.split_once('/').zip(source.slice(whole).find(text.as_str())),
        _ => None,
    };
    let Some(((server, tool), at)) = parts else { return (whole, whole) };
    let slash = at + server.len();
    (whole.subspan(&(at..slash)), whole.subspan(&(slash + 1..slash + 1 + tool.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "longshore: v1
name: places
steps:
  - parallel:
      - call: 'tabels/read'
      - id: sum
        call: tables/sum
        with:
          colums: [a]
          limit: many
  - { id: last, call: tables/write }
";

    fn check(step: &str, mistake: CallMistake, expected: (&str, usize, usize, usize)) {
        let step = step.parse().expect("a path");
        let finding = CallFinding { step, mistake, message: "no".to_owned(), help: None };
        let found = Diagnostics::from_findings(TEXT, [finding]);
        let one = found.iter().next().expect("one");
        assert_eq!((one.code, one.line, one.column, one.length), expected);
    }

    #[test]
    fn finding_has_the_position_of_its_part_of_the_call() {
        crate::compile(TEXT).expect("compiles");
        check("#2", CallMistake::UnknownServer, ("LS0401", 5, 16, 6));
        check("#2", CallMistake::UnknownTool, ("LS0403", 5, 23, 4));
        check("#2", CallMistake::UnlistedTool, ("LS0507", 5, 23, 4));
        check("sum", CallMistake::UnusableServer, ("LS0402", 7, 15, 6));
        check("sum", CallMistake::UnknownArgument("colums".to_owned()), ("LS0404", 9, 11, 6));
        check("sum", CallMistake::UnnamedArgument("colums".to_owned()), ("LS0503", 9, 11, 6));
        check("sum", CallMistake::MissingArgument, ("LS0405", 8, 9, 4));
        check("sum", CallMistake::UnboundSecret, ("LS0407", 8, 9, 4));
        check("sum", CallMistake::ArgumentType("limit".to_owned()), ("LS0406", 10, 18, 4));
        check("last", CallMistake::MissingArgument, ("LS0405", 11, 23, 12));
        assert!(Diagnostics::from_findings(TEXT, []).is_empty());
    }

    #[test]
    fn calls_of_a_text_with_errors_are_known() {
        let calls = |text: &str| {
            let of = |call: WrittenCall| format!("{} {}/{}", call.step, call.server, call.tool);
            written_calls(text).into_iter().map(of).collect::<Vec<_>>()
        };
        let all = ["#2 tabels/read", "sum tables/sum", "last tables/write"];
        assert_eq!(calls(TEXT), all);
        let broken = TEXT.replace("longshore: v1\n", "").replace("limit: many", "limit: '${{ oops( }}'");
        crate::compile(&broken).expect_err("has errors");
        assert_eq!(calls(&broken), all);
        let odd = "steps: [1, { id: a-b, call: s/t }, { call: s }, { call: [s/t] }, { id: a, call: s/ t }]";
        assert_eq!(calls(odd), ["#1 s/t"]);
        assert_eq!(calls("steps: 1"), [""; 0]);
    }
}
