//! Diagnostics: the problems of a text, each with its position, an excerpt and help.
//!
//! The passes of the compiler collect problems in a [`Report`], and the caller gets [`Diagnostics`]. This file is the only
//! user of the crate that renders excerpts.

use std::fmt;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};
use serde::{Serialize, Serializer};

use crate::codes::Code;
use crate::source::{Excerpt, SourceText, Span, TextPosition};

/// The largest number of problems that are shown: more than a user fixes before the next check.
const SHOWN_LIMIT: usize = 50;

/// The largest number of errors that are kept, so that they can be sorted before the first ones are shown. A text at its
/// size limit can contain hundreds of thousands.
const KEPT_LIMIT: usize = 2_000;

/// A problem of a text.
#[derive(Clone, Debug)]
pub(crate) struct Diagnostic {
    code: Code,
    span: Span,
    message: String,
    label: Box<str>,
    help: Option<Box<str>>,
    /// The input whose absence causes the problem.
    absent_input: Option<Box<str>>,
}

impl Diagnostic {
    /// Creates a problem. The message is a lower-case fragment.
    pub(crate) fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        Self {
            code,
            span,
            message: printable(message.into()),
            label: Box::default(),
            help: None,
            absent_input: None,
        }
    }

    /// Sets the words below the underlined text.
    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into().into_boxed_str();
        self
    }

    /// Sets the input whose absence causes the problem.
    pub(crate) fn of_absent_input(mut self, name: &str) -> Self {
        self.absent_input = Some(name.into());
        self
    }

    /// Sets the description of the remedy.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.maybe_help(Some(help.into()))
    }

    /// Sets the description of the remedy, if there is one.
    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.map(|help| printable(help).into_boxed_str());
        self
    }
}

/// Replaces control characters, so that the text of a file cannot control the terminal.
fn printable(text: String) -> String {
    if text.contains(char::is_control) {
        return text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    }
    text
}

/// The problems that the passes of the compiler have found so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    errors: Vec<Diagnostic>,
    /// Number of errors beyond [`KEPT_LIMIT`].
    dropped: usize,
    warnings: Vec<Diagnostic>,
}

impl Report {
    /// Adds a problem.
    pub(crate) fn add(&mut self, diagnostic: Diagnostic) {
        if diagnostic.code.is_warning() {
            // Further warnings appear when the first ones are fixed.
            if self.warnings.len() < SHOWN_LIMIT {
                self.warnings.push(diagnostic);
            }
        } else if self.errors.len() < KEPT_LIMIT {
            self.errors.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Adds the problems of another report.
    pub(crate) fn append(&mut self, other: Self) {
        self.dropped += other.dropped;
        other.errors.into_iter().chain(other.warnings).for_each(|one| self.add(one));
    }

    /// Returns true if further problems will probably be counted only. Passes then skip the search for similar names, which
    /// would take seconds for 10,000 expressions.
    pub(crate) const fn is_crowded(&self) -> bool {
        self.errors.len() >= SHOWN_LIMIT
    }

    /// Returns true if there are no errors. There may be warnings.
    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Sorts the problems by position. Drops warnings at the position of an error.
    pub(crate) fn finish(mut self, source: &SourceText<'_>) -> Diagnostics {
        let errors = &self.errors;
        self.warnings.retain(|warning| !errors.iter().any(|error| error.span.start == warning.span.start));
        self.errors.sort_by_key(|one| (one.span.start, one.code));
        let omitted = self.dropped + self.errors.len().saturating_sub(SHOWN_LIMIT);
        self.errors.truncate(SHOWN_LIMIT);
        self.warnings.truncate(SHOWN_LIMIT - self.errors.len());
        let mut shown = self.errors;
        shown.append(&mut self.warnings);
        shown.sort_by_key(|one| (one.span.start, one.code));
        let shown = shown.into_iter().map(|one| (source.position(one.span), one)).collect();
        Diagnostics { shown, omitted }
    }
}

/// The problems of a text, in the order of their positions. A text that was refused has at least one.
///
/// Serializes as a list of `{code, severity, message, line, column, length, help}`; line and column start at 1 and count
/// characters. `Display` writes a line for each problem, without colours.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    shown: Vec<(TextPosition, Diagnostic)>,
    omitted: usize,
}

/// The public form of a problem.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Problem<'d> {
    /// Code of the kind of problem, for `explain`.
    pub code: &'static str,
    /// `error` or `warning`. Only errors refuse the text.
    pub severity: &'static str,
    /// Description of the problem.
    pub message: &'d str,
    /// Line, starting at 1.
    pub line: usize,
    /// Column in characters, starting at 1.
    pub column: usize,
    /// Number of characters of the problem, at least 1.
    pub length: usize,
    /// Description of the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<&'d str>,
}

