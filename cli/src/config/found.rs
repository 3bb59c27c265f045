//! What a configuration file may not do that was only found.
//!
//! `./longshore.toml` may be part of a cloned repository. It may say where a cluster is; but the user's credentials are not
//! sent to an address that it chose, and it may not name credentials outside its own folder. A file that was named, and
//! the one of the administrator in `/etc`, may do both.

use std::path::Path;

use super::key::Key;
use super::origin::Origin;
use super::{Config, Setting};

/// The settings of one service by their role.
struct ServiceKeys {
    /// They decide which server gets the credentials.
    destination: &'static [Key],
    /// They are credentials, or name files with them.
    credentials: &'static [Key],
}

const NATS: ServiceKeys = ServiceKeys {
    destination: &[Key::NatsUrl, Key::NatsCa],
    credentials: &[Key::NatsCredentials, Key::NatsNkey, Key::NatsCert],
};

const REDIS: ServiceKeys =
    ServiceKeys { destination: &[Key::RedisUrl, Key::RedisCa], credentials: &[Key::RedisCert] };

/// Settings that name files with credentials.
const CREDENTIAL_FILES: [Key; 4] = [Key::NatsCredentials, Key::NatsNkey, Key::NatsKeyFile, Key::RedisKeyFile];

/// How to allow what is refused.
const HOW_TO_ALLOW: &str = "a file that is named with --config or LONGSHORE_CONFIG may do this";

/// Every rule that the settings break, if `file` was only found.
pub(super) fn problems(config: &Config, file: &Path) -> Vec<String> {
    let nats = leak(config, &NATS, config.nats_urls.iter().any(|url| url.has_credentials()));
    let redis = leak(config, &REDIS, config.redis_url.has_credentials());
    let outside = CREDENTIAL_FILES.into_iter().filter_map(|key| outside(config, key, file));
    nats.into_iter().chain(redis).chain(outside).collect()
}

/// Credentials of the user that would go where the file says.
fn leak(config: &Config, keys: &ServiceKeys, url_has_credentials: bool) -> Option<String> {
    let setting = |key: &Key| config.settings.iter().find(|setting| setting.key == *key);
    let destination = keys.destination.iter().filter_map(setting).find(|setting| is_of_file(setting))?;
    let is_of_user = |setting: &&Setting| setting.shown.is_some() && !is_of_file(setting);
    // The address stands first, and may hold a password.
    let in_url = keys.destination.iter().take(usize::from(url_has_credentials));
    let credentials = keys.credentials.iter().chain(in_url).filter_map(setting).find(is_of_user)?;
    Some(format!(
        "`{}` comes from {}, which was found and not named, and `{}` from {}: your credentials are not sent to a server \
         that such a file chose; {HOW_TO_ALLOW}",
        destination.key.name(),
        destination.origin,
        credentials.key.name(),
        credentials.origin,
    ))
}

fn is_of_file(setting: &Setting) -> bool {
    matches!(setting.origin, Origin::File { .. })
}

/// A file with credentials that the configuration file names, and that is not beside or below it. One that cannot be
/// found is left to the part that reads it.
fn outside(config: &Config, key: Key, file: &Path) -> Option<String> {
    let setting = config.settings.iter().find(|setting| setting.key == key && is_of_file(setting))?;
    let named = Path::new(setting.shown.as_deref()?).canonicalize().ok()?;
    let folder = file.canonicalize().ok()?.parent()?.to_owned();
    if named.starts_with(&folder) {
        return None;
    }
    Some(format!(
        "`{}` ({}) names {}, outside the folder of a configuration file that was found and not named; {HOW_TO_ALLOW}",
        key.name(),
        setting.origin,
        named.display(),
    ))
}
