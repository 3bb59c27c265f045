//! The configuration: options, then the environment, then the file, then defaults. All of it is read before anything begins.
//!
//! ```text
//! --flag ─► LONGSHORE_A__B, NATS_URL, ..., X_FILE ─► longshore.toml ─► default      the first that has a value
//!                         │
//!                         ▼
//! text and origin of each setting ──► types with bounds      all problems at once
//! ```
//!
//! Each setting keeps its [`SettingOrigin`], for messages and for `longshore doctor`. Values that may contain a password are shown
//! masked.

mod contradictions;
mod file;
mod found_file;
mod key;
mod origin;
mod secret_files;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use longshore_machine::Retention;
use longshore_proto::Namespace;
use longshore_tls::TlsFiles;
use longshore_worker::mcp::Secrets;

use self::file::ConfigFile;
use crate::args;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::input_text;
use crate::servers_file::ServersSource;
use crate::suggest;
use key::PREFIX;
pub(crate) use key::SettingKey;
pub(crate) use origin::SettingOrigin;
pub(crate) use value::{AtomicBatches, LogFormat, StoreAddress};

/// Variables that are not settings of a cluster. They are read together with the options of the same meaning.
const OTHER_VARIABLES: [&str; 2] = ["LONGSHORE_CONFIG", "LONGSHORE_DATA"];

/// Settings on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommandLineSettings {
    /// The configuration file, if one is named.
    pub(crate) file: Option<PathBuf>,
    /// Settings, each with the option that has it.
    pub(crate) values: Vec<(SettingKey, &'static str, String)>,
}

/// All settings, parsed.
#[derive(Debug)]
pub(crate) struct Config {
    /// Addresses of NATS servers.
    pub(crate) nats_urls: Vec<StoreAddress>,
    /// A file with a NATS user's JWT and seed.
    pub(crate) nats_credentials: Option<PathBuf>,
    /// Prefix of the subjects of answers.
    pub(crate) nats_inbox_prefix: Option<String>,
    /// A file with the seed of a NATS user's nkey.
    pub(crate) nats_nkey: Option<PathBuf>,
    /// Use of atomic batches for large groups of jobs.
    pub(crate) nats_batch: AtomicBatches,
    /// Certificates for NATS.
    pub(crate) nats_tls: TlsFiles,
    /// Address of Redis.
    pub(crate) redis_url: StoreAddress,
    /// Certificates for Redis.
    pub(crate) redis_tls: TlsFiles,
    /// Prefix of keys in Redis.
    pub(crate) redis_prefix: String,
    /// Namespace of a client's requests.
    pub(crate) namespace: Namespace,
    /// Number of logs.
    pub(crate) partitions: u16,
    /// Number of servers that keep each stream.
    pub(crate) replicas: usize,
    /// Retention of finished runs.
    pub(crate) retention: Retention,
    /// Limit of the runs of a namespace that have not ended; `None` for no limit.
    pub(crate) live_runs: Option<u64>,
    /// Time to wait for NATS and Redis.
    pub(crate) connect_deadline: Duration,
    /// Number of jobs that a worker executes at once.
    pub(crate) slots: NonZeroUsize,
    /// Time that calls under way get to end when a worker drains.
    pub(crate) drain: Duration,
    /// The servers file.
    pub(crate) mcp_config: Option<PathBuf>,
    /// Address on which metrics and health are served.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Format of log lines.
    pub(crate) log_format: LogFormat,
    /// Filter of log lines, with its origin.
    pub(crate) log_filter: Option<(String, SettingOrigin)>,
    /// The configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The configuration file was found in the current directory, and not named.
    file_was_found: bool,
    /// Every setting as it is shown, with its origin.
    pub(crate) settings: Vec<Setting>,
}

/// A setting as it is shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Setting {
    /// The setting.
    pub(crate) key: SettingKey,
    /// The value with masked credentials; `None` if the setting is off.
    pub(crate) shown: Option<String>,
    /// The origin of the value.
    pub(crate) origin: SettingOrigin,
}

impl Config {
    /// Returns the credentials in addresses and in the files that the configuration names, to be masked.
    pub(crate) fn credentials(&self) -> Secrets {
        let mut secrets = Secrets::default();
        let addresses = self.nats_urls.iter().chain([&self.redis_url]);
        addresses
            .flat_map(StoreAddress::credentials)
            .for_each(|credential| secrets.add_declared(&credential));
        let (nats_key, redis_key) = (&self.nats_tls.key, &self.redis_tls.key);
        let files = [&self.nats_credentials, &self.nats_nkey, nats_key, redis_key];
        files.into_iter().flatten().for_each(|path| secret_files::add_lines(path, &mut secrets));
        secrets
    }

    /// Reads all settings. `environment` is that of the process.
    pub(crate) fn load(
        flags: &CommandLineSettings,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let named = flags.file.clone().or_else(|| set(environment, "LONGSHORE_CONFIG").map(PathBuf::from));
        let file = ConfigFile::find(named.as_deref())?;
        Self::from_sources(flags, environment, file)
    }

