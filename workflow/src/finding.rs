//! What somebody who knows the servers finds out about the calls of a workflow, put where it stands in the text.
//!
//! A plan has no places, because whoever runs it needs none. They are looked up in the text once more when there is
//! something to say.

use longshore_proto::{ServerName, StepPath, ToolName};

use crate::codes::Code;
use crate::diagnostics::{Diagnostic, Diagnostics, Report};
use crate::document::{self, Entry, Kind, Node};
use crate::shape::STEPS_LIMIT;
use crate::source::{Source, Span, TEXT_LIMIT_BYTES};

/// A call as it is written, also in a text with errors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WrittenCall {
    /// The step that calls.
    pub step: StepPath,
    /// The server it names.
    pub server: ServerName,
    /// The tool it names.
    pub tool: ToolName,
}

/// Returns the calls of a text, without those whose step or tool cannot be read. Compiling says what is wrong with those.
pub fn written_calls(text: &str) -> Vec<WrittenCall> {
    if text.len() > TEXT_LIMIT_BYTES {
        return Vec::new();
    }
    let source = Source::new(text);
    let root = document::read(&source, document::FIRST_LINE, &mut Report::default());
    let steps = root.as_ref().map(steps).unwrap_or_default();
    let calls = steps.iter().filter_map(|(path, entries)| {
        let Kind::Text(call) = &get(entries, "call")?.value.kind else { return None };
        let (server, tool) = call.split_once('/')?;
        let (server, tool) = (server.parse().ok()?, tool.parse().ok()?);
        Some(WrittenCall { step: path.parse().ok()?, server, tool })
    });
    calls.collect()
}

/// Something that is wrong with a call, and shows only beside its server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallFinding {
    /// The step that calls.
    pub step: StepPath,
    /// What is wrong.
    pub mistake: CallMistake,
    /// The same in words: a lower-case fragment.
    pub message: String,
    /// How to mend it, if that is known.
    pub help: Option<String>,
}

/// What can be wrong with a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CallMistake {
    /// There is no such server.
    UnknownServer,
    /// The server cannot be used or asked.
    UnusableServer,
    /// The server has no such tool.
    UnknownTool,
    /// The server does not list this tool now, and says that its list changes. A warning.
    UnlistedTool,
    /// The tool takes no such argument.
    UnknownArgument(String),
    /// An argument that the tool requires is not there.
    MissingArgument,
    /// The schema neither names this argument nor forbids it. A warning.
    UnnamedArgument(String),
    /// This argument is of another type than the tool wants.
    ArgumentType(String),
    /// A secret goes into the call, and the servers file does not give it.
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
    /// The diagnostics for findings about the workflow with this text. Errors and warnings are both among them.
    pub fn from_findings(text: &str, findings: impl IntoIterator<Item = CallFinding>) -> Self {
        let source = Source::new(text);
        let root = document::read(&source, document::FIRST_LINE, &mut Report::default());
        let steps = root.as_ref().map(steps).unwrap_or_default();
        let mut report = Report::default();
        for CallFinding { step, mistake, message, help } in findings {
            let entries = steps.iter().find(|(path, _)| *path == step.as_str()).map(|(_, entries)| *entries);
            let span = entries.and_then(|entries| place(&mistake, entries, &source)).unwrap_or_default();
            report.add(Diagnostic::new(mistake.code(), span, message).maybe_help(help));
        }
        report.finish(&source)
    }
}

/// The steps by their paths, in the order in which a plan has them, and no more than a plan may have.
fn steps(root: &Node) -> Vec<(String, &[Entry])> {
    let mut found = Vec::new();
    let Kind::Map(entries) = &root.kind else { return found };
    collect(get(entries, "steps"), &mut found);
    found
}

fn collect<'n>(list: Option<&'n Entry>, found: &mut Vec<(String, &'n [Entry])>) {
    let Some(Kind::List(items)) = list.map(|entry| &entry.value.kind) else { return };
    for item in items {
        if found.len() == STEPS_LIMIT {
            return;
        }
        let Kind::Map(entries) = &item.kind else { continue };
        let id = match get(entries, "id").map(|entry| &entry.value.kind) {
            Some(Kind::Text(id)) if id.parse::<StepPath>().is_ok() => id.clone(),
            _ => format!("#{}", found.len() + 1),
        };
        found.push((id, entries));
        collect(get(entries, "parallel"), found);
    }
}

fn get<'e>(entries: &'e [Entry], key: &str) -> Option<&'e Entry> {
    entries.iter().find(|entry| entry.key == key)
}

/// What to underline.
fn place(mistake: &CallMistake, step: &[Entry], source: &Source<'_>) -> Option<Span> {
    let call = get(step, "call")?;
    let argument = |name: &str| match &get(step, "with")?.value.kind {
        Kind::Map(arguments) => get(arguments, name),
        _ => None,
    };
    match mistake {
        CallMistake::UnknownServer | CallMistake::UnusableServer => Some(of_call(call, source).0),
        CallMistake::UnknownTool | CallMistake::UnlistedTool => Some(of_call(call, source).1),
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

/// Where a `call` names its server, and where its tool. Quotes, if there are any, belong to neither.
fn of_call(call: &Entry, source: &Source<'_>) -> (Span, Span) {
    let whole = source.first_line(call.value.span);
    let parts = match &call.value.kind {
        Kind::Text(text) => text.split_once('/').zip(source.slice(whole).find(text.as_str())),
        _ => None,
    };
    let Some(((server, tool), at)) = parts else { return (whole, whole) };
    let slash = at + server.len();
    (whole.part(&(at..slash)), whole.part(&(slash + 1..slash + 1 + tool.len())))
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
    fn a_finding_stands_where_its_call_does() {
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
