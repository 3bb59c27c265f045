//! Connects to NATS and Redis, and reports what is waited for.

use std::pin::pin;
use std::time::Duration;

use longshore_nats::{self as nats, BatchSetting, Nats, NatsClient, NatsConfig};
use longshore_ports::{Error, ErrorCause};
use longshore_redis::{self as redis, Redis, RedisConfig};
use longshore_tls::FileRole;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::config::{AtomicBatches, Config, SettingKey};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering::ProcessRole;

/// Time without a connection after which the first message is logged. A server that is available answers in a tenth of it.
const FIRST_REPORT_AFTER: Duration = Duration::from_secs(1);
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Time that the second connection gets to fail after the first one failed. Both deadlines begin at the same moment.
const SECOND_FAILURE_LIMIT: Duration = Duration::from_secs(2);

/// Connects a process of the cluster called `name` to both.
pub(super) async fn both(config: &Config, name: &str, role: ProcessRole) -> Result<(Nats, Redis), Failure> {
    let mut nats = Box::pin(nats(config, name, role));
    let mut redis = Box::pin(permitted_redis(config, role));
    // A server that cannot be reached is reported even while the other one is still waited for.
    tokio::select! {
        connection = &mut nats => match connection {
            Ok(nats) => Ok((nats, redis.await?)),
            Err(failure) => Err(with_other_failure(failure, redis).await),
        },
        connection = &mut redis => match connection {
            Ok(redis) => Ok((nats.await?, redis)),
            Err(failure) => Err(with_other_failure(failure, nats).await),
        },
    }
}

/// Adds to the failure of one server that of the other one, if both cannot be reached.
async fn with_other_failure<T>(first: Failure, other: impl Future<Output = Result<T, Failure>>) -> Failure {
    if first.exit != Exit::Unreachable {
        return first;
    }
    let Ok(Err(other)) = timeout(SECOND_FAILURE_LIMIT, other).await else { return first };
    let message = format!("{}; {}", first.message, other.message);
    let help: Vec<String> = [first.help, other.help].into_iter().flatten().collect();
    Failure::new(Exit::Unreachable, message).help(help.join("; "))
}

/// Connects to NATS and its streams: a scheduler creates them, a worker waits for them.
async fn nats(config: &Config, name: &str, role: ProcessRole) -> Result<Nats, Failure> {
    let nats_config = nats_config(config, name, config.connect_deadline);
    match role {
        ProcessRole::Scheduler => connected(config, Box::pin(Nats::connect(nats_config)).await),
        ProcessRole::Worker => connected(config, Box::pin(Nats::join(nats_config)).await),
    }
}

/// Connects to Redis and checks that the user has the permissions of the role.
async fn permitted_redis(config: &Config, role: ProcessRole) -> Result<Redis, Failure> {
    let redis = redis_until(config, config.connect_deadline).await?;
    let role = match role {
        ProcessRole::Scheduler => redis::Role::Scheduler,
        ProcessRole::Worker => redis::Role::Worker,
    };
    let permitted = redis.check_permissions(role).await;
    permitted.map_err(|error| {
        let failure = refused(config, Exit::Denied, SettingKey::RedisUrl, error.to_string());
        // A user may have the permissions for keys of another prefix.
        let (help, origin) =
            (failure.help.clone().unwrap_or_default(), config.origin(SettingKey::RedisPrefix));
        failure.help(format!("{help}; `redis.prefix` is `{}`, from: {origin}", config.redis_prefix))
    })?;
    Ok(redis)
}

/// Connects a client to NATS.
pub(super) async fn client(config: &Config, name: &str, deadline: Duration) -> Result<NatsClient, Failure> {
    let server = format!("NATS at {} ({})", config.nats(), config.origin(SettingKey::NatsUrl));
    // The future of a connection is large, and every command contains one, so it is boxed.
    let connecting = Box::pin(NatsClient::connect(nats_config(config, name, deadline)));
    connected(config, reporting(&server, connecting).await)
}

/// Returns a connection to NATS, or the failure with the setting to correct.
fn connected<T>(config: &Config, connected: Result<T, nats::ConnectError>) -> Result<T, Failure> {
    connected.map_err(|error| {
        use nats::ConnectError;
        let (exit, key) = match &error {
            ConnectError::Unreachable { .. } | ConnectError::NoStreams { .. } => {
                (Exit::Unreachable, SettingKey::NatsUrl)
            }
            ConnectError::Refused { .. } | ConnectError::Denied { .. } => (Exit::Denied, SettingKey::NatsUrl),
            // The server answers, and Longshore cannot rely on its version or its configuration.
            ConnectError::Tls { .. }
            | ConnectError::TooOld { .. }
            | ConnectError::NoJetStream { .. }
            | ConnectError::Mismatch { .. } => (Exit::Denied, SettingKey::NatsUrl),
            // A setting of this process is wrong.
            ConnectError::Url { .. } => (Exit::Usage, SettingKey::NatsUrl),
            ConnectError::Credentials { .. } => (Exit::Usage, SettingKey::NatsCredentials),
            ConnectError::File(error) => (Exit::Usage, nats_file_key(error.role)),
            ConnectError::Partitions { .. } => (Exit::Usage, SettingKey::Partitions),
            ConnectError::Other(error) => (exit_of(error), SettingKey::NatsUrl),
        };
        refused(config, exit, key, error.to_string())
    })
}

