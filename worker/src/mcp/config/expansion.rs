//! Expansion of the variables in one entry of the servers file, with its messages and secrets.

use super::child_env::is_hidden;
use super::expand::{ExpandedText, expand};
use super::ordinary::ValueSource;
use super::origin::origin;
use super::secret::Secrets;
use super::spelling;

/// The expansion of the variables in one entry of the servers file.
pub(super) struct EntryExpansion<'a> {
    /// The environment: value of a variable.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// The entry, for messages.
    pub(super) place: &'a str,
    /// Variables that the entry declares to be no secrets.
    pub(super) visible: &'a [String],
    /// Reasons why the server cannot be used.
    pub(super) unusable: &'a mut Vec<String>,
    pub(super) warnings: &'a mut Vec<String>,
    /// Values that are hidden in messages.
    pub(super) secrets: &'a mut Secrets,
}

impl EntryExpansion<'_> {
    /// Adds a warning about the entry.
    pub(super) fn warn(&mut self, what: impl std::fmt::Display) {
        self.warnings.push(format!("{}: {what}", self.place));
    }

    /// Expands a text that may hold a credential: the values of its variables are hidden from now on.
    pub(super) fn secret(&mut self, field: &str, text: &str) -> Option<ExpandedText> {
        self.secret_with(field, text, &mut |_, _| {})
    }

    /// Expands a text like [`EntryExpansion::secret`], and calls `used` with the name and value of each variable.
    pub(super) fn secret_with(
        &mut self,
        field: &str,
        text: &str,
        used: &mut dyn FnMut(&str, &str),
    ) -> Option<ExpandedText> {
        let Self { env, place, visible, unusable, secrets, .. } = self;
        let mut hide = |name: &str, value: &str| {
            used(name, value);
            // Paths and user names are in many messages, and are not credentials.
            if is_hidden(name, value, ValueSource::Environment, visible) {
                secrets.add_setting(value, &origin("variable", name, place));
            }
        };
        expanded(field, text, *env, &mut hide, unusable)
    }

    /// Expands an argument of a command.
    pub(super) fn argument(&mut self, arg: &str) -> Option<ExpandedText> {
        if let Some(why) = spelling::shell_variable(arg).or_else(|| spelling::shell_home(arg)) {
            self.warn(format!("args: {why}"));
        }
        self.secret("args", arg)
    }

    /// Expands the name of a file or a folder.
    pub(super) fn plain(&mut self, field: &str, text: &str) -> Option<ExpandedText> {
        expanded(field, text, self.env, &mut |_, _| {}, self.unusable)
    }
}

fn expanded(
    field: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    used: &mut dyn FnMut(&str, &str),
    unusable: &mut Vec<String>,
) -> Option<ExpandedText> {
    match expand(text, env, used) {
        Ok(expanded) => Some(expanded),
        Err(problems) => {
            unusable.extend(problems.iter().map(|problem| format!("{field}: {problem}")));
            None
        }
    }
}
