//! Settings of Redis that may lose checkpoints and claims, checked while a process runs.

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
                Ok(()) => info!("Redis has `maxmemory-policy noeviction` again, so it keeps everything"),
            }
        }
        if now.has_no_append_only_file != self.0.has_no_append_only_file {
            if now.has_no_append_only_file {
                warn!(
                    "Redis has no append-only file, so a restart of it loses checkpoints and claims: runs are read from their \
                     logs again, and two calls with one key of their own may be made at a time: set `appendonly yes`"
                );
            } else {
                info!("Redis has an append-only file again");
            }
        }
        self.0 = now.clone();
    }
}

/// Returns an error if Redis may drop checkpoints and claims while it runs. The process is not ready then.
pub(super) fn require_no_eviction(settings: &RedisSettings) -> Result<(), String> {
    settings.evicting_policy.as_ref().map_or(Ok(()), |policy| {
        Err(format!(
            "Redis has `maxmemory-policy {policy}` and drops checkpoints and claims when its memory is full: set \
             `maxmemory-policy noeviction`"
        ))
    })
}
