//! Logs: to stderr, as text beside the messages of a command, and as JSON where a process of a cluster writes nothing else.
//!
//! They go through [`Output`], so a log line stands above the live view instead of within it. Which lines are
//! written is the business of `LONGSHORE_LOG` or `RUST_LOG`, and for a cluster of its configuration.

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
use crate::output::{JsonLog, Output, Times};
use crate::suggest;

/// What is logged when nobody chose: what a person should know about.
const USUAL_FILTER: &str = "warn";

/// What is logged by a process that nobody looks at: when it began, what it leads or serves, and when it ended, too.
const PROCESS_FILTER: &str = "info,async_nats=warn";

/// The number of JSON lines that wait for the thread that writes them; beyond it, what logs waits. A busy process logs some
/// ten thousand lines a second, and a disk may stop for a moment.
const WAITING_LINES: usize = 10_000;

/// The size of one write. With less than this the thread writes as soon as no line waits.
const WRITE_BYTES: usize = 64 * 1024;

/// Keeps the thread that writes JSON lines alive. When it is dropped, the thread writes the lines that wait, and ends.
pub(crate) type Logs = Option<WorkerGuard>;

/// Begins to log, as the environment says. The caller holds the result until the command ends.
pub(crate) fn start(output: &Output) -> Result<Logs, Failure> {
    let chosen = environment::log_filter().map(|(name, text)| (name.to_owned(), text));
    begin(output, filter(chosen, USUAL_FILTER)?, true)
}

/// Begins to log, as the configuration says. The caller holds the result until the command ends.
pub(crate) fn start_with(config: &Config, is_process: bool, output: &Output) -> Result<Logs, Failure> {
    let chosen = config.log_filter.as_ref().map(|(text, origin)| (origin.to_string(), text.clone()));
    let usual = if is_process { PROCESS_FILTER } else { USUAL_FILTER };
    let is_text = match config.log_format {
        // The messages of a command are text, and one reader gets both.
        LogFormat::Auto => output.has_reader || !is_process,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    begin(output, filter(chosen, usual)?, is_text)
}

fn begin(output: &Output, filter: EnvFilter, is_text: bool) -> Result<Logs, Failure> {
    let logs = tracing_subscriber::fmt().with_env_filter(filter);
    let speaks = filter_fn(may_speak);
    let (started, guard) = if is_text {
        let writer = {
            let output = output.clone();
            move || output.clone()
        };
        let logs = logs.with_writer(writer).with_timer(LogClock(output.message_times.clone()));
        let logs = logs.with_ansi(output.has_colour()).with_target(false);
        (logs.finish().with(speaks).try_init(), None)
    } else {
        let lines = LogLines { log: JsonLog(output.clone()), waiting: Vec::new() };
        let (writer, guard) =
            NonBlockingBuilder::default().lossy(false).buffered_lines_limit(WAITING_LINES).finish(lines);
        // Every span is the only one where it is open, so a list of spans would say the same again.
        let logs = logs.with_writer(writer).json().flatten_event(true).with_span_list(false);
        // A thread that is still busy after the end may log into the closed writer.
        let logs = logs.log_internal_errors(false);
        (logs.finish().with(speaks).try_init(), Some(guard))
    };
    started.map_err(|error| Failure::new(Exit::Error, format!("logs cannot be written: {error}")))?;
    Ok(guard)
}

/// Lines on their way to stderr, written many at a time.
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

/// Puts the time before a log line, as messages have it.
struct LogClock(Times);

impl FormatTime for LogClock {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        line.write_str(&self.0.shown(clock::now()))
    }
}

/// Whether a line may be logged, whatever filter the user chose. The MCP library writes whole messages into its lines, and so
/// the secrets that went into a call; what matters of them is reported as the fault of that call. The client library of NATS
/// writes whole messages into debug lines: inputs and results of runs, and values that a client gave by mistake.
fn may_speak(line: &Metadata<'_>) -> bool {
    match line.target() {
        target if target.starts_with("rmcp") => false,
        target if target.starts_with("async_nats") => *line.level() <= Level::INFO,
        _ => true,
    }
}

fn filter(chosen: Option<(String, String)>, usual: &str) -> Result<EnvFilter, Failure> {
    let Some((origin, text)) = chosen else { return Ok(EnvFilter::new(usual)) };
    if origin != environment::FOREIGN_LOG_FILTER
        && let Some(word) = unknown_level(&text)
    {
        let help = format!("{}; {HOW_TO_WRITE_A_FILTER}", suggest::among(word, &LEVELS));
        return Err(Failure::new(Exit::Usage, format!("{origin}: `{word}` is no level")).help(help));
    }
    EnvFilter::try_new(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("{origin} is not a log filter: {error}"))
            .help(HOW_TO_WRITE_A_FILTER)
    })
}

const HOW_TO_WRITE_A_FILTER: &str = "write a level, or pairs such as `info,longshore_worker=debug`";

/// What a level is called.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

/// A word that stands alone and is no level. The filter would take it for the name of a module that never logs, and
/// say nothing; in our own variable that is a slip. In `RUST_LOG` it may be meant for another program.
fn unknown_level(text: &str) -> Option<&str> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.filter(|word| !word.contains(['=', '['])).find(|word| word.parse::<LevelFilter>().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(origin: &str, text: &str) -> Result<EnvFilter, Failure> {
        filter(Some((origin.to_owned(), text.to_owned())), USUAL_FILTER)
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_by_its_variable() {
        let filter = |name: &str, text: &str| filter(Some((name.to_owned(), text.to_owned())), USUAL_FILTER);
        assert!(filter("RUST_LOG", "info,longshore_worker=debug").is_ok());
        let refusal = filter("LONGSHORE_LOG", "a=b=c").expect_err("nonsense");
        assert_eq!(refusal.exit, Exit::Usage);
        assert!(refusal.message.contains("LONGSHORE_LOG"), "{}", refusal.message);
    }

    #[test]
    fn a_mistyped_level_is_refused_in_our_own_variable() {
        let ours = |text: &str| chosen("LONGSHORE_LOG", text);
        for good in ["info", "WARN", "off", "warn,longshore_worker=debug", "[span]=info"] {
            assert!(ours(good).is_ok(), "{good}");
        }
        let refusal = ours("warn,inof").expect_err("a slip");
        assert_eq!(
            (refusal.exit, refusal.message.as_str()),
            (Exit::Usage, "LONGSHORE_LOG: `inof` is no level")
        );
        assert!(refusal.help.is_some_and(|help| help.starts_with("did you mean `info`?")));
        assert!(chosen("RUST_LOG", "hyper").is_ok());
    }
}