impl Diagnostics {
    /// Returns at most 50 problems, in the order of their positions.
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

    /// Removes the problems that only an absent input causes, for the inputs that are given.
    pub fn retain_for_inputs(&mut self, is_given: impl Fn(&str) -> bool) {
        self.shown.retain(|(_, one)| !one.absent_input.as_deref().is_some_and(&is_given));
    }

    /// Counts the errors and the warnings.
    pub fn count(&self) -> (usize, usize) {
        let warnings = self.shown.iter().filter(|(_, one)| one.code.is_warning()).count();
        (self.shown.len() - warnings + self.omitted, warnings)
    }

    /// Merges the diagnostics of two passes over one text.
    pub fn merge(self, other: Self) -> Self {
        let omitted = self.omitted + other.omitted;
        let mut shown: Vec<_> = self.shown.into_iter().chain(other.shown).collect();
        shown.sort_by_key(|(_, one)| (one.span.start, one.code));
        Self { shown, omitted }
    }

    /// Returns the errors, if there are any, and the warnings.
    pub fn split_by_severity(self) -> (Option<Self>, Self) {
        let Self { shown, omitted } = self;
        let (warnings, errors): (Vec<_>, Vec<_>) =
            shown.into_iter().partition(|(_, one)| one.code.is_warning());
        let errors = (!errors.is_empty()).then_some(Self { shown: errors, omitted });
        (errors, Self { shown: warnings, omitted: 0 })
    }

    /// Returns the number of problems that [`Diagnostics::iter`] omits.
    pub const fn omitted(&self) -> usize {
        self.omitted
    }

    /// Renders the problems with excerpts of the text. `file` is the name of the text for display, `text` the compiled text.
    pub fn render(&self, file: &str, text: &str, colour: bool) -> String {
        let renderer = if colour {
            Renderer::styled().decor_style(DecorStyle::Unicode)
        } else {
            Renderer::plain().decor_style(DecorStyle::Ascii)
        };
        let source = SourceText::new(text);
        let mut all: Vec<String> = self
            .shown
            .iter()
            .map(|(place, one)| render_excerpt(&renderer, one, *place, file, &source))
            .collect();
        if self.omitted > 0 {
            all.push(format!("and {} more", self.omitted));
        }
        all.join("\n\n") + "\n"
    }
}

/// Renders a problem with an excerpt of the text.
fn render_excerpt(
    renderer: &Renderer,
    one: &Diagnostic,
    place: TextPosition,
    file: &str,
    source: &SourceText<'_>,
) -> String {
    let Excerpt { text, line, span, is_cut } = source.excerpt(one.span);
    let level = if one.code.is_warning() { Level::WARNING } else { Level::ERROR };
    let title = level.primary_title(one.message.as_str()).id(one.code.as_str());
    let annotation = AnnotationKind::Primary.span(span.start..span.end).label(&*one.label);
    let snippet = Snippet::source(text).line_start(line).fold(false).annotation(annotation);
    let mut group = if is_cut {
        // The renderer would count columns from the start of the excerpt.
        title.element(Origin::path(file).line(place.line).char_column(place.column)).element(snippet)
    } else {
        title.element(snippet.path(file))
    };
    if let Some(help) = &one.help {
        group = group.element(Level::HELP.message(&**help));
    }
    if one.code.has_explanation() {
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
        if self.omitted > 0 {
            write!(f, "\nand {} more", self.omitted)?;
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
