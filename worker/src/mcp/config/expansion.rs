//! The variables of one entry, filled in, and what is said about that.

use super::child_env::is_hidden;
use super::expand::{Expanded, expand};
use super::ordinary::Source;
use super::origin::origin;
use super::secret::Secrets;
use super::spelling;

/// Fills in the variables of one entry.
pub(super) struct Expansion<'a> {
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) place: &'a str,
    /// Variables that the entry declares to be no secrets.
    pub(super) visible: &'a [String],
    pub(super) unusable: &'a mut Vec<String>,
    pub(super) warnings: &'a mut Vec<String>,
    pub(super) secrets: &'a mut Secrets,
}

impl Expansion<'_> {
    /// A warning about the entry.
    pub(super) fn warn(&mut self, what: impl std::fmt::Display) {
        self.warnings.push(format!("{}: {what}", self.place));
    }

    /// A text that may hold a credential: the values of its variables are hidden from now on.
    pub(super) fn secret(&mut self, field: &str, text: &str) -> Option<Expanded> {
        self.watched(field, text, &mut |_, _| {})
    }

    /// The same, and `used` hears the name and value of each variable.
    pub(super) fn watched(
        &mut self,
        field: &str,
        text: &str,
        used: &mut dyn FnMut(&str, &str),
    ) -> Option<Expanded> {
        let Self { env, place, visible, unusable, secrets, .. } = self;
        let mut hide = |name: &str, value: &str| {
            used(name, value);
            // Paths and names of people stand in every other message, and are not credentials.
            if is_hidden(name, value, Source::Environment, visible) {
                secrets.add_setting(value, &origin("variable", name, place));
            }
        };
        expanded(field, text, *env, &mut hide, unusable)
    }

    /// An argument of a command.
    pub(super) fn argument(&mut self, arg: &str) -> Option<Expanded> {
        if let Some(why) = spelling::shell_variable(arg) {
            self.warn(format!("args: {why}"));
        }
        self.secret("args", arg)
    }

    /// A text that names a file or a folder.
    pub(super) fn plain(&mut self, field: &str, text: &str) -> Option<Expanded> {
        expanded(field, text, self.env, &mut |_, _| {}, self.unusable)
    }
}

fn expanded(
    field: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
    used: &mut dyn FnMut(&str, &str),
    unusable: &mut Vec<String>,
) -> Option<Expanded> {
    match expand(text, env, used) {
        Ok(expanded) => Some(expanded),
        Err(problems) => {
            unusable.extend(problems.iter().map(|problem| format!("{field}: {problem}")));
            None
        }
    }
}
