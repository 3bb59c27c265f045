//! A workflow from a file: its text and its plan, or its problems.

use std::path::Path;

use longshore_ports::blanked_addresses;
use longshore_workflow::{Diagnostics, Plan, compile_and_warn};
use serde_json::{Map, Value};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::output::Output;

/// A workflow that compiles.
#[derive(Debug)]
pub(crate) struct WorkflowFile {
    /// The text of the file.
    pub(crate) text: String,
    /// The plan that the text compiles to.
    pub(crate) plan: Plan,
    warnings: Diagnostics,
}

impl WorkflowFile {
    /// Reads and checks a file, or stdin if the path is `-`. Shows every problem and every warning with its position.
    pub(crate) fn load(path: &Path, output: &Output) -> Result<Self, Failure> {
        let file = Self::read(path, output)?;
        warn(path, &file.text, &file.warnings, output);
        Ok(file)
    }

    fn read(path: &Path, output: &Output) -> Result<Self, Failure> {
        let text = input_text::read_or_stdin(path, "workflow")?;
        match compile_and_warn(&text) {
            Ok((plan, warnings)) => Ok(Self { text, plan, warnings }),
            Err(problems) => Err(refused(path, &text, &problems, output)),
        }
    }

    /// Reads and checks a file for a command that also reads inputs. Refuses to read both from stdin. The caller shows the
    /// warnings with [`WorkflowFile::warn_with_inputs`] once it has the inputs.
    pub(crate) fn load_beside(path: &Path, inputs: Option<&Path>, output: &Output) -> Result<Self, Failure> {
        if input_text::is_stdin(path) && inputs.is_some_and(input_text::is_stdin) {
            let message = "the workflow and its inputs cannot both come from stdin";
            return Err(Failure::new(Exit::Usage, message).help("name a file for one of them"));
        }
        Self::read(path, output)
    }

    /// Shows the warnings, without those about the absence of inputs that are given.
    pub(crate) fn warn_with_inputs(&mut self, path: &Path, given: &Map<String, Value>, output: &Output) {
        self.warnings.retain_for_inputs(|name| given.contains_key(name));
        warn(path, &self.text, &self.warnings, output);
    }
}

/// Shows the warnings about a text that compiles.
pub(crate) fn warn(path: &Path, text: &str, warnings: &Diagnostics, output: &Output) {
    if !warnings.is_empty() {
        let file = input_text::shown(path).display().to_string();
        output.print_formatted(&warnings.render(&file, &blanked_addresses(text), output.has_colour()));
    }
}

/// Returns the failure for a text that does not compile.
pub(crate) fn refused(path: &Path, text: &str, problems: &Diagnostics, output: &Output) -> Failure {
    let (count, _) = problems.count();
    let problem = if count == 1 { "one problem".to_owned() } else { format!("{count} problems") };
    let file = input_text::shown(path).display().to_string();
    Failure::new(Exit::Invalid, format!("the workflow {file} has {problem}")).findings(problems.render(
        &file,
        // A long line is cut, also within an address.
        &blanked_addresses(text),
        output.has_colour(),
    ))
}
