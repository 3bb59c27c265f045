//! Rules for a configuration file that was found and not named.
//!
//! `./longshore.toml` may be part of a cloned repository. It may name a cluster, but the user's credentials are not sent to
//! an address that it chose, and it may not name credentials outside its own folder. A file that was named, and that of the
//! administrator in `/etc`, may do both.

use std::path::Path;

use super::key::SettingKey;
use super::origin::SettingOrigin;
use super::{Config, Setting};

/// The settings of one service by their role.
struct ServiceKeys {
    /// Settings that decide which server gets the credentials.
    destination: &'static [SettingKey],
    /// Settings that are credentials, or name files with credentials.
    credentials: &'static [SettingKey],
}

const NATS: ServiceKeys = ServiceKeys {
    destination: &[SettingKey::NatsUrl, SettingKey::NatsCa],
    credentials: &[SettingKey::NatsCredentials, SettingKey::NatsNkey, SettingKey::NatsCert],
};

const REDIS: ServiceKeys = ServiceKeys {
    destination: &[SettingKey::RedisUrl, SettingKey::RedisCa],
    credentials: &[SettingKey::RedisCert],
};

/// Settings that name files with credentials.
const CREDENTIAL_FILES: [SettingKey; 4] =
    [SettingKey::NatsCredentials, SettingKey::NatsNkey, SettingKey::NatsKeyFile, SettingKey::RedisKeyFile];

/// Advice on how to allow it.
const NAMED_FILE_HELP: &str = "a file that is named with --config or LONGSHORE_CONFIG may do this";

/// Returns every rule that the settings break, if `file` was found and not named.
pub(super) fn problems(config: &Config, file: &Path) -> Vec<String> {
    let nats = credential_leak(config, &NATS, config.nats_urls.iter().any(|url| url.has_credentials()));
    let redis = credential_leak(config, &REDIS, config.redis_url.has_credentials());
    let outside = CREDENTIAL_FILES.into_iter().filter_map(|key| outside(config, key, file));
    nats.into_iter().chain(redis).chain(outside).collect()
}

/// Returns the problem of credentials of the user that would be sent to a server of the file.
fn credential_leak(config: &Config, keys: &ServiceKeys, url_has_credentials: bool) -> Option<String> {
    let setting = |key: &SettingKey| config.settings.iter().find(|setting| setting.key == *key);
    let destination = keys.destination.iter().filter_map(setting).find(|setting| is_of_file(setting))?;
    let is_of_user = |setting: &&Setting| setting.shown.is_some() && !is_of_file(setting);
    // The address comes first in the list, and may contain a password.
    let in_url = keys.destination.iter().take(usize::from(url_has_credentials));
    let credentials = keys.credentials.iter().chain(in_url).filter_map(setting).find(is_of_user)?;
    Some(format!(
        "`{}` comes from {}, which was found and not named, and `{}` from {}: your credentials are not sent to a server \
         that such a file chose; {NAMED_FILE_HELP}",
        destination.key.name(),
        destination.origin,
        credentials.key.name(),
        credentials.origin,
    ))
}

fn is_of_file(setting: &Setting) -> bool {
    matches!(setting.origin, SettingOrigin::File { .. })
}

/// Returns the problem of a file with credentials that the configuration file names, and that is not in or below its folder.
/// A missing file is reported by its reader.
fn outside(config: &Config, key: SettingKey, file: &Path) -> Option<String> {
    let setting = config.settings.iter().find(|setting| setting.key == key && is_of_file(setting))?;
    let named = Path::new(setting.shown.as_deref()?).canonicalize().ok()?;
    let folder = file.canonicalize().ok()?.parent()?.to_owned();
    if named.starts_with(&folder) {
        return None;
    }
    Some(format!(
        "`{}` ({}) names {}, outside the folder of a configuration file that was found and not named; {NAMED_FILE_HELP}",
        key.name(),
        setting.origin,
        named.display(),
    ))
}
