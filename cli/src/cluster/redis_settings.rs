//! Settings of Redis that may lose claims, checked while a process runs.

use longshore_redis::Settings;
use tracing::{info, warn};

/// The settings that were logged last.
#[derive(Default)]
pub(super) struct LoggedSettings(Settings);

impl LoggedSettings {
    /// Logs the settings that have changed. Correct settings are not logged when the process starts.
    pub(super) fn log_changes(&mut self, now: &Settings) {
        if now.evicting != self.0.evicting {
            match require_no_eviction(now) {
                Err(reason) => warn!("{reason}; this process is not ready until that is done"),
                Ok(()) => info!("Redis has `maxmemory-policy noeviction` again, so it keeps all claims"),
            }
        }
        if now.is_without_log != self.0.is_without_log {
            if now.is_without_log {
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
pub(super) fn require_no_eviction(settings: &Settings) -> Result<(), String> {
    settings.evicting.as_ref().map_or(Ok(()), |policy| {
        Err(format!(
            "Redis has `maxmemory-policy {policy}` and drops claims when its memory is full, so that calls may be made twice: set \
             `maxmemory-policy noeviction`"
        ))
    })
}
