//! Problems of a text: collected in one pass, shown with place, excerpt and help.
//!
//! [`Report`] collects while the text is read; [`Diagnostics`] is what the caller gets. How an excerpt looks is the
//! business of the renderer crate, which shows nowhere outside this file.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::{Serialize, Serializer};

use crate::codes::Code;
use crate::source::{Excerpt, Place, Source, Span};

/// How many problems are shown: more than anybody mends before checking again.
const SHOWN_LIMIT: usize = 50;

/// How many problems are kept, so that they can be put into the order of the file before the rest is left out. A text
/// at its size limit can hold hundreds of thousands.
const KEPT_LIMIT: usize = 2_000;

/// One problem.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    code: Code,
    span: Span,
    message: String,
    label: String,
    help: Option<String>,
}

impl Diagnostic {
    /// A problem at a place. The message is a lower-case fragment.
    pub(crate) fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self { code, span, message: printable(message.into()), label: String::new(), help: None }
    }

    /// A few words to stand under the underlined text.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// How to mend it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    /// How to mend it, if that is known.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.map(printable);
        self
    }
}

/// The same text without control characters: what a file holds must not steer a terminal.
fn printable(text: String) -> String {
    if text.contains(char::is_control) {
        return text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    }
    text
}

/// The problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<Diagnostic>,
    dropped: usize,
    warnings: Vec<Diagnostic>,
}

impl Report {
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        if diagnostic.code.is_warning() {
            // The rest is shown once these are fixed.
            if self.warnings.len() < SHOWN_LIMIT {
                self.warnings.push(diagnostic);
            }
        } else if self.found.len() < KEPT_LIMIT {
            self.found.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Adds what another report has.
    pub(crate) fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        other.found.into_iter().chain(other.warnings).for_each(|one| self.add(one));
    }

    /// Whether further problems are likely to be counted only, so that no time is spent on help for them: searching the
    /// closest of many names for each of 10,000 expressions would take seconds.
    pub(crate) const fn is_crowded(&self) -> bool {
        self.found.len() >= SHOWN_LIMIT
    }

    /// Returns true if nothing refuses the text.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The problems in the order of the file. Where an error is, no warning says more.
    pub(crate) fn finish(mut self, source: &Source<'_>) -> Diagnostics {
        let found = &self.found;
        self.warnings.retain(|warning| !found.iter().any(|error| error.span.start == warning.span.start));
        self.found.sort_by_key(|one| (one.span.start, one.code));
        let more = self.dropped + self.found.len().saturating_sub(SHOWN_LIMIT);
        self.found.truncate(SHOWN_LIMIT);
        self.warnings.truncate(SHOWN_LIMIT - self.found.len());
        self.found.append(&mut self.warnings);
        self.found.sort_by_key(|one| (one.span.start, one.code));
        let shown = self.found.into_iter().map(|one| (source.place(one.span), one)).collect();
        Diagnostics { shown, more }
    }
}

/// The problems of a text, in its order. Those of a text that was refused are at least one.
///
/// Serialises as a list of `{code, severity, message, line, column, length, help}`; line and column count from 1, in
/// characters. `Display` gives one line for each, without colours.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    shown: Vec<(Place, Diagnostic)>,
    more: usize,
}

/// One problem, as others see it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem<'d> {
    /// What kind of problem it is; `explain` says more.
    pub code: &'static str,
    /// `error`, which refuses the text, or `warning`, which does not.
    pub severity: &'static str,
    /// What is wrong.
    pub message: &'d str,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters are concerned, at least 1.
    pub length: usize,
    /// How to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'d str>,
}

impl Diagnostics {
    /// The problems in the order of the text; at most 50.
    pub fn iter(&self) -> impl Iterator<Item = Problem<'_>> {
        self.shown.iter().map(|(place, one)| Problem {
            code: one.code.as_str(),
            severity: if one.code.is_warning() { "warning" } else { "error" },
            message: &one.message,
            line: place.line,
            column: place.column,
            length: place.length,
            help: one.help.as_deref(),
        })
    }

    /// Returns true if there is no problem.
    pub const fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// Counts the errors and the warnings.
    pub fn count(&self) -> (usize, usize) {
        let warnings = self.shown.iter().filter(|(_, one)| one.code.is_warning()).count();
        (self.shown.len() - warnings + self.more, warnings)
    }

    /// Joins the diagnostics of two passes over one text.
    pub fn merge(self, other: Self) -> Self {
        let more = self.more + other.more;
        let mut shown: Vec<_> = self.shown.into_iter().chain(other.shown).collect();
        shown.sort_by_key(|(_, one)| (one.span.start, one.code));
        Self { shown, more }
    }

    /// Returns the errors, if there are any, and the warnings.
    pub fn split_by_severity(self) -> (Option<Self>, Self) {
        let Self { shown, more } = self;
        let (warnings, errors): (Vec<_>, Vec<_>) =
            shown.into_iter().partition(|(_, one)| one.code.is_warning());
        let errors = (!errors.is_empty()).then_some(Self { shown: errors, more });
        (errors, Self { shown: warnings, more: 0 })
    }

    /// How many problems there are beyond those that [`Diagnostics::iter`] gives.
    pub const fn omitted(&self) -> usize {
        self.more
    }

    /// Every problem with the lines it stands in. `file` is how the text calls itself, `text` what was compiled.
    pub fn render(&self, file: &str, text: &str, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled().decor_style(DecorStyle::Unicode)
        } else {
            Renderer::plain().decor_style(DecorStyle::Ascii)
        };
        let source = Source::new(text);
        let mut all: Vec<String> =
            self.shown.iter().map(|(place, one)| excerpt(&renderer, one, *place, file, &source)).collect();
        if self.more > 0 {
            all.push(format!("and {} more", self.more));
        }
        all.join("\n\n") + "\n"
    }
}

/// One problem with its lines.
fn excerpt(renderer: &Renderer, one: &Diagnostic, place: Place, file: &str, source: &Source<'_>) -> String {
    let Excerpt { text, line, span, is_cut } = source.excerpt(one.span);
    let level = if one.code.is_warning() { Level::WARNING } else { Level::ERROR };
    let title = level.primary_title(one.message.as_str()).id(one.code.as_str());
    let annotation = AnnotationKind::Primary.span(span.start..span.end).label(one.label.as_str());
    let snippet = Snippet::source(text).line_start(line).fold(false).annotation(annotation);
    let mut group = if is_cut {
        // The renderer would count the columns of the part.
        title.element(Origin::path(file).line(place.line).char_column(place.column)).element(snippet)
    } else {
        title.element(snippet.path(file))
    };
    if let Some(help) = &one.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    if one.code.says_more() {
        let more = format!("longshore explain {}", one.code);
        group = group.element(Level::NOTE.with_name("more").message(more));
    }
    renderer.render(&[group])
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, one) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{} at {}:{}: {}", one.code, one.line, one.column, one.message)?;
            if let Some(help) = one.help {
                write!(f, "; {help}")?;
            }
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}
