//! Logs: to stderr, as text for a person and as JSON for a program.
//!
//! They go through [`Output`], so a log line stands above the live view instead of within it. Which lines are
//! written is the business of `LONGSHORE_LOG` or `RUST_LOG`, and for a cluster of its configuration.

use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// What is logged when nobody chose: what a person should know about. The MCP library reports as warnings what is
/// reported here as the fault of a call.
const USUAL_FILTER: &str = "warn,rmcp=off";

/// What is logged by a process that nobody looks at: when it began, what it leads or serves, and when it ended, too.
const PROCESS_FILTER: &str = "info,rmcp=off,async_nats=warn";

/// Begins to log, as the environment says.
pub(crate) fn start(output: &Output) -> Result<(), Failure> {
    let chosen = environment::log_filter().map(|(name, text)| (name.to_owned(), text));
    begin(output, filter(chosen, USUAL_FILTER)?, LogFormat::Auto)
}

/// Begins to log, as the configuration says.
pub(crate) fn start_with(config: &Config, is_process: bool, output: &Output) -> Result<(), Failure> {
    let chosen = config.log_filter.as_ref().map(|(text, origin)| (origin.to_string(), text.clone()));
    let usual = if is_process { PROCESS_FILTER } else { USUAL_FILTER };
    begin(output, filter(chosen, usual)?, config.log_format)
}

fn begin(output: &Output, filter: EnvFilter, format: LogFormat) -> Result<(), Failure> {
    let writer = {
        let output = output.clone();
        move || output.clone()
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let is_text = match format {
        LogFormat::Auto => output.has_reader,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let started = if is_text {
        logs.with_ansi(output.has_colour()).with_target(false).try_init()
    } else {
        logs.json().flatten_event(true).try_init()
    };
    started.map_err(|error| Failure::new(Exit::Error, format!("logs cannot be written: {error}")))
}

fn filter(chosen: Option<(String, String)>, usual: &str) -> Result<EnvFilter, Failure> {
    let Some((origin, text)) = chosen else { return Ok(EnvFilter::new(usual)) };
    EnvFilter::try_new(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("{origin} is not a log filter: {error}")).help(
            "write a level (error, warn, info, debug, trace), or pairs such as `info,longshore_worker=debug`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_by_its_variable() {
        let filter = |name: &str, text: &str| filter(Some((name.to_owned(), text.to_owned())), USUAL_FILTER);
        assert!(filter("RUST_LOG", "info,longshore_worker=debug").is_ok());
        let refusal = filter("LONGSHORE_LOG", "a=b=c").expect_err("nonsense");
        assert_eq!(refusal.exit, Exit::Usage);
        assert!(refusal.message.contains("LONGSHORE_LOG"), "{}", refusal.message);
    }
}
