//! Writer of stdout and stderr: results go to stdout, everything else to stderr.
//!
//! No other module writes to them. Results are lines of text or JSON; a closed stdout (`| head`) is not an error. Messages, log
//! lines and the live view share one [`Screen`], so that they do not overwrite each other.

mod elapsed;
mod json;
mod printable;
mod screen;
mod styled_line;
mod symbols;
mod table;
mod times;

use std::borrow::Cow;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use anstream::{AutoStream, ColorChoice};
use longshore_ports::redact_addresses;
use longshore_worker::mcp::Secrets;
use serde::Serialize;

pub(crate) use elapsed::Elapsed;
use json::json_without_credentials;
use printable::styled;
pub(crate) use printable::{hanging, one_line, printable};
pub(crate) use screen::Screen;
pub(crate) use styled_line::{BAD, BUSY, DOUBTFUL, FAINT, GOOD, PLAIN, STRONG, StyledLine};
pub(crate) use symbols::Symbols;
pub(crate) use table::{
    ShrinkingColumn, TableRoom, Truncation, aligned, aligned_within, columns_before, fits,
};
pub(crate) use times::{TimeFormatter, TimePrecision};

use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;

/// Version of every JSON document. New fields do not raise it; any other change does.
const DOCUMENT_VERSION: u32 = 1;

/// Size that is assumed of a terminal that does not report its size.
const DEFAULT_SIZE: TerminalSize = TerminalSize { columns: 80, rows: 24 };

/// Size of a terminal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TerminalSize {
    /// Characters in a row.
    pub(crate) columns: usize,
    /// Rows.
    pub(crate) rows: usize,
}

/// Stdout and stderr.
#[derive(Clone)]
pub(crate) struct Output {
    screen: Arc<Mutex<Screen>>,
    /// The credentials that this process knows. They are masked in every log line and message.
    secrets: Arc<RwLock<Secrets>>,
    /// The set of status signs.
    pub(crate) symbols: Symbols,
    /// A live view may be drawn on stderr.
    pub(crate) is_live: bool,
    /// Stderr is a terminal, and not a program or a file.
    pub(crate) stderr_is_terminal: bool,
    /// Form of times in messages.
    pub(crate) message_times: TimeFormatter,
    /// Form of times in results, except in JSON.
    pub(crate) result_times: TimeFormatter,
    /// Messages and the live view are left out, so that stderr has warnings, errors and questions only.
    is_quiet: bool,
}

/// A JSON document with its schema name and version before its own fields.
#[derive(Serialize)]
struct JsonDocument<'a, T> {
    schema: &'static str,
    version: u32,
    #[serde(flatten)]
    body: &'a T,
}

impl Output {
    /// Creates the writer for the stdout and stderr of the process.
    pub(crate) fn new() -> Self {
        let colour = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        let stderr_is_terminal = io::stderr().is_terminal();
        let times = |is_terminal: bool| if is_terminal { TimeFormatter::local() } else { TimeFormatter::UTC };
        Self {
            screen: Arc::new(Mutex::new(Screen::new(Box::new(io::stderr()), colour))),
            secrets: Arc::default(),
            symbols: if environment::has_unicode(environment::variable) {
                Symbols::Unicode
            } else {
                Symbols::Ascii
            },
            is_live: stderr_is_terminal && environment::can_redraw(environment::variable),
            stderr_is_terminal,
            message_times: times(stderr_is_terminal),
            result_times: times(io::stdout().is_terminal()),
            is_quiet: false,
        }
    }

    /// Returns a writer that leaves out messages and the live view.
    pub(crate) fn quiet(self) -> Self {
        Self { is_live: false, is_quiet: true, ..self }
    }

    /// Masks more values in everything that is written to stderr from now on, including the log lines of libraries.
    pub(crate) fn hide(&self, secrets: &Secrets) {
        self.secrets.write().unwrap_or_else(PoisonError::into_inner).merge(secrets);
    }

    /// Stops masking short values of variables and headers that occur in a text which the user gave, such as a path: messages
    /// repeat it.
    pub(crate) fn show(&self, given: &str) {
        self.secrets.write().unwrap_or_else(PoisonError::into_inner).show_settings_in(given);
    }

    /// Prints a result.
    pub(crate) fn result(&self, text: &str) -> Result<(), Failure> {
        let choice = AutoStream::choice(&io::stdout());
        let mut stdout = AutoStream::new(io::stdout().lock(), choice);
        // A result may contain text of a tool. On a terminal its control characters are escaped; a program gets it
        // unchanged.
        let text = if io::stdout().is_terminal() { styled(text) } else { Cow::Borrowed(text) };
        write_result(&mut stdout, &text)
    }

    /// Prints result lines, cut to the width of the terminal if there is one.
    pub(crate) fn lines(&self, lines: Vec<StyledLine>) -> Result<(), Failure> {
        let room = self.table_room();
        self.whole_lines(lines.into_iter().map(|line| room.cut(line)).collect())
    }

    /// Prints a result whose lines are sentences. On a terminal they are wrapped.
    pub(crate) fn wrapped_lines(&self, lines: Vec<StyledLine>) -> Result<(), Failure> {
        let room = self.table_room();
        self.whole_lines(lines.into_iter().flat_map(|line| room.wrapped(line)).collect())
    }