    fn from_sources(
        flags: &CommandLineSettings,
        environment: &BTreeMap<String, String>,
        mut file: ConfigFile,
    ) -> Result<Self, Failure> {
        let mut problems = std::mem::take(&mut file.problems);
        problems.extend(unknown_variables(environment));
        let mut reader = SettingsReader { flags, environment, file: &file, settings: Vec::new(), problems };
        let config = reader.all();
        let SettingsReader { settings, problems, .. } = reader;
        match config {
            Some(config) if problems.is_empty() => {
                let path = file.path().map(Path::to_owned);
                Self { settings, file: path, file_was_found: file.was_found, ..config }.checked()
            }
            _ => Err(refused(&problems)),
        }
    }

    /// Returns the configuration, or a failure if settings contradict each other, or if a file that was found and not named
    /// does what only a named one may do.
    fn checked(self) -> Result<Self, Failure> {
        let found = self.file.as_deref().filter(|_| self.file_was_found);
        let mut problems = contradictions::problems(&self);
        problems.extend(found.map(|file| found_file::problems(&self, file)).unwrap_or_default());
        if problems.is_empty() { Ok(self) } else { Err(refused(&problems)) }
    }

    /// Returns the path of the servers file, and how it was chosen.
    pub(crate) fn servers_source(&self) -> ServersSource {
        match &self.mcp_config {
            None => ServersSource::usual(),
            Some(path) => {
                let is_of_file =
                    matches!(self.origin(SettingKey::WorkerMcpConfig), SettingOrigin::File { .. });
                if is_of_file && self.file_was_found {
                    ServersSource::Found(path.clone())
                } else {
                    ServersSource::Named(path.clone())
                }
            }
        }
    }

    /// Returns the origin of a setting.
    pub(crate) fn origin(&self, key: SettingKey) -> &SettingOrigin {
        self.settings
            .iter()
            .find(|setting| setting.key == key)
            .map_or(&SettingOrigin::Default, |found| &found.origin)
    }

    fn is_set(&self, key: SettingKey) -> bool {
        self.settings.iter().any(|setting| setting.key == key && setting.shown.is_some())
    }

    /// Returns true if an address of NATS is configured. Commands that work with both then use the cluster.
    pub(crate) fn names_cluster(&self) -> bool {
        *self.origin(SettingKey::NatsUrl) != SettingOrigin::Default
    }

    /// Returns the addresses of NATS, for messages.
    pub(crate) fn nats(&self) -> String {
        self.nats_urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

fn refused(problems: &[String]) -> Failure {
    let message = match problems {
        [only] => format!("the configuration is wrong: {only}"),
        several => {
            let lines: String = several.iter().map(|problem| format!("\n  {problem}")).collect();
            format!("the configuration is wrong:{lines}")
        }
    };
    Failure::new(Exit::Usage, message)
}

/// Reads settings one after the other, and collects their problems.
struct SettingsReader<'a> {
    flags: &'a CommandLineSettings,
    environment: &'a BTreeMap<String, String>,
    file: &'a ConfigFile,
    settings: Vec<Setting>,
    problems: Vec<String>,
}

impl SettingsReader<'_> {
    /// Reads every setting. Returns `None` if any of them is required and invalid, after all have been read.
    fn all(&mut self) -> Option<Config> {
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
            let own = set(self.environment, &variable);
            let file_variable = key.file_variable(&variable);
            let file = file_variable.and_then(|name| set(self.environment, &name).map(|path| (name, path)));
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

/// Returns the value of a variable that is not empty. Orchestrators set missing variables to an empty text.
fn set<'a>(environment: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    environment.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
}

/// Returns problems with variables whose names begin like settings and are not settings.
fn unknown_variables(environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut known: Vec<String> = OTHER_VARIABLES.iter().map(|name| (*name).to_owned()).collect();
    for key in SettingKey::ALL {
        for variable in key.variables() {
            known.extend(key.file_variable(&variable));
            known.push(variable);
        }
    }
    known.sort();
    let names: Vec<&str> = known.iter().map(String::as_str).filter(|name| name.starts_with(PREFIX)).collect();
    let ours =
        environment.iter().filter(|(name, value)| name.starts_with(PREFIX) && !is_service_link(name, value));
    let unknown = ours.filter(|(name, _)| !names.contains(&name.as_str()));
    unknown
        .map(|(name, _)| {
            format!("{name} is not the variable of a setting; {}", suggest::nearest(name, &names))
        })
        .collect()
}

/// Returns true for variables in which Kubernetes describes services called `longshore` or `longshore-…`: `…_SERVICE_HOST`,
/// `…_SERVICE_PORT`, and `…_PORT` or `…_PORT_4222_TCP`, whose value is an address.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let of_port = name.split_once("_PORT_").map(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || of_port == Some(true)
        || name.ends_with("_PORT") && is_address
}

#[cfg(test)]
mod tests;
