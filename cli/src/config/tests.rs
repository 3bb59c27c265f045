//! Tests of the configuration, as tables of sources and results.

use std::time::Duration;

use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flags(values: &[(SettingKey, &'static str, &str)]) -> CommandLineSettings {
    let values = values.iter().map(|(key, name, value)| (*key, *name, (*value).to_owned())).collect();
    CommandLineSettings { file: None, values }
}

fn load(flags: &CommandLineSettings, pairs: &[(&str, &str)], file: &str) -> Result<Config, String> {
    let file = ConfigFile::parse(Path::new("l.toml"), file).map_err(|failure| failure.message)?;
    Config::from_sources(flags, &environment(pairs), file).map_err(|failure| failure.message)
}

/// Returns a setting as it is shown, and its origin.
fn setting(config: &Config, key: SettingKey) -> (String, String) {
    let setting = config.settings.iter().find(|setting| setting.key == key).expect("every key is there");
    (setting.shown.clone().unwrap_or_default(), setting.origin.to_string())
}

#[test]
fn first_source_with_a_value_counts() {
    let file = "namespace = \"file\"\n\n[worker]\nslots = 3\n";
    let ours = ("LONGSHORE_WORKER__SLOTS", "2");
    let flag = flags(&[(SettingKey::WorkerSlots, "--slots", "1")]);
    let none = CommandLineSettings::default();
    type Case<'a> = (&'a CommandLineSettings, &'a [(&'a str, &'a str)], &'a str, (&'a str, &'a str));
    let cases: [Case<'_>; 5] = [
        (&flag, &[ours], file, ("1", "--slots")),
        (&none, &[ours], file, ("2", "LONGSHORE_WORKER__SLOTS")),
        (&none, &[("LONGSHORE_WORKER__SLOTS", "")], file, ("3", "l.toml:4")),
        (&none, &[], file, ("3", "l.toml:4")),
        (&none, &[], "", ("64", "default")),
    ];
    for (flags, pairs, file, (shown, origin)) in cases {
        let config = load(flags, pairs, file).expect("a configuration");
        assert_eq!(setting(&config, SettingKey::WorkerSlots), (shown.to_owned(), origin.to_owned()));
        assert_eq!(config.slots.to_string(), shown);
    }
}

#[test]
fn own_variables_have_precedence_over_shared_ones() {
    let shared = ("NATS_URL", "nats://shared:4222");
    let own = ("LONGSHORE_NATS__URL", "nats://own:4222");
    let config = load(&CommandLineSettings::default(), &[shared], "").expect("a configuration");
    assert_eq!(
        setting(&config, SettingKey::NatsUrl),
        ("nats://shared:4222".to_owned(), "NATS_URL".to_owned())
    );
    assert!(config.names_cluster());
    let config = load(&CommandLineSettings::default(), &[shared, own], "").expect("a configuration");
    assert_eq!(config.nats(), "nats://own:4222");
}

#[test]
fn without_sources_settings_have_defaults_and_no_cluster_is_named() {
    let config =
        load(&CommandLineSettings::default(), &[("PATH", "/bin"), ("LONGSHORE_PORT_4222_TCP", "x")], "")
            .expect("defaults");
    assert!(!config.names_cluster());
    assert_eq!((config.partitions, config.replicas, config.slots.get()), (8, 1, 64));
    assert_eq!((config.metrics_listen, config.nats_credentials, config.log_filter), (None, None, None));
    assert_eq!(config.settings.len(), SettingKey::ALL.len());
}

#[test]
fn service_variables_of_kubernetes_are_ignored_and_similar_ones_refused() {
    let links = [
        ("LONGSHORE_SERVICE_HOST", "10.0.0.1"),
        ("LONGSHORE_SERVICE_PORT_HTTP", "9464"),
        ("LONGSHORE_NATS_SERVICE_PORT", "4222"),
        ("LONGSHORE_NATS_PORT", "tcp://10.0.0.1:4222"),
        ("LONGSHORE_NATS_PORT_4222_TCP_ADDR", "10.0.0.1"),
    ];
    assert!(load(&CommandLineSettings::default(), &links, "").is_ok());
    for name in ["LONGSHORE_METRICS_PORT", "LONGSHORE_PORT", "LONGSHORE_METRICS_PORT_X"] {
        let refused = load(&CommandLineSettings::default(), &[(name, "9464")], "").expect_err("no setting");
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

#[test]
fn lists_and_numbers_of_the_file_are_read() {
    let file = "connect_deadline = \"5s\"\npartitions = 4\n[nats]\nurl = [\"nats://a\", \"nats://b:1\"]\n";
    let config = load(&CommandLineSettings::default(), &[], file).expect("a configuration");
    assert_eq!((config.nats().as_str(), config.partitions), ("nats://a,nats://b:1", 4));
    assert_eq!(config.connect_deadline, Duration::from_secs(5));
}

#[test]
fn list_with_a_number_is_refused_with_its_line() {
    let refusal = load(&CommandLineSettings::default(), &[], "[nats]\nurl = [\"nats://a\", 5]\n")
        .expect_err("a number");
    assert!(refusal.contains("l.toml:2: `nats.url` has a part that is not text in quotes"), "{refusal}");
}

#[test]
fn secret_is_read_from_its_own_file_and_never_shown() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("redis");
    std::fs::write(&path, "redis://:s3cret@host:6379\n").expect("writes");
    let path = path.to_str().expect("text");
    let config =
        load(&CommandLineSettings::default(), &[("REDIS_URL_FILE", path)], "").expect("a configuration");
    assert_eq!(config.redis_url.reveal(), "redis://:s3cret@host:6379");
    let (shown, origin) = setting(&config, SettingKey::RedisUrl);
    assert_eq!((shown.as_str(), origin), ("redis://***@host:6379", format!("{path} (REDIS_URL_FILE)")));
    assert!(!format!("{config:?}").contains("s3cret"));

    let both =
        load(&CommandLineSettings::default(), &[("REDIS_URL_FILE", path), ("REDIS_URL", "redis://x")], "");
    assert!(both.expect_err("two").contains("both REDIS_URL and REDIS_URL_FILE are set"));
    let missing =
        load(&CommandLineSettings::default(), &[("REDIS_URL_FILE", "/no/such/file")], "").expect_err("none");
    assert!(missing.contains("REDIS_URL_FILE: the file /no/such/file cannot be read"), "{missing}");
}

#[test]
fn all_problems_are_reported_at_once_with_their_positions() {
    let file = "[worker]\nslot = 3\ndrain = 30\n\n[nats]\nurl = \"redis://:s3cret@a\"\n[redsi]\nurl = 1\n";
    let pairs = [("LONGSHORE_WORKER__SLTOS", "1"), ("LONGSHORE_REPLICAS", "2"), ("LONGSHORE_DRAIN", "5s")];
    let refusal =
        load(&flags(&[(SettingKey::MetricsListen, "--metrics", "9464")]), &pairs, file).expect_err("wrong");
    for expected in [
        "l.toml:2: there is no setting `worker.slot`; did you mean `worker.slots`?",
        "`worker.drain` (l.toml:3) is `30`, and should be a whole number and a unit",
        "`nats.url` (l.toml:6) is not nats://host:4222",
        "l.toml:7: there is no setting `redsi`",
        "LONGSHORE_WORKER__SLTOS is not the variable of a setting; did you mean `LONGSHORE_WORKER__SLOTS`?",
        "LONGSHORE_DRAIN is not the variable of a setting; did you mean `LONGSHORE_WORKER__DRAIN`?",
        "`replicas` (LONGSHORE_REPLICAS) is `2`, and should be 1, 3 or 5",
        "`metrics.listen` (--metrics) is `9464`, and should be an address and a port",
    ] {
        assert!(refusal.contains(expected), "{expected}\n{refusal}");
    }
    assert!(!refusal.contains("s3cret"), "{refusal}");
}

#[test]
fn invalid_toml_is_refused_with_its_line() {
    let refusal = load(&CommandLineSettings::default(), &[], "namespace = \"a\"\nslots == 3\n")
        .expect_err("invalid TOML");
    assert!(refusal.starts_with("l.toml:2 is not valid TOML: "), "{refusal}");
    for twice in ["namespace = \"a\"\nnamespace = \"b\"\n", "worker.slots = 1\n[worker]\nslots = 2\n"] {
        let refusal = load(&CommandLineSettings::default(), &[], twice).expect_err("written twice");
        assert!(refusal.starts_with("l.toml:2 is not valid TOML: duplicate key"), "{refusal}");
    }
}

#[test]
fn every_setting_and_variable_is_documented() {
    let reference = include_str!("../../../docs/configuration.md");
    for key in SettingKey::ALL {
        assert!(reference.contains(&format!("`{}`", key.name())), "{}", key.name());
        for variable in key.variables() {
            assert!(reference.contains(&format!("`{variable}`")), "{variable}");
        }
        if let Some(default) = key.default() {
            assert!(reference.contains(&format!("`{default}`")), "{default}");
        }
    }
}

/// Loads the configuration with a file that was found in this folder and not named.
fn load_found(
    folder: &Path,
    flags: &CommandLineSettings,
    pairs: &[(&str, &str)],
    file: &str,
) -> Result<Config, String> {
    let path = folder.join("longshore.toml");
    std::fs::write(&path, file).expect("writes");
    let mut file = ConfigFile::parse(&path, file).map_err(|failure| failure.message)?;
    file.was_found = true;
    Config::from_sources(flags, &environment(pairs), file).map_err(|failure| failure.message)
}

#[test]
fn credentials_of_the_user_are_not_sent_to_a_server_of_a_found_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let (nats, redis) = ("[nats]\nurl = \"nats://evil:4222\"\n", "[redis]\nurl = \"redis://evil\"\n");
    let creds = ("NATS_CREDS", "/home/me/.creds");
    let refused =
        load_found(folder.path(), &CommandLineSettings::default(), &[creds], nats).expect_err("refused");
    for part in
        ["`nats.url` comes from ", "longshore.toml:2", "`nats.credentials` from NATS_CREDS", "--config"]
    {
        assert!(refused.contains(part), "{part}\n{refused}");
    }
    let flag = flags(&[(SettingKey::NatsCredentials, "--nats-creds", "x.creds")]);
    assert!(load_found(folder.path(), &flag, &[], nats).is_err());
    assert!(load(&CommandLineSettings::default(), &[creds], nats).is_ok(), "a file that was named may");

    let own_url = [creds, ("NATS_URL", "nats://mine:4222")];
    assert!(
        load_found(folder.path(), &CommandLineSettings::default(), &own_url, nats).is_ok(),
        "the address is the user's"
    );
    assert!(
        load_found(folder.path(), &CommandLineSettings::default(), &[creds], redis).is_ok(),
        "another service"
    );
    let own_redis = [("REDIS_URL", "redis://:s3cret@mine")];
    assert!(
        load_found(folder.path(), &CommandLineSettings::default(), &own_redis, redis).is_ok(),
        "the address is the user's"
    );
    assert!(load_found(folder.path(), &CommandLineSettings::default(), &[], nats).is_ok(), "no credentials");
}

#[test]
fn found_file_names_only_credentials_of_its_own_folder() {
    let folder = tempfile::tempdir().expect("a folder");
    let outside = tempfile::tempdir().expect("a folder");
    let text = |path: &Path| format!("[nats]\ncredentials = {:?}\n", path.display().to_string());
    let (mine, theirs) = (outside.path().join("my.creds"), folder.path().join("dev.creds"));
    std::fs::write(&mine, "x").expect("writes");
    std::fs::write(&theirs, "x").expect("writes");
    let refused =
        load_found(folder.path(), &CommandLineSettings::default(), &[], &text(&mine)).expect_err("refused");
    assert!(refused.contains("outside the folder of a configuration file"), "{refused}");
    assert!(load_found(folder.path(), &CommandLineSettings::default(), &[], &text(&theirs)).is_ok());
    let link = folder.path().join("link.creds");
    std::os::unix::fs::symlink(&mine, &link).expect("links");
    assert!(
        load_found(folder.path(), &CommandLineSettings::default(), &[], &text(&link)).is_err(),
        "through a link"
    );
    assert!(load(&CommandLineSettings::default(), &[], &text(&mine)).is_ok(), "a file that was named may");
}

#[test]
fn servers_file_named_by_a_found_file_counts_as_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "[worker]\nmcp_config = \"servers.json\"\n";
    let found =
        load_found(folder.path(), &CommandLineSettings::default(), &[], file).expect("a configuration");
    assert_eq!(found.servers_source(), ServersSource::Found(PathBuf::from("servers.json")));
    let named = load(&CommandLineSettings::default(), &[], file).expect("a configuration");
    assert_eq!(named.servers_source(), ServersSource::Named(PathBuf::from("servers.json")));
    let variable = [("LONGSHORE_MCP_CONFIG", "mine.json")];
    let own =
        load_found(folder.path(), &CommandLineSettings::default(), &variable, file).expect("a configuration");
    assert_eq!(own.servers_source(), ServersSource::Named(PathBuf::from("mine.json")));
}

