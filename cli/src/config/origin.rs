//! The origin of the value of a setting, so that a wrong one can be found and fixed.

use std::fmt;
use std::path::PathBuf;

/// Origin of a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SettingOrigin {
    /// An option of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Variable(String),
    /// A separate file with only this value, whose path a variable contains.
    FileOf {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
    },
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The default.
    Default,
}

impl fmt::Display for SettingOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "{name}"),
            Self::Variable(name) => write!(f, "{name}"),
            Self::FileOf { variable, path } => write!(f, "{} ({variable})", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => write!(f, "default"),
        }
    }
}
