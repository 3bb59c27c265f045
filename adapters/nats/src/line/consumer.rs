//! The durable consumer of a line: created when absent, verified when present.

use async_nats::jetstream::consumer::{AckPolicy, Config, Info};
use async_nats::jetstream::{Context, ErrorCode};
use longshore_ports::Error;
use serde_json::json;

use crate::api::{ApiError, Nothing, ask};
use crate::failure::failed;
use crate::receipt::ACK_WAIT;

/// How many messages are out at once at most, for all workers. With more than 1,024 the server puts off looking for
/// those whose time has run out while others are acknowledged.
const MOST_OUT: i64 = 1_000;

/// How many pulls wait at the server at once, of all workers; each process has one or two for each of its servers.
const MOST_PULLS: i64 = 4_096;

/// What a line needs. It gives up on no message: what is poison is decided by us, and `max_deliver` would leave such
/// a message in the stream for ever.
pub(super) fn needed(name: &str, filter: &str) -> Config {
    Config {
        name: Some(name.to_owned()),
        durable_name: Some(name.to_owned()),
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: MOST_OUT,
        max_waiting: MOST_PULLS,
        ..Config::default()
    }
}

/// Creates a consumer, or finds it as it has to be.
pub(super) async fn ensure(context: &Context, stream: &str, needed: &Config) -> Result<(), Error> {
    let name = needed.name.as_deref().unwrap_or_default();
    let doing = format!("make consumer {name} of stream {stream}");
    let request = json!({ "stream_name": stream, "config": needed, "action": "create" });
    let made: Result<Info, _> = ask(context, format!("CONSUMER.CREATE.{stream}.{name}"), &request).await;
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::CONSUMER_ALREADY_EXISTS) => {
            let found = look(context, stream, name).await.map_err(|error| failed(doing.as_str(), error))?;
            match difference(&found.config, needed) {
                None => Ok(()),
                Some(refusal) => Err(Error::permanent(doing, refusal)),
            }
        }
        Err(error) => Err(failed(doing, error)),
    }
}

async fn look(context: &Context, stream: &str, name: &str) -> Result<Info, ApiError> {
    ask(context, format!("CONSUMER.INFO.{stream}.{name}"), &Nothing {}).await
}

/// The first setting that matters and differs, with both values.
fn difference(found: &Config, needed: &Config) -> Option<String> {
    let mut pairs = settings(found).into_iter().zip(settings(needed));
    let ((setting, found), (_, needed)) = pairs.find(|(found, needed)| found != needed)?;
    Some(format!(
        "its {setting} is {found}, and {needed} is needed: delete it (`nats consumer rm`), which loses nothing"
    ))
}

fn settings(config: &Config) -> [(&'static str, String); 7] {
    [
        ("filter_subject", config.filter_subject.clone()),
        ("ack_policy", format!("{:?}", config.ack_policy)),
        ("ack_wait", format!("{:?}", config.ack_wait)),
        ("max_deliver", config.max_deliver.to_string()),
        ("max_ack_pending", config.max_ack_pending.to_string()),
        ("backoff", format!("{:?}", config.backoff)),
        ("deliver_subject", format!("{:?}", config.deliver_subject)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_setting_and_both_values() {
        let needed = needed("std-files", "longshore.v1.jobs.std.files.>");
        assert_eq!(difference(&needed, &needed), None);
        let found = Config { max_deliver: 3, ..needed.clone() };
        let refusal = difference(&found, &needed).expect("they differ");
        assert!(refusal.contains("max_deliver is 3, and -1 is needed"), "{refusal}");
    }
}
