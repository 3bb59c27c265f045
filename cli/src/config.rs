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
mod environment;
mod file;
mod found_file;
mod key;
mod origin;
mod reader;
mod secret_files;
mod settings;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use longshore_worker::mcp::Secrets;

use self::file::ConfigFile;
use self::reader::SettingsReader;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::servers_file::ServersSource;
pub(crate) use key::SettingKey;
pub(crate) use origin::SettingOrigin;
pub(crate) use settings::{CommandLineSettings, Config, Setting};
pub(crate) use value::{AtomicBatches, LogFormat, StoreAddress};

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
        let named = flags
            .file
            .clone()
            .or_else(|| environment::set(environment, "LONGSHORE_CONFIG").map(PathBuf::from));
        let file = ConfigFile::find(named.as_deref())?;
        Self::from_sources(flags, environment, file)
    }

    fn from_sources(
        flags: &CommandLineSettings,
        environment: &BTreeMap<String, String>,
        mut file: ConfigFile,
    ) -> Result<Self, Failure> {
        let mut problems = std::mem::take(&mut file.problems);
        problems.extend(environment::unknown_variables(environment));
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

#[cfg(test)]
mod tests;