    /// Prints result lines, which a terminal wraps.
    pub(crate) fn whole_lines(&self, lines: Vec<StyledLine>) -> Result<(), Failure> {
        if lines.is_empty() {
            return Ok(());
        }
        self.result(&lines.iter().map(StyledLine::to_string).collect::<Vec<_>>().join("\n"))
    }

    /// Returns the room for tables on stdout.
    pub(crate) fn table_room(&self) -> TableRoom {
        let columns = io::stdout().is_terminal().then(|| size_of(io::stdout()).columns);
        TableRoom { columns, ellipsis: self.symbols.ellipsis() }
    }

    /// Prints a JSON document on one line, with its schema name and version.
    pub(crate) fn document(&self, schema: &'static str, body: &impl Serialize) -> Result<(), Failure> {
        let document = JsonDocument { schema, version: DOCUMENT_VERSION, body };
        self.result(&serde_json::to_string(&document).map_err(unwritable)?)
    }

    /// Prints a document whose addresses are shown without credentials.
    pub(crate) fn document_without_credentials(
        &self,
        schema: &'static str,
        body: &impl Serialize,
    ) -> Result<(), Failure> {
        let document = JsonDocument { schema, version: DOCUMENT_VERSION, body };
        self.result(&json_without_credentials(&serde_json::to_string(&document).map_err(unwritable)?))
    }

    /// Prints a JSON value that is a whole result: indented on a terminal, otherwise on one line.
    pub(crate) fn value(&self, value: &serde_json::Value) -> Result<(), Failure> {
        let text = if io::stdout().is_terminal() {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        self.text(&text.map_err(unwritable)?)
    }

    /// Prints foreign text as a result: unchanged for a program, with control characters escaped on a terminal.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        if io::stdout().is_terminal() {
            return self.result(&printable(text));
        }
        // Without the filter of styles, which would remove escape sequences from the data.
        write_result(&mut io::stdout().lock(), text)
    }

    /// Prints a message.
    pub(crate) fn message(&self, text: &str) {
        if !self.is_quiet {
            self.print_formatted(&hanging(text));
        }
    }

    /// Prints a question, even if messages are left out, because its answer is waited for.
    pub(crate) fn question(&self, text: &str) {
        self.print_formatted(&hanging(text));
    }

    /// Prints a styled line as a message.
    pub(crate) fn message_line(&self, line: &StyledLine) {
        if !self.is_quiet {
            self.print_formatted(&line.to_string());
        }
    }

    /// Prints text that is already laid out, with its escape sequences. Every message, error and text line of a log is
    /// printed by this function, so that no address shows credentials.
    pub(crate) fn print_formatted(&self, text: &str) {
        self.unmasked(&redact_addresses(text));
    }

    /// Prints lines of a log in JSON.
    fn json_lines(&self, lines: &str) {
        self.unmasked(&json_without_credentials(lines));
    }

    /// Prints an address without masking credentials in it, because a person has to open it.
    pub(crate) fn address(&self, before: &str, address: &str) {
        if !self.is_quiet {
            self.unmasked(&hanging(&format!("{before}{address}")));
        }
    }

    /// Prints text with its addresses unmasked. Only known secrets are hidden.
    fn unmasked(&self, text: &str) {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        self.screen().print(&secrets.hide(text), self.size().columns);
    }

    /// Prints a failure with its help.
    pub(crate) fn failure(&self, failure: &Failure) {
        if let Some(findings) = &failure.findings {
            self.print_formatted(findings);
        }
        self.labelled(StyledLine::of(BAD, "error:"), &failure.message);
        if let Some(help) = &failure.help {
            self.labelled(StyledLine::of(BUSY, "help:"), help);
        }
    }

    /// Prints a warning.
    pub(crate) fn warning(&self, text: &str) {
        self.labelled(StyledLine::of(DOUBTFUL, "warning:"), text);
    }

    fn labelled(&self, label: StyledLine, text: &str) {
        self.print_formatted(&format!("{label} {}", hanging(text)));
    }

    /// Replaces the last frame by another one.
    pub(crate) fn draw(&self, lines: &[StyledLine]) {
        self.screen().draw(lines, self.size().columns);
    }

    /// Leaves the last frame on the screen.
    pub(crate) fn keep_frame(&self) {
        self.screen().keep();
    }

    /// Returns true if messages may have colours.
    pub(crate) fn has_colour(&self) -> bool {
        self.screen().has_colour()
    }

    /// Returns the current size of the terminal behind stderr.
    pub(crate) fn size(&self) -> TerminalSize {
        size_of(io::stderr())
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        // A panic while the lock is held leaves at worst a half-drawn frame.
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn size_of(stream: impl rustix::fd::AsFd) -> TerminalSize {
    match rustix::termios::tcgetwinsize(stream) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            TerminalSize { columns: size.ws_col.into(), rows: size.ws_row.into() }
        }
        _ => DEFAULT_SIZE,
    }
}

/// Writes a result and a line feed. A closed stdout is not an error.
fn write_result(stdout: &mut impl Write, text: &str) -> Result<(), Failure> {
    match stdout.write_all(format!("{text}\n").as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Error, format!("the result cannot be written to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn unwritable(error: serde_json::Error) -> Failure {
    Failure::new(Exit::Error, format!("the result cannot be written as JSON: {error}"))
}

/// Writer of log lines in JSON, which go to stderr like messages.
pub(crate) struct JsonLog(pub(crate) Output);

impl Write for JsonLog {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.json_lines(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Text lines of a log are written as messages.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.print_formatted(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
