//! Checks for settings that contradict each other, or that have no effect without another one.

use super::Config;
use super::key::SettingKey;

/// Returns every contradiction, as a sentence with the origins of its settings.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let pairs = [
        (SettingKey::NatsCert, SettingKey::NatsKeyFile),
        (SettingKey::NatsKeyFile, SettingKey::NatsCert),
        (SettingKey::RedisCert, SettingKey::RedisKeyFile),
        (SettingKey::RedisKeyFile, SettingKey::RedisCert),
    ];
    let incomplete = pairs.into_iter().filter_map(|(key, other)| incomplete_pair(config, key, other));
    let no_effect =
        [SettingKey::RedisCa, SettingKey::RedisCert].into_iter().filter_map(|key| without_tls(config, key));
    incomplete.chain(no_effect).chain(two_users(config)).collect()
}

/// Returns the problem of a certificate without its key, or a key without its certificate.
fn incomplete_pair(config: &Config, key: SettingKey, other: SettingKey) -> Option<String> {
    let (name, missing) = (key.name(), other.name());
    let is_incomplete = config.is_set(key) && !config.is_set(other);
    is_incomplete
        .then(|| format!("`{name}` ({}) is set and `{missing}` is not: set both", config.origin(key)))
}

/// Returns the problem of certificates for an address without TLS.
fn without_tls(config: &Config, key: SettingKey) -> Option<String> {
    if !config.is_set(key) || config.redis_url.reveal().starts_with("rediss://") {
        return None;
    }
    let (name, origin, url) = (key.name(), config.origin(key), config.origin(SettingKey::RedisUrl));
    Some(format!("`{name}` ({origin}) is set, and `redis.url` ({url}) is without TLS: write it as rediss://"))
}

/// Returns the problem of two users for NATS.
fn two_users(config: &Config) -> Option<String> {
    let both = config.is_set(SettingKey::NatsCredentials) && config.is_set(SettingKey::NatsNkey);
    let (credentials, nkey) =
        (config.origin(SettingKey::NatsCredentials), config.origin(SettingKey::NatsNkey));
    both.then(|| {
        format!("both `nats.credentials` ({credentials}) and `nats.nkey` ({nkey}) are set: keep one of them")
    })
}
