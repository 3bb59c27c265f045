//! Logs: to stderr, as text for a person and as JSON for a program.
//!
//! They go through [`Output`], so a log line stands above the live view instead of within it. Which lines are
//! written is the business of `LONGSHORE_LOG` or `RUST_LOG`.

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::suggest;

/// What is logged when nobody chose: what a person should know about.
const USUAL_FILTER: &str = "warn";

/// Begins to log.
pub(crate) fn start(output: &Output) -> Result<(), Failure> {
    let filter = filter(environment::log_filter())?;
    let writer = {
        let output = output.clone();
        move || output.clone()
    };
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let speaks = filter_fn(may_speak);
    let started = if output.has_reader {
        logs.with_ansi(output.has_colour()).with_target(false).finish().with(speaks).try_init()
    } else {
        logs.json().flatten_event(true).finish().with(speaks).try_init()
    };
    started.map_err(|error| Failure::new(Exit::Error, format!("logs cannot be written: {error}")))
}

/// Whether a line may be logged, whatever filter somebody chose. The MCP library writes whole messages into its lines,
/// and so the secrets that went into a call; what matters of them is reported here as the fault of that call.
fn may_speak(line: &Metadata<'_>) -> bool {
    !line.target().starts_with("rmcp")
}

fn filter(chosen: Option<(&'static str, String)>) -> Result<EnvFilter, Failure> {
    let Some((name, text)) = chosen else { return Ok(EnvFilter::new(USUAL_FILTER)) };
    if name == environment::LOG_FILTER
        && let Some(word) = unknown_level(&text)
    {
        let help = format!("{}; {HOW_TO_WRITE_A_FILTER}", suggest::among(word, &LEVELS));
        return Err(Failure::new(Exit::Usage, format!("{name}: `{word}` is no level")).help(help));
    }
    EnvFilter::try_new(&text).map_err(|error| {
        Failure::new(Exit::Usage, format!("{name} is not a log filter: {error}")).help(HOW_TO_WRITE_A_FILTER)
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

    #[test]
    fn a_filter_that_cannot_be_read_is_refused_by_its_variable() {
        assert!(filter(None).is_ok());
        assert!(filter(Some(("RUST_LOG", "info,longshore_worker=debug".to_owned()))).is_ok());
        let refusal = filter(Some(("LONGSHORE_LOG", "a=b=c".to_owned()))).expect_err("nonsense");
        assert_eq!(refusal.exit, Exit::Usage);
        assert!(refusal.message.contains("LONGSHORE_LOG"), "{}", refusal.message);
    }

    #[test]
    fn a_mistyped_level_is_refused_in_our_own_variable() {
        let ours = |text: &str| filter(Some(("LONGSHORE_LOG", text.to_owned())));
        for good in ["info", "WARN", "off", "warn,longshore_worker=debug", "[span]=info"] {
            assert!(ours(good).is_ok(), "{good}");
        }
        let refusal = ours("warn,inof").expect_err("a slip");
        assert_eq!(
            (refusal.exit, refusal.message.as_str()),
            (Exit::Usage, "LONGSHORE_LOG: `inof` is no level")
        );
        assert!(refusal.help.is_some_and(|help| help.starts_with("did you mean `info`?")));
        assert!(filter(Some(("RUST_LOG", "hyper".to_owned()))).is_ok());
    }
}
