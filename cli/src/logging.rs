//! Log lines on stderr: text beside the messages of a command, and JSON from a process of a cluster whose stderr is no
//! terminal.
//!
//! They are written through [`Output`], so a log line appears above the live view and not within it. `LONGSHORE_LOG`,
//! `RUST_LOG` or the configuration of a cluster say which lines are written.

use std::fmt;
use std::io::{self, Write};

use longshore_ports::clock;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{Config, LogFormat};
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{JsonLog, Output, TimeFormatter};
use crate::suggest;

/// Default log filter of a command.
const COMMAND_FILTER: &str = "warn,async_nats::connector=off";

/// Default log filter of a scheduler or worker: includes its start, its end, and the partitions it leads or the servers it
/// serves.
const PROCESS_FILTER: &str = "info,async_nats=warn,async_nats::connector=off";

/// Number of JSON lines that wait for the thread that writes them. Beyond it, logging blocks. A busy process logs some ten
/// thousand lines a second, and a disk may stop for a moment.
const MAX_WAITING_LINES: usize = 10_000;

/// Size of one write. With less than this the thread writes as soon as no line waits.
const WRITE_BYTES: usize = 64 * 1024;

/// Guard of the thread that writes JSON lines. When it is dropped, the thread writes the waiting lines and ends.
pub(crate) type Logs = Option<WorkerGuard>;

/// Starts logging with the filter of the environment. The caller keeps the result until the command ends.
pub(crate) fn start(output: &Output) -> Result<Logs, Failure> {
    let chosen = environment::log_filter().map(|(name, text)| (name.to_owned(), text));
    begin(output, filter(chosen, COMMAND_FILTER)?, true)
}

/// Starts logging with the filter and format of the configuration. The caller keeps the result until the command ends.
pub(crate) fn start_with(config: &Config, is_process: bool, output: &Output) -> Result<Logs, Failure> {
    let chosen = config.log_filter.as_ref().map(|(text, origin)| (origin.to_string(), text.clone()));
    let usual = if is_process { PROCESS_FILTER } else { COMMAND_FILTER };
    let is_text = match config.log_format {
        // The messages of a command are text, and its log lines go to the same reader.
        LogFormat::Auto => output.stderr_is_terminal || !is_process,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    begin(output, filter(chosen, usual)?, is_text)
}

fn begin(output: &Output, filter: EnvFilter, is_text: bool) -> Result<Logs, Failure> {
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    let loggable = filter_fn(is_loggable);
    let (started, guard) = if is_text {
        let writer = {
            let output = output.clone();
            move || output.clone()
        };
        let logs = logs.with_writer(writer).with_timer(LogClock(output.message_times.clone()));
        let logs = logs.with_ansi(output.has_colour()).with_target(false);
        (logs.finish().with(loggable).try_init(), None)
    } else {
        let lines = LogLines { log: JsonLog(output.clone()), waiting: Vec::new() };
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(false).buffered_lines_limit(MAX_WAITING_LINES).finish(lines);
        // Spans are never nested here, so a list of spans would repeat the current span.
        let logs = logs.with_writer(writer).json().flatten_event(true).with_span_list(false);
        // A thread that is still busy after the end may log into the closed writer.
        let logs = logs.log_internal_errors(false);
        (logs.finish().with(loggable).try_init(), Some(guard))
    };
    started.map_err(|error| Failure::new(Exit::Error, format!("logs cannot be written: {error}")))?;
    Ok(guard)
}

/// Writer of JSON lines to stderr, many at a time.
struct LogLines {
    log: JsonLog,
    waiting: Vec<u8>,
}

impl Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.log.write_all(&self.waiting)?;
            self.waiting.clear();
        }
        Ok(())
    }
}

/// Time of a log line, in the form of the messages.
struct LogClock(TimeFormatter);

impl FormatTime for LogClock {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        line.write_str(&self.0.shown(clock::now()))
    }
}

/// Returns true if a line may be logged, whatever filter the user chose. The MCP library logs whole messages, and so the
/// secrets in calls; the fault of a call reports what matters of them. The NATS client logs whole messages at debug level:
/// inputs and results of runs, and values that a client sent by mistake.
fn is_loggable(line: &Metadata<'_>) -> bool {
    match line.target() {
        target if target.starts_with("rmcp") => false,
        target if target.starts_with("async_nats") => *line.level() <= Level::INFO,
        _ => true,
    }
}

fn filter(chosen: Option<(String, String)>, usual: &str) -> Result<EnvFilter, Failure> {
    let Some((origin, text)) = chosen else { return Ok(EnvFilter::new(usual)) };
    if origin != environment::SHARED_LOG_FILTER
        && let Some(word) = unknown_level(&text)
    {
        let help = format!("{}; {FILTER_HELP}", suggest::among(word, &LEVELS));
        return Err(Failure::new(Exit::Usage, format!("{origin}: `{word}` is not a log level")).help(help));
    }
    EnvFilter::try_new(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("{origin} is not a log filter: {error}")).help(FILTER_HELP)
    })
}

const FILTER_HELP: &str = "write a level, or pairs such as `info,longshore_worker=debug`";

/// The names of the levels.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// Returns the first word of a filter that is not a level and has no `=` or `[`. The filter would take such a word as the
/// name of a module that never logs, and be silently useless. In `RUST_LOG` it may be meant for another program.
fn unknown_level(text: &str) -> Option<&str> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.filter(|word| !word.contains(['=', '['])).find(|word| word.parse::<LevelFilter>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(origin: &str, text: &str) -> Result<EnvFilter, Failure> {
        filter(Some((origin.to_owned(), text.to_owned())), COMMAND_FILTER)
    }

    #[test]
    fn invalid_filter_is_refused_with_the_name_of_its_variable() {
        let filter =
            |name: &str, text: &str| filter(Some((name.to_owned(), text.to_owned())), COMMAND_FILTER);
        assert!(filter("RUST_LOG", "info,longshore_worker=debug").is_ok());
        let refusal = filter("LONGSHORE_LOG", "a=b=c").expect_err("nonsense");
        assert_eq!(refusal.exit, Exit::Usage);
        assert!(refusal.message.contains("LONGSHORE_LOG"), "{}", refusal.message);
    }

    #[test]
    fn mistyped_level_is_refused_in_longshore_log_only() {
        let ours = |text: &str| chosen("LONGSHORE_LOG", text);
        for good in ["info", "WARN", "off", "warn,longshore_worker=debug", "[span]=info"] {
            assert!(ours(good).is_ok(), "{good}");
        }
        let refusal = ours("warn,inof").expect_err("a slip");
        assert_eq!(
            (refusal.exit, refusal.message.as_str()),
            (Exit::Usage, "LONGSHORE_LOG: `inof` is not a log level")
        );
        assert!(refusal.help.is_some_and(|help| help.starts_with("did you mean `info`?")));
        assert!(chosen("RUST_LOG", "hyper").is_ok());
    }
}
