//! Reading of all settings from their sources, one after the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_proto::Retention;
use longshore_tls::TlsFiles;

use super::file::ConfigFile;
use super::key::SettingKey;
use super::origin::SettingOrigin;
use super::settings::{CommandLineSettings, Config, Setting};
use super::{environment, value};
use crate::args;
use crate::input_text;

/// Reads settings one after the other, and collects their problems.
pub(super) struct SettingsReader<'a> {
    pub(super) flags: &'a CommandLineSettings,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) file: &'a ConfigFile,
    pub(super) settings: Vec<Setting>,
    pub(super) problems: Vec<String>,
}

impl SettingsReader<'_> {
    /// Reads every setting. Returns `None` if any of them is required and invalid, after all have been read.
    pub(super) fn all(&mut self) -> Option<Config> {
        let nats_urls = self.shown(SettingKey::NatsUrl, value::nats_urls, |urls| {
            urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        });
        let nats_credentials = self.plain(SettingKey::NatsCredentials, value::path);
        let nats_inbox_prefix = self.plain(SettingKey::NatsInboxPrefix, value::inbox_prefix);
        let nats_nkey = self.plain(SettingKey::NatsNkey, value::path);
        let nats_batch = self.plain(SettingKey::NatsBatch, value::batch);
        let nats_tls = self.tls(SettingKey::NatsCa, SettingKey::NatsCert, SettingKey::NatsKeyFile);
        let redis_url = self.shown(SettingKey::RedisUrl, value::redis_url, ToString::to_string);
        let redis_tls = self.tls(SettingKey::RedisCa, SettingKey::RedisCert, SettingKey::RedisKeyFile);
        let redis_prefix = self.plain(SettingKey::RedisPrefix, value::prefix);
        let namespace = self.plain(SettingKey::Namespace, |text| {
            text.trim().parse().map_err(|_| "1 to 63 of A-Z, a-z, 0-9, `-` and `_`".to_owned())
        });
        let partitions = self.plain(SettingKey::Partitions, |text| value::number(text, &value::PARTITIONS));
        let replicas = self.plain(SettingKey::Replicas, value::replicas);
        let keep_runs = self.plain(SettingKey::KeepRuns, |text| value::number(text, &value::KEPT));
        let keep_for = self.plain(SettingKey::KeepFor, value::keep_for);
        let live_runs = self.plain(SettingKey::LimitsLiveRuns, |text| value::number(text, &value::LIVE_RUNS));
        let connect_deadline = self.plain(SettingKey::ConnectDeadline, duration);
        let slots = self.plain(SettingKey::WorkerSlots, |text| value::number(text, &value::SLOTS));
        let drain = self.plain(SettingKey::WorkerDrain, duration);
        let mcp_config = self.plain(SettingKey::WorkerMcpConfig, value::path);
        let metrics_listen = self.plain(SettingKey::MetricsListen, value::listen);
        let log_format = self.plain(SettingKey::LogFormat, value::log_format);
        let log_filter = self.plain(SettingKey::LogFilter, |text| Ok(text.to_owned()));
        let filter_origin =
            self.settings.last().map_or(SettingOrigin::Default, |setting| setting.origin.clone());
        Some(Config {
            nats_urls: nats_urls?,
            nats_credentials,
            nats_inbox_prefix,
            nats_nkey,
            nats_batch: nats_batch?,
            nats_tls,
            redis_url: redis_url?,
            redis_tls,
            redis_prefix: redis_prefix?,
            namespace: namespace?,
            partitions: partitions?,
            replicas: replicas?,
            retention: Retention { runs: keep_runs?, time: keep_for? },
            live_runs,
            connect_deadline: connect_deadline?,
            slots: slots?,
            drain: drain?,
            mcp_config,
            metrics_listen,
            log_format: log_format?,
            log_filter: log_filter.map(|filter| (filter, filter_origin)),
            file: None,
            file_was_found: false,
            settings: Vec::new(),
        })
    }

    fn tls(&mut self, ca: SettingKey, cert: SettingKey, key: SettingKey) -> TlsFiles {
        let mut path = |key| self.plain(key, value::path);
        TlsFiles { ca: path(ca), cert: path(cert), key: path(key) }
    }

    /// Reads a setting that is shown unchanged.
    fn plain<T>(&mut self, key: SettingKey, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let (text, origin) = self.find(key)?;
        let value = self.typed(key, &text, &origin, parse)?;
        self.settings.push(Setting { key, shown: Some(text), origin });
        Some(value)
    }

    /// Reads a setting that is shown in another form.
    fn shown<T>(
        &mut self,
        key: SettingKey,
        parse: impl Fn(&str) -> Result<T, String>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let (text, origin) = self.find(key)?;
        let value = self.typed(key, &text, &origin, parse)?;
        self.settings.push(Setting { key, shown: Some(show(&value)), origin });
        Some(value)
    }

    fn typed<T>(
        &mut self,
        key: SettingKey,
        text: &str,
        origin: &SettingOrigin,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let problem = match parse(text) {
            Ok(value) => return Some(value),
            Err(wanted) if key.is_secret() => format!("`{}` ({origin}) is not {wanted}", key.name()),
            Err(wanted) => format!("`{}` ({origin}) is `{text}`, and should be {wanted}", key.name()),
        };
        self.problems.push(problem);
        None
    }

    /// Returns the text of the first source that has a value. A setting that is off is listed without one.
    fn find(&mut self, key: SettingKey) -> Option<(String, SettingOrigin)> {
        let flag = self.flags.values.iter().find(|(known, ..)| *known == key);
        let flag = flag.map(|(_, name, value)| (value.clone(), SettingOrigin::Flag(name)));
        let found = flag.or_else(|| self.in_environment(key)).or_else(|| self.file.get(key));
        let found = found.or_else(|| key.default().map(|value| (value.to_owned(), SettingOrigin::Default)));
        if found.is_none() {
            self.settings.push(Setting { key, shown: None, origin: SettingOrigin::Default });
        }
        found
    }

    fn in_environment(&mut self, key: SettingKey) -> Option<(String, SettingOrigin)> {
        for variable in key.variables() {
            let own = environment::set(self.environment, &variable);
            let file_variable = key.file_variable(&variable);
            let file = file_variable
                .and_then(|name| environment::set(self.environment, &name).map(|path| (name, path)));
            match (own, file) {
                (Some(_), Some((name, _))) => {
                    self.problems.push(format!("both {variable} and {name} are set: keep one of them"));
                    return None;
                }
                (Some(value), None) => return Some((value.to_owned(), SettingOrigin::Variable(variable))),
                (None, Some((name, path))) => return self.in_file_of(name, path),
                (None, None) => {}
            }
        }
        None
    }

    /// Reads a secret from a file of its own, as orchestrators mount them.
    fn in_file_of(&mut self, variable: String, path: &str) -> Option<(String, SettingOrigin)> {
        match input_text::read(Path::new(path), "file") {
            Ok(text) => {
                Some((text.trim().to_owned(), SettingOrigin::FileOf { variable, path: PathBuf::from(path) }))
            }
            Err(failure) => {
                self.problems.push(format!("{variable}: {}", failure.message));
                None
            }
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    args::duration(text.trim())
        .map_err(|_| "a whole number and a unit (500ms, 30s, 5m), at most 24h".to_owned())
}
