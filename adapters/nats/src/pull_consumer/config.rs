//! Configuration of a durable consumer: created when absent, verified when present.

use async_nats::jetstream::consumer::{AckPolicy, Config, Info};
use async_nats::jetstream::{Context, ErrorCode};
use longshore_ports::Error;
use serde_json::json;

use crate::api::{ApiError, EmptyRequest, request};
use crate::failure::failed;
use crate::receipt::ACK_WAIT;

/// Maximum number of messages that are delivered and not acknowledged, for all workers together. With more than 1,024
/// the server postpones the search for those whose `ack_wait` is over while others are acknowledged.
const MAX_ACK_PENDING: i64 = 1_000;

/// Maximum number of pull requests that wait at the server, of all workers together. Each process has one or two for
/// each of its servers.
const MAX_WAITING: i64 = 4_096;

/// Returns the configuration of a consumer. There is no `max_deliver`: Longshore itself decides when a message is
/// poison, and the server would leave such a message in the stream for ever.
pub(super) fn consumer(name: &str, filter: &str) -> Config {
    Config {
        name: Some(name.to_owned()),
        durable_name: Some(name.to_owned()),
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: MAX_ACK_PENDING,
        max_waiting: MAX_WAITING,
        ..Config::default()
    }
}

/// Creates a consumer, or verifies the one that exists.
pub(super) async fn ensure(context: &Context, stream: &str, needed: &Config) -> Result<(), Error> {
    let name = needed.name.as_deref().unwrap_or_default();
    let doing = format!("make consumer {name} of stream {stream}");
    let body = json!({ "stream_name": stream, "config": needed, "action": "create" });
    let created: Result<Info, _> = request(context, format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
    match created {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(ErrorCode::CONSUMER_ALREADY_EXISTS) => {
            let found =
                consumer_info(context, stream, name).await.map_err(|error| failed(doing.as_str(), error))?;
            match difference(&found.config, needed) {
                None => Ok(()),
                Some(refusal) => Err(Error::permanent(doing, refusal)),
            }
        }
        Err(error) => Err(failed(doing, error)),
    }
}

async fn consumer_info(context: &Context, stream: &str, name: &str) -> Result<Info, ApiError> {
    request(context, format!("CONSUMER.INFO.{stream}.{name}"), &EmptyRequest {}).await
}

/// Returns an error text for the first setting that differs from the needed one.
fn difference(found: &Config, needed: &Config) -> Option<String> {
    let mut pairs = settings(found).into_iter().zip(settings(needed));
    let ((setting, found), (_, needed)) = pairs.find(|(found, needed)| found != needed)?;
    Some(format!(
        "its {setting} is {found}, and {needed} is needed: delete it (`nats consumer rm`), which loses nothing"
    ))
}

/// Returns the settings that Longshore relies on, by the names that NATS gives them.
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
    fn difference_names_the_setting_and_both_values() {
        let needed = consumer("std-files", "longshore.v1.jobs.std.files.>");
        assert_eq!(difference(&needed, &needed), None);
        let found = Config { max_deliver: 3, ..needed.clone() };
        let refusal = difference(&found, &needed).expect("they differ");
        assert!(refusal.contains("max_deliver is 3, and -1 is needed"), "{refusal}");
    }
}
