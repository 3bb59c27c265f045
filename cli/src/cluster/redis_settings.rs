//! Settings of Redis that lose claims, as a process sees them while it runs.

use longshore_redis::RedisSettings;
use tracing::{info, warn};

/// The settings that were logged last.
#[derive(Default)]
pub(super) struct LoggedSettings(RedisSettings);

impl LoggedSettings {
    /// Logs what has changed. Settings that are in order when the process starts are not logged.
    pub(super) fn log_changes(&mut self, now: &RedisSettings) {
        if now.evicting_policy != self.0.evicting_policy {
            match evicting(now) {
                Err(reason) => warn!("{reason}; this process is not ready until then"),
                Ok(()) => info!("Redis has `maxmemory-policy noeviction` again and keeps all claims"),
            }
        }
        if now.has_no_append_only_file != self.0.has_no_append_only_file {
            if now.has_no_append_only_file {
                warn!(
                    "Redis has no append-only file, so a restart of it loses claims, and calls that may not be repeated end \
                     as indeterminate: set `appendonly yes`"
                );
            } else {
                info!("Redis has an append-only file again");
            }
        }
        self.0 = now.clone();
    }
}

/// Returns why claims may be lost while Redis runs, so that a process that needs them is not ready.
pub(super) fn evicting(settings: &RedisSettings) -> Result<(), String> {
    settings.evicting_policy.as_ref().map_or(Ok(()), |policy| {
        Err(format!(
            "Redis has `maxmemory-policy {policy}` and forgets which calls were made when its memory is full: set \
             `maxmemory-policy noeviction`"
        ))
    })
}
