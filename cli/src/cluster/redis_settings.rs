//! Settings of Redis that may lose claims, checked while a process runs.

use longshore_redis::RedisSettings;
use tracing::{info, warn};

/// The settings that were logged last.
#[derive(Default)]
pub(super) struct LoggedSettings(RedisSettings);

impl LoggedSettings {
    /// Logs the settings that have changed. Correct settings are not logged when the process starts.
    pub(super) fn log_changes(&mut self, now: &RedisSettings) {
        if now.evicting_policy != self.0.evicting_policy {
            match require_no_eviction(now) {
                Err(reason) => warn!("{reason}; this process is not ready until that is done"),
                Ok(()) => info!("Redis has `maxmemory-policy noeviction` again, so it keeps all claims"),
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

/// Returns an error if Redis may drop claims while it runs. A process that needs claims is not ready then.
pub(super) fn require_no_eviction(settings: &RedisSettings) -> Result<(), String> {
    settings.evicting_policy.as_ref().map_or(Ok(()), |policy| {
        Err(format!(
            "Redis has `maxmemory-policy {policy}` and drops claims when its memory is full, so that calls may be made twice: set \
             `maxmemory-policy noeviction`"
        ))
    })
}
