//! Look-up of one value of a run: its outputs, or the output or content of a step.

use longshore_proto::{Payload, RunId, StepPath, StepStatus};
use longshore_workflow::StepIndex;

use super::Run;

/// Name of a value of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RunValue {
    /// The outputs of the run.
    Outputs,
    /// The output of a step.
    Output(StepPath),
    /// The raw content that the tool of a step returned.
    Content(StepPath),
}

impl RunValue {
    /// Returns the name of a step's value, or of the run's outputs if no step is given.
    pub fn of(step: Option<StepPath>, is_content: bool) -> Self {
        match step {
            None => Self::Outputs,
            Some(step) if is_content => Self::Content(step),
            Some(step) => Self::Output(step),
        }
    }
}

/// Reason why a run does not have a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoValue {
    /// The run has not succeeded.
    #[error("the run {run} {}, so it has no outputs", predicate(status))]
    NoOutputs {
        /// The run.
        run: RunId,
        /// Its status.
        status: &'static str,
    },
    /// The plan has no such step.
    #[error("the run {run} has no step `{step}`; its steps are {}", .steps.join(", "))]
    UnknownStep {
        /// The run.
        run: RunId,
        /// The step that was asked for.
        step: StepPath,
        /// The first steps of the plan; the last one also has the number of the others.
        steps: Vec<String>,
    },
    /// The step has no output.
    #[error("the step `{step}` of {run} {}, so it has no output", predicate(status))]
    NoOutput {
        /// The run.
        run: RunId,
        /// The step.
        step: StepPath,
        /// Its status.
        status: &'static str,
    },
    /// The step is a group, and only its members have outputs.
    #[error("the step `{step}` of {run} is a group, and its members have the outputs: name one of them")]
    Group {
        /// The run.
        run: RunId,
        /// The step.
        step: StepPath,
    },
    /// The content was not kept.
    #[error(
        "the content of the step `{step}` of {run} was not kept: it is kept for steps whose `content` the workflow reads, as in \
         `steps.{step}.content`"
    )]
    NoContent {
        /// The run.
        run: RunId,
        /// The step.
        step: StepPath,
    },
}

/// Returns the status of a run or step as the predicate of a sentence.
fn predicate(status: &str) -> String {
    match status {
        "failed" => status.to_owned(),
        "cancelled" | "skipped" => format!("was {status}"),
        _ => format!("is {status}"),
    }
}

/// Number of steps that the error about an unknown step lists.
const NAMED_STEPS: usize = 20;

impl Run {
    /// Returns a value, or the address of a large one.
    pub fn value(&self, wanted: &RunValue) -> Result<Payload, NoValue> {
        let run = self.id;
        let path = match wanted {
            RunValue::Outputs => {
                let outputs = self.outputs.as_deref().cloned();
                return outputs.ok_or(NoValue::NoOutputs { run, status: self.status.as_str() });
            }
            RunValue::Output(path) | RunValue::Content(path) => path,
        };
        let place = self.outline.steps.iter().position(|step| step.path == *path).map(StepIndex);
        let Some(step) = place.and_then(|index| self.step(index)) else {
            let mut steps: Vec<String> =
                self.outline.steps.iter().take(NAMED_STEPS).map(|step| step.path.to_string()).collect();
            let more = self.outline.steps.len() - steps.len();
            if let Some(last) = steps.last_mut().filter(|_| more > 0) {
                last.push_str(&format!(" and {more} more"));
            }
            return Err(NoValue::UnknownStep { run, step: path.clone(), steps });
        };
        // Every other step that has succeeded has an output.
        if step.output().is_none() && step.status == StepStatus::Succeeded {
            return Err(NoValue::Group { run, step: path.clone() });
        }
        let Some(output) = step.output() else {
            return Err(NoValue::NoOutput { run, step: path.clone(), status: step.status.as_str() });
        };
        match wanted {
            RunValue::Content(_) => {
                output.content.clone().ok_or_else(|| NoValue::NoContent { run, step: path.clone() })
            }
            RunValue::Output(_) | RunValue::Outputs => Ok(output.value.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use longshore_proto::{Partition, Timestamp};

    use super::*;

    #[test]
    fn a_missing_value_is_explained_in_a_sentence() {
        let run = RunId::new(Partition(0), Timestamp::from_millis(1), 1);
        for (status, words) in [
            ("failed", "failed, so it has no outputs"),
            ("cancelled", "was cancelled, so it has no outputs"),
            ("running", "is running, so it has no outputs"),
        ] {
            assert!(NoValue::NoOutputs { run, status }.to_string().ends_with(words));
        }
    }
}