#[test]
fn contradicting_tls_settings_are_refused_together() {
    let file = "[nats]\ncert = \"c.pem\"\ncredentials = \"c\"\n[redis]\nca = \"ca.pem\"\nkey = \"k.pem\"\n";
    let refusal =
        load(&CommandLineSettings::default(), &[("LONGSHORE_NATS__NKEY", "n")], file).expect_err("refused");
    for expected in [
        "`nats.cert` (l.toml:2) is set and `nats.key` is not: set both",
        "`redis.key` (l.toml:6) is set and `redis.cert` is not: set both",
        "`redis.ca` (l.toml:5) is set, and `redis.url` (default) is without TLS: write it as rediss://",
        "both `nats.credentials` (l.toml:3) and `nats.nkey` (LONGSHORE_NATS__NKEY) are set",
    ] {
        assert!(refusal.contains(expected), "{expected}\n{refusal}");
    }
}

#[test]
fn found_file_cannot_choose_the_authority_of_the_server_that_gets_credentials() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = [("REDIS_URL", "rediss://:s3cret@mine")];
    let refused =
        load_found(folder.path(), &CommandLineSettings::default(), &own, "[redis]\nca = \"ca.pem\"\n");
    let refused = refused.expect_err("refused");
    assert!(
        refused.contains("`redis.ca` comes from") && refused.contains("`redis.url` from REDIS_URL"),
        "{refused}"
    );
    assert!(!refused.contains("s3cret"), "{refused}");
}
