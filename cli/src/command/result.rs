//! Output and exit code of commands that wait for the end of runs.

use std::collections::BTreeSet;
use std::path::Path;

use longshore_proto::{RunStatus, RunView, StepStatus, StepView};
use serde_json::{Map, Value};

use crate::args::DEFAULT_DATA_DIR;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::follow::FollowOutcome;
use crate::output::Output;

/// Schema name of a run in JSON.
pub(super) const RUN_SCHEMA: &str = "longshore.run";

/// Prints the results of runs that were followed, and returns the exit code.
pub(super) fn print(
    followed: Result<FollowOutcome, Failure>,
    data: &Path,
    servers: Option<&Path>,
    json: bool,
    output: &Output,
) -> Result<Exit, Failure> {
    match followed {
        Ok(FollowOutcome::Ended(views)) => {
            for view in &views {
                ended(view, &show_hint(view, data), json, output)?;
            }
            Ok(Exit::worst(views.iter().map(|view| view.summary.status)))
        }
        Ok(FollowOutcome::Stopped) => {
            Err(Failure::new(Exit::Interrupted, "stopped; what has not ended can be resumed")
                .help(resume_hint(data, servers)))
        }
        Err(failure) => Err(failure.help(resume_hint(data, servers))),
    }
}

/// Prints a run that has ended; `show_hint` names the command that shows all of it.
pub(super) fn ended(view: &RunView, show_hint: &str, json: bool, output: &Output) -> Result<(), Failure> {
    let summary = &view.summary;
    if json {
        output.document(RUN_SCHEMA, view)?;
    } else if summary.status == RunStatus::Succeeded {
        let none = Value::Object(Map::new());
        output.value(view.outputs.as_ref().unwrap_or(&none))?;
    }
    if let Some(warning) = tolerated_doubt(view) {
        output.warning(&warning);
    }
    match summary.status {
        RunStatus::Failed => {
            let help = masked_hint(view).map(|hint| format!("{hint}\n{show_hint}"));
            output.failure(&failed(view).help(help.unwrap_or_else(|| show_hint.to_owned())));
        }
        RunStatus::Cancelled => {
            let reason = summary.cancel_reason.as_ref().map(|reason| format!(": {reason}"));
            let message = format!("the run {} was cancelled{}", summary.run, reason.unwrap_or_default());
            output.failure(&Failure::new(Exit::RunCancelled, message).help(show_hint));
        }
        _ => {}
    }
    Ok(())
}

/// Prints a run that was to be resumed and has already ended.
pub(super) fn ended_before(view: &RunView, data: &Path, json: bool, output: &Output) -> Result<(), Failure> {
    let summary = &view.summary;
    let (run, name, status) = (summary.run, &summary.workflow.name, summary.status);
    output
        .message(&format!("the run {run} of {name} has already ended: it has {}", status_participle(status)));
    let hint = match status {
        RunStatus::Failed | RunStatus::Cancelled => format!(
            "a run that has ended is not resumed: {}, and `longshore run` starts a new one",
            show_hint(view, data)
        ),
        _ => show_hint(view, data),
    };
    ended(view, &hint, json, output)
}

/// Returns the status of a run that has ended, in the form that follows "it has".
pub(super) fn status_participle(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Cancelled => "been cancelled",
        status => status.as_str(),
    }
}

fn failed(view: &RunView) -> Failure {
    let summary = &view.summary;
    let at = summary.failed_step.as_ref().map(|step| format!(" at step `{step}`")).unwrap_or_default();
    // The fault is last, since it may end with several lines of a server.
    let note = if is_indeterminate(view) { MAY_HAVE_HAPPENED } else { "" };
    let why = summary.error.as_ref().map(|fault| format!(": {fault}")).unwrap_or_default();
    Failure::new(Exit::RunFailed, format!("the run {} failed{at}{note}{why}", summary.run))
}

/// Returns a hint that names the values which `***` may mean in the arguments of the failed step: those that were masked in
/// outputs of the run. Returns `None` if the arguments contain no `***`.
fn masked_hint(view: &RunView) -> Option<String> {
    let failed = view.summary.failed_step.as_ref()?;
    let step = view.steps.iter().find(|step| step.path == *failed)?;
    step.arguments.as_ref().filter(|arguments| arguments.to_string().contains("***"))?;
    let attempts = view.steps.iter().flat_map(|step| &step.attempts);
    let masked: BTreeSet<&str> = attempts.flat_map(|made| &made.masked).map(String::as_str).collect();
    let names: Vec<&str> = masked.into_iter().take(MAX_MASKED_NAMES).collect();
    (!names.is_empty()).then(|| {
        format!(
            "`***` in the arguments means the value of {}; if it is no secret, name the variable in `visible_env` of that server",
            names.join(" or ")
        )
    })
}

/// Number of values that a hint names. An attempt lists as many at most.
const MAX_MASKED_NAMES: usize = 8;

/// Part of the message about a run whose call may have happened, so that the user checks before running it again.
const MAY_HAVE_HAPPENED: &str = "; the step is indeterminate, its call may have happened";

