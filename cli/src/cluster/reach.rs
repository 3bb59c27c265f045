//! The way to NATS and Redis: waited for until the deadline, and for what is said meanwhile.

use std::pin::pin;
use std::time::Duration;

use longshore_nats::{self as nats, BatchSetting, Nats, NatsClient, NatsConfig};
use longshore_redis::{self as redis, Redis, RedisConfig};
use longshore_tls::FileRole;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::config::{AtomicBatches, Config, Key};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metering::Role;

/// How long nobody is told that something is waited for, and how often they are told after that. A server that is
/// there answers in a tenth of the first.
const SAY_AFTER: Duration = Duration::from_secs(1);
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Time for the second server to be given up after the first one was: both waits begin at the same moment.
const BOTH_GIVEN_UP: Duration = Duration::from_secs(2);

/// Both, for a process of the cluster called `name`.
pub(super) async fn both(config: &Config, name: &str, role: Role) -> Result<(Nats, Redis), Failure> {
    let mut nats = Box::pin(nats(config, name, role));
    let mut redis = Box::pin(permitted_redis(config, role));
    // A server that is missing is named, even if the other one is still waited for.
    tokio::select! {
        reached = &mut nats => match reached {
            Ok(nats) => Ok((nats, redis.await?)),
            Err(failure) => Err(with_other(failure, redis).await),
        },
        reached = &mut redis => match reached {
            Ok(redis) => Ok((nats.await?, redis)),
            Err(failure) => Err(with_other(failure, nats).await),
        },
    }
}

/// Adds to the failure of one server that of the other one, if neither can be reached.
async fn with_other<T>(first: Failure, other: impl Future<Output = Result<T, Failure>>) -> Failure {
    if first.exit != Exit::Unreachable {
        return first;
    }
    let Ok(Err(other)) = timeout(BOTH_GIVEN_UP, other).await else { return first };
    let message = format!("{}; {}", first.message, other.message);
    let help: Vec<String> = [first.help, other.help].into_iter().flatten().collect();
    Failure::new(Exit::Unreachable, message).help(help.join("; "))
}

/// A connection to NATS, with its streams in place: a scheduler creates them, a worker waits for them.
async fn nats(config: &Config, name: &str, role: Role) -> Result<Nats, Failure> {
    let nats_config = nats_config(config, name, config.connect_deadline);
    match role {
        Role::Scheduler => Box::pin(reached(config, Nats::connect(nats_config))).await,
        Role::Worker => Box::pin(reached(config, Nats::join(nats_config))).await,
    }
}

/// A connection to Redis whose user may do what the role needs.
async fn permitted_redis(config: &Config, role: Role) -> Result<Redis, Failure> {
    let redis = redis(config, config.connect_deadline).await?;
    let role = match role {
        Role::Scheduler => redis::Role::Scheduler,
        Role::Worker => redis::Role::Worker,
    };
    let permitted = redis.check_permissions(role).await;
    permitted.map_err(|error| refused(config, Exit::Denied, Key::RedisUrl, error.to_string()))?;
    Ok(redis)
}

/// A connection to NATS for a client.
pub(super) async fn client(config: &Config, name: &str, deadline: Duration) -> Result<NatsClient, Failure> {
    // The path to the first connection is long, and every command carries it: it stands on the heap once.
    Box::pin(reached(config, NatsClient::connect(nats_config(config, name, deadline)))).await
}

async fn reached<T>(
    config: &Config,
    connecting: impl Future<Output = Result<T, nats::ConnectError>>,
) -> Result<T, Failure> {
    let place = format!("NATS at {} ({})", config.nats(), config.origin(Key::NatsUrl));
    patiently(&place, connecting).await.map_err(|error| {
        use nats::ConnectError as Why;
        let (exit, key) = match &error {
            Why::Unreachable { .. } | Why::NoStreams { .. } => (Exit::Unreachable, Key::NatsUrl),
            Why::Refused { .. } | Why::Denied { .. } => (Exit::Denied, Key::NatsUrl),
            // The server answers, and Longshore cannot rely on its version or its configuration.
            Why::Tls { .. } | Why::TooOld { .. } | Why::NoJetStream { .. } | Why::Mismatch { .. } => {
                (Exit::Denied, Key::NatsUrl)
            }
            // A setting of this process is wrong.
            Why::Url { .. } => (Exit::Usage, Key::NatsUrl),
            Why::Credentials { .. } => (Exit::Usage, Key::NatsCredentials),
            Why::File(error) => (Exit::Usage, of_nats(error.role)),
            Why::Partitions { .. } => (Exit::Usage, Key::Partitions),
            Why::Other(_) => (Exit::Error, Key::NatsUrl),
        };
        refused(config, exit, key, error.to_string())
    })
}

/// A connection to Redis.
pub(super) async fn redis(config: &Config, connect_deadline: Duration) -> Result<Redis, Failure> {
    let connecting = Redis::connect(RedisConfig {
        url: config.redis_url.reveal().to_owned(),
        connect_deadline,
        prefix: config.redis_prefix.clone(),
        tls: config.redis_tls.clone(),
    });
    let place = format!("Redis at {} ({})", config.redis_url, config.origin(Key::RedisUrl));
    patiently(&place, connecting).await.map_err(|error| {
        use redis::ConnectError as Why;
        let (exit, key) = match &error {
            Why::Unreachable { .. } => (Exit::Unreachable, Key::RedisUrl),
            Why::Credentials { .. } | Why::Permission { .. } => (Exit::Denied, Key::RedisUrl),
            // The server answers, and Longshore cannot rely on its version or its configuration.
            Why::Tls { .. }
            | Why::TooOld { .. }
            | Why::Evicting { .. }
            | Why::DroppingTransactions { .. }
            | Why::Replica { .. } => (Exit::Denied, Key::RedisUrl),
            // A setting of this process is wrong.
            Why::Address { .. } => (Exit::Usage, Key::RedisUrl),
            Why::File(error) => (Exit::Usage, of_redis(error.role)),
            Why::Other { .. } => (Exit::Error, Key::RedisUrl),
        };
        refused(config, exit, key, error.to_string())
    })
}

/// The setting that names a file of this purpose.
const fn of_nats(role: FileRole) -> Key {
    match role {
        FileRole::Ca => Key::NatsCa,
        FileRole::Cert => Key::NatsCert,
        FileRole::Key => Key::NatsKeyFile,
        FileRole::Nkey => Key::NatsNkey,
    }
}

/// The same for Redis, which has no nkeys.
const fn of_redis(role: FileRole) -> Key {
    match role {
        FileRole::Ca => Key::RedisCa,
        FileRole::Cert => Key::RedisCert,
        FileRole::Key | FileRole::Nkey => Key::RedisKeyFile,
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

/// What the error says holds the remedy; the help says where the address comes from.
fn refused(config: &Config, exit: Exit, key: Key, message: String) -> Failure {
    let origin = config.origin(key);
    Failure::new(exit, message).help(format!("`{}` comes from: {origin}", key.name()))
}

/// Waits, and says for what.
async fn patiently<T>(place: &str, connecting: impl Future<Output = T>) -> T {
    let mut connecting = pin!(connecting);
    let mut pause = SAY_AFTER;
    loop {
        tokio::select! {
            biased;
            reached = &mut connecting => return reached,
            () = sleep(pause) => warn!("waiting for {place}"),
        }
        pause = SAY_AGAIN;
    }
}
