//! The configuration file: TOML, flattened to the names of settings, with their lines.
//!
//! Values are not parsed here: a number is its text, a list its parts joined by commas. Unknown names are refused, with the
//! name that was probably meant.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::SettingKey;
use super::origin::SettingOrigin;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::suggest;

/// Paths of a file that is not named: in the current directory, then that of the system.
pub(super) const DEFAULT_PATHS: [&str; 2] = ["longshore.toml", "/etc/longshore/longshore.toml"];

/// The settings in a file.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    path: PathBuf,
    /// The file was found in the current directory, and not named. The one in `/etc` counts as named, by the administrator.
    pub(super) was_found: bool,
    values: Vec<(SettingKey, String, usize)>,
    /// The problems of the file, each with its line.
    pub(super) problems: Vec<String>,
}

impl ConfigFile {
    /// Reads the file that was named, or the first of the default paths that exists.
    pub(super) fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let default = || DEFAULT_PATHS.iter().map(Path::new).find(|path| path.exists());
        let Some(path) = named.or_else(default) else { return Ok(Self::default()) };
        let text = input_text::read(path, "configuration file").map_err(|failure| match named {
            Some(_) => failure.help("name another one with --config or LONGSHORE_CONFIG"),
            None => failure,
        })?;
        let was_found = named.is_none() && Some(path) == DEFAULT_PATHS.first().map(Path::new);
        Ok(Self { was_found, ..Self::parse(path, &text)? })
    }

    /// Parses a text. Only invalid TOML is refused here; other problems are collected.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Failure> {
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            let message = format!("{}:{line} is not valid TOML: {}", path.display(), error.message());
            Failure::new(Exit::Usage, message)
                .help("a setting looks like `slots = 64`, in a table such as `[worker]`")
        })?;
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        file.take_table(text, "", root.get_ref());
        Ok(file)
    }

    /// Returns the path, if there is a file.
    pub(super) fn path(&self) -> Option<&Path> {
        (!self.path.as_os_str().is_empty()).then_some(&*self.path)
    }

    /// Returns the value of a setting and its line.
    pub(super) fn get(&self, key: SettingKey) -> Option<(String, SettingOrigin)> {
        let (_, value, line) = self.values.iter().find(|(known, ..)| *known == key)?;
        Some((value.clone(), SettingOrigin::File { path: self.path.clone(), line: *line }))
    }

    fn take_table(&mut self, text: &str, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let full = if prefix.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{prefix}.{}", name.get_ref())
            };
            let line = line_of(text, name.span().start);
            if let DeValue::Table(inner) = value.get_ref()
                && SettingKey::ALL.iter().any(|key| key.name().starts_with(&format!("{full}.")))
            {
                self.take_table(text, &full, inner);
            } else {
                self.take_value(&full, value, line);
            }
        }
    }

    fn take_value(&mut self, name: &str, value: &Spanned<DeValue<'_>>, line: usize) {
        let position = format!("{}:{line}", self.path.display());
        let Some(key) = SettingKey::ALL.into_iter().find(|key| key.name() == name) else {
            let names = SettingKey::ALL.map(SettingKey::name);
            self.problems.push(format!(
                "{position}: there is no setting `{name}`; {}",
                suggest::nearest(name, &names)
            ));
            return;
        };
        match flat(value.get_ref()) {
            Some(text) => self.values.push((key, text, line)),
            None if value.get_ref().is_array() => {
                self.problems.push(format!("{position}: `{name}` has a part that is not text in quotes"));
            }
            None => self.problems.push(format!("{position}: `{name}` is not one value")),
        }
    }
}

/// Returns a value in the form that it has in a variable.
fn flat(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Array(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| part.get_ref().as_str()).collect();
            parts.map(|parts| parts.join(","))
        }
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// Returns the line of a byte offset in a text, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
