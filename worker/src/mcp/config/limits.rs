//! The object `limits` of a server's settings.

use serde_json::Value;

use super::fields::ObjectFields;
use crate::launcher::ProcessLimits;

/// Smallest memory limit: common runtimes need more to start.
const LEAST_MEMORY_MB: u64 = 16;
/// Smallest limit of open files: standard streams, libraries that are being loaded, and some more.
const LEAST_OPEN_FILES: u64 = 16;
/// Largest size limit: more than a terabyte is a mistake in the unit.
const MOST_MB: u64 = 1024 * 1024;
/// Largest limit of open files: the most that Linux allows by default.
const MOST_OPEN_FILES: u64 = 1024 * 1024;
/// Largest limit of processor time: a year.
const MOST_CPU_SECONDS: u64 = 365 * 24 * 3600;

/// Names of all limits.
const LIMIT_NAMES: [&str; 4] = ["memory_mb", "open_files", "cpu_seconds", "file_mb"];

/// Reads the object at the path `place`.
pub(super) fn limits(place: String, value: Value, problems: &mut Vec<String>) -> ProcessLimits {
    let Some(mut fields) = ObjectFields::of(place, value, problems) else { return ProcessLimits::default() };
    let limits = ProcessLimits {
        memory_mb: fields.take_number("memory_mb", LEAST_MEMORY_MB, MOST_MB),
        open_files: fields.take_number("open_files", LEAST_OPEN_FILES, MOST_OPEN_FILES),
        cpu_seconds: fields.take_number("cpu_seconds", 1, MOST_CPU_SECONDS),
        file_mb: fields.take_number("file_mb", 1, MOST_MB),
    };
    for unknown in fields.rest() {
        fields.refuse(&unknown, unknown_limit(&unknown));
    }
    limits
}

fn unknown_limit(name: &str) -> String {
    if name == "processes" {
        return "the system counts processes by user and not by server, so this cannot be limited here"
            .to_owned();
    }
    match longshore_suggest::closest(name, LIMIT_NAMES) {
        Some(near) => format!("no such limit; did you mean `{near}`?"),
        None => format!("no such limit; there are {}", LIMIT_NAMES.join(", ")),
    }
}
