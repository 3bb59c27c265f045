//! The way to NATS and Redis: waited for until the deadline, and for what is said meanwhile.

use std::pin::pin;
use std::time::Duration;

use longshore_backend::nats::{self, Nats, NatsConfig};
use longshore_backend::redis::{self, Redis, RedisConfig};
use tokio::time::sleep;
use tracing::warn;

use crate::config::{Config, Key};
use crate::exit::Exit;
use crate::failure::Failure;

/// How long nobody is told that something is waited for, and how often they are told after that. A server that is
/// there answers in a tenth of the first.
const SAY_AFTER: Duration = Duration::from_secs(1);
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// Both, for a process of the cluster called `name`.
pub(super) async fn both(config: &Config, name: &str) -> Result<(Nats, Redis), Failure> {
    // The one that is missing is named, even if the other is still waited for.
    tokio::try_join!(nats(config, name), redis(config, config.connect_deadline))
}

/// A connection to NATS, with its streams in place.
async fn nats(config: &Config, name: &str) -> Result<Nats, Failure> {
    let connecting = Nats::connect(nats_config(config, name, config.connect_deadline));
    Box::pin(reached(config, connecting)).await
}

/// A connection to NATS for a client, to streams that others look after.
pub(super) async fn attach(config: &Config, name: &str, deadline: Duration) -> Result<Nats, Failure> {
    // The path to the first connection is long, and every command carries it: it stands on the heap once.
    Box::pin(reached(config, Nats::attach(nats_config(config, name, deadline)))).await
}

async fn reached(
    config: &Config,
    connecting: impl Future<Output = Result<Nats, nats::ConnectError>>,
) -> Result<Nats, Failure> {
    let place = format!("NATS at {} ({})", config.nats(), config.origin(Key::NatsUrl));
    patiently(&place, connecting).await.map_err(|error| {
        use nats::ConnectError::{Credentials, Refused, Unreachable};
        let (exit, key) = match &error {
            Unreachable { .. } => (Exit::Unreachable, Key::NatsUrl),
            Refused { .. } => (Exit::Denied, Key::NatsUrl),
            // Nobody was asked yet: the setting names a file that is not there, or that holds something else.
            Credentials { .. } => (Exit::Usage, Key::NatsCredentials),
            _ => (Exit::Error, Key::NatsUrl),
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
    });
    let place = format!("Redis at {} ({})", config.redis_url, config.origin(Key::RedisUrl));
    patiently(&place, connecting).await.map_err(|error| {
        let exit = match &error {
            redis::ConnectError::Unreachable { .. } => Exit::Unreachable,
            redis::ConnectError::Credentials { .. } => Exit::Denied,
            _ => Exit::Error,
        };
        refused(config, exit, Key::RedisUrl, error.to_string())
    })
}

fn nats_config(config: &Config, name: &str, connect_deadline: Duration) -> NatsConfig {
    NatsConfig {
        urls: config.nats_urls.iter().map(|url| url.reveal().to_owned()).collect(),
        credentials: config.nats_credentials.clone(),
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