/// Returns the exit code for a failed request to a server of the cluster that was connected.
pub(super) fn exit_of(error: &Error) -> Exit {
    match error.cause {
        ErrorCause::Denied => Exit::Denied,
        ErrorCause::Full => Exit::Full,
        ErrorCause::Unavailable if error.retryable => Exit::Unreachable,
        ErrorCause::Unavailable | ErrorCause::Missing | ErrorCause::Damaged | ErrorCause::Other => {
            Exit::Error
        }
    }
}

/// Connects a command to Redis.
pub(super) async fn redis(config: &Config, connect_deadline: Duration) -> Result<Redis, Failure> {
    let server = format!("Redis at {} ({})", config.redis_url, config.origin(SettingKey::RedisUrl));
    reporting(&server, redis_until(config, connect_deadline)).await
}

/// Connects to Redis, until a deadline.
async fn redis_until(config: &Config, connect_deadline: Duration) -> Result<Redis, Failure> {
    let connecting = Redis::connect(RedisConfig {
        url: config.redis_url.reveal().to_owned(),
        connect_deadline,
        prefix: config.redis_prefix.clone(),
        tls: config.redis_tls.clone(),
    });
    connecting.await.map_err(|error| {
        use redis::ConnectError;
        let (exit, key) = match &error {
            ConnectError::Unreachable { .. } => (Exit::Unreachable, SettingKey::RedisUrl),
            ConnectError::Credentials { .. } | ConnectError::Permission { .. } => {
                (Exit::Denied, SettingKey::RedisUrl)
            }
            // The server answers, and Longshore cannot rely on its version or its configuration.
            ConnectError::Tls { .. }
            | ConnectError::TooOld { .. }
            | ConnectError::Evicting { .. }
            | ConnectError::DroppingTransactions { .. }
            | ConnectError::Replica { .. } => (Exit::Denied, SettingKey::RedisUrl),
            // A setting of this process is wrong.
            ConnectError::Address { .. } | ConnectError::OtherProtocol { .. } => {
                (Exit::Usage, SettingKey::RedisUrl)
            }
            ConnectError::File(error) => (Exit::Usage, redis_file_key(error.role)),
            ConnectError::Other { .. } => (Exit::Error, SettingKey::RedisUrl),
        };
        refused(config, exit, key, error.to_string())
    })
}

/// Returns the setting that names a file of this role.
const fn nats_file_key(role: FileRole) -> SettingKey {
    match role {
        FileRole::Ca => SettingKey::NatsCa,
        FileRole::Cert => SettingKey::NatsCert,
        FileRole::Key => SettingKey::NatsKeyFile,
        FileRole::Nkey => SettingKey::NatsNkey,
    }
}

/// Returns the setting that names a file of this role for Redis, which has no nkeys.
const fn redis_file_key(role: FileRole) -> SettingKey {
    match role {
        FileRole::Ca => SettingKey::RedisCa,
        FileRole::Cert => SettingKey::RedisCert,
        FileRole::Key | FileRole::Nkey => SettingKey::RedisKeyFile,
    }
}

fn nats_config(config: &Config, name: &str, connect_deadline: Duration) -> NatsConfig {
    NatsConfig {
        urls: config.nats_urls.iter().map(|url| url.reveal().to_owned()).collect(),
        credentials: config.nats_credentials.clone(),
        inbox_prefix: config.nats_inbox_prefix.clone(),
        nkey: config.nats_nkey.clone(),
        batch: match config.nats_batch {
            AtomicBatches::Auto => BatchSetting::Auto,
            AtomicBatches::Always => BatchSetting::Always,
            AtomicBatches::Never => BatchSetting::Never,
        },
        tls: config.nats_tls.clone(),
        name: name.to_owned(),
        replicas: config.replicas,
        partitions: config.partitions,
        connect_deadline,
    }
}

/// Creates the failure of a connection. The error contains the remedy; the help names the origin of the setting.
fn refused(config: &Config, exit: Exit, key: SettingKey, message: String) -> Failure {
    let origin = config.origin(key);
    Failure::new(exit, message).help(format!("`{}` comes from: {origin}", key.name()))
}

/// Awaits the connection of a command, and logs what is waited for. Processes log each reason for a wait, at level info.
async fn reporting<T>(server: &str, connecting: impl Future<Output = T>) -> T {
    let mut connecting = pin!(connecting);
    let mut pause = FIRST_REPORT_AFTER;
    loop {
        tokio::select! {
            biased;
            connection = &mut connecting => return connection,
            () = sleep(pause) => warn!("waiting for {server}"),
        }
        pause = REPORT_INTERVAL;
    }
}