/// Returns true if the step at which a run failed is indeterminate and its fault does not say so itself.
fn is_indeterminate(view: &RunView) -> bool {
    let Some(failed) = &view.summary.failed_step else { return false };
    let says_so = |fault: &longshore_proto::Fault| fault.message.contains("may have happened");
    let mut steps = view.steps.iter().filter(|step| step.path == *failed);
    steps.any(|step| step.status == StepStatus::Indeterminate)
        && !view.summary.error.as_ref().is_some_and(says_so)
}

/// Number of steps that a warning names.
const MAX_DOUBTFUL_STEPS: usize = 5;

/// Returns a warning that names the calls which may have happened although the run continued, if there are any.
fn tolerated_doubt(view: &RunView) -> Option<String> {
    let is_reported = |step: &&StepView| view.summary.failed_step.as_ref() != Some(&step.path);
    let doubtful = view.steps.iter().filter(|step| step.status == StepStatus::Indeterminate);
    let doubtful: Vec<&StepView> = doubtful.filter(is_reported).collect();
    let names = doubtful.iter().take(MAX_DOUBTFUL_STEPS).map(|step| format!("`{}`", step.path));
    let names = names.collect::<Vec<_>>().join(", ");
    let more = if doubtful.len() > MAX_DOUBTFUL_STEPS {
        format!(" and {} more", doubtful.len() - MAX_DOUBTFUL_STEPS)
    } else {
        String::new()
    };
    let run = view.summary.run;
    match doubtful.len() {
        0 => None,
        1 => Some(format!("in the run {run} the step {names} is indeterminate: its call may have happened")),
        _ => Some(format!(
            "in the run {run} the steps {names}{more} are indeterminate: their calls may have happened"
        )),
    }
}

/// Returns the hint about the command that shows every attempt of a run.
pub(super) fn show_hint(view: &RunView, data: &Path) -> String {
    format!("`longshore runs show {}{}` shows every attempt", view.summary.run, data_option(data))
}

/// Returns the hint about the command that continues interrupted runs.
pub(super) fn resume_hint(data: &Path, servers: Option<&Path>) -> String {
    let servers = servers.map(|file| format!(" --mcp-config {}", quoted(file))).unwrap_or_default();
    format!("continue with `longshore resume{}{servers}`", data_option(data))
}

fn data_option(data: &Path) -> String {
    if data == Path::new(DEFAULT_DATA_DIR) { String::new() } else { format!(" --data {}", quoted(data)) }
}

/// Returns a path in the form that a shell reads as one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a run whose second step failed with these arguments, after a value in the output of its first step was
    /// masked.
    fn failed_with(arguments: &Value) -> RunView {
        let fault = json!({ "class": "tool_error", "message": "no such region" });
        let attempt = json!({ "number": 1, "started_at": 1, "took_ms": 1, "sent": "answered",
                              "masked": ["variable `REGION` of server `shop`"] });
        serde_json::from_value(json!({
            "run": "run_00_01kbgq5v8m3n4p5q6r7s8t9v0w",
            "namespace": "default",
            "workflow": { "name": "report", "digest": "ab".repeat(32) },
            "status": "failed",
            "submitted_at": 1,
            "error": fault,
            "failed_step": "read",
            "inputs": {},
            "steps": [
                { "path": "find", "does": "shop/find", "depth": 0, "status": "succeeded", "attempts": [attempt] },
                { "path": "read", "does": "shop/read", "depth": 0, "status": "failed", "error": fault,
                  "arguments": arguments },
            ],
        }))
        .expect("a run")
    }

    #[test]
    fn masked_values_in_arguments_of_a_failed_step_are_explained() {
        let hint = masked_hint(&failed_with(&json!({ "where": ["in ***"] }))).expect("a hint");
        let named = hint.contains("variable `REGION` of server `shop`; ") && hint.contains("`visible_env`");
        assert!(named, "{hint}");
        assert_eq!(masked_hint(&failed_with(&json!({ "where": ["north"] }))), None);
    }

    #[test]
    fn words_of_a_server_are_the_end_of_the_message() {
        let mut view = failed_with(&json!({}));
        view.steps.iter_mut().for_each(|step| step.status = StepStatus::Indeterminate);
        view.summary.error = Some(longshore_proto::Fault::new(
            longshore_proto::FaultClass::Unavailable,
            "gone; it said:\nbye",
        ));
        let message = failed(&view).message;
        let wanted = "at step `read`; the step is indeterminate, its call may have happened: unavailable: gone; it said:\nbye";
        assert!(message.ends_with(wanted), "{message}");
    }

    #[test]
    fn tolerated_call_that_may_have_happened_is_named() {
        let mut view = failed_with(&json!({}));
        assert_eq!(tolerated_doubt(&view), None);
        view.steps.iter_mut().for_each(|step| step.status = StepStatus::Indeterminate);
        let warning = tolerated_doubt(&view).expect("a warning");
        assert!(
            warning.contains("the step `find` is indeterminate: its call may have happened"),
            "{warning}"
        );
    }

    #[test]
    fn resume_hint_repeats_data_directory_and_servers_file() {
        assert_eq!(resume_hint(Path::new(DEFAULT_DATA_DIR), None), "continue with `longshore resume`");
        let hint = resume_hint(Path::new("my data"), Some(Path::new("../mcp.json")));
        assert_eq!(hint, "continue with `longshore resume --data 'my data' --mcp-config ../mcp.json`");
    }
}
