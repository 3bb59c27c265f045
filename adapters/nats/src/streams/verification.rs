//! Verification of the settings of a stream that Longshore relies on.

use async_nats::jetstream::stream::Config;

use super::definitions::PARTITIONS;
use crate::error::ConnectError;

/// Refuses a stream whose settings differ from the needed ones.
pub(super) fn check(found: &Config, needed: &Config) -> Result<(), ConnectError> {
    match difference(found, needed) {
        None => {}
        Some(SettingDifference { setting: PARTITIONS, found, needed }) => {
            return Err(ConnectError::Partitions { found, ours: needed });
        }
        Some(difference) => {
            let what = format!("{} of stream {}", difference.setting, needed.name);
            return Err(ConnectError::Mismatch { what, found: difference.found, needed: difference.needed });
        }
    }
    Ok(())
}

/// A setting whose value is not the needed one.
#[derive(Debug, Eq, PartialEq)]
struct SettingDifference {
    setting: &'static str,
    found: String,
    needed: String,
}

/// Returns the first verified setting that differs.
fn difference(found: &Config, needed: &Config) -> Option<SettingDifference> {
    let found = settings(found);
    let needed = settings(needed);
    let mut pairs = found.into_iter().zip(needed);
    pairs.find_map(|((setting, found), (_, needed))| {
        (found != needed).then_some(SettingDifference { setting, found, needed })
    })
}

/// Returns the settings that Longshore relies on, by the names that NATS gives them.
fn settings(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        (PARTITIONS, config.metadata.get(PARTITIONS).map_or("not written down", String::as_str).to_owned()),
        ("subjects", config.subjects.join(", ")),
        ("retention", format!("{:?}", config.retention)),
        ("storage", format!("{:?}", config.storage)),
        ("num_replicas", config.num_replicas.to_string()),
        ("discard", format!("{:?}", config.discard)),
        ("discard_new_per_subject", config.discard_new_per_subject.to_string()),
        ("max_msgs", config.max_messages.to_string()),
        ("max_msgs_per_subject", config.max_messages_per_subject.to_string()),
        ("max_age", format!("{:?}", config.max_age)),
        ("duplicate_window", format!("{:?}", config.duplicate_window)),
        ("deny_delete", config.deny_delete.to_string()),
        ("deny_purge", config.deny_purge.to_string()),
        ("allow_direct", config.allow_direct.to_string()),
        ("allow_atomic", config.allow_atomic_publish.to_string()),
        ("sealed", config.sealed.to_string()),
        ("no_ack", config.no_ack.to_string()),
        ("mirror", config.mirror.is_some().to_string()),
        ("sources", config.sources.as_ref().map_or(0, Vec::len).to_string()),
        ("subject_transform", config.subject_transform.is_some().to_string()),
        // It would acknowledge messages before they are written.
        ("persist_mode async", format!("{:?}", config.persist_mode).contains("Async").to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use async_nats::jetstream::stream::{
        DiscardPolicy, PersistenceMode, RetentionPolicy, Source, StorageType, SubjectTransform,
    };
    use longshore_proto::Partition;

    use super::super::definitions::{definitions, jobs, log};
    use super::*;

    /// A change of a stream's configuration, and the setting that it is found by.
    type Change = (&'static str, fn(&mut Config));

    /// One change for each setting in [`settings`], in the same order.
    const CHANGES: [Change; 21] = [
        (PARTITIONS, |config| _ = config.metadata.insert(PARTITIONS.to_owned(), "77".to_owned())),
        ("subjects", |config| config.subjects.push("other".to_owned())),
        ("retention", |config| config.retention = RetentionPolicy::Interest),
        ("storage", |config| config.storage = StorageType::Memory),
        ("num_replicas", |config| config.num_replicas += 1),
        ("discard", |config| {
            let is_new = config.discard == DiscardPolicy::New;
            config.discard = if is_new { DiscardPolicy::Old } else { DiscardPolicy::New };
        }),
        ("discard_new_per_subject", |config| config.discard_new_per_subject ^= true),
        ("max_msgs", |config| config.max_messages = 7),
        ("max_msgs_per_subject", |config| config.max_messages_per_subject = 7),
        ("max_age", |config| config.max_age = Duration::from_secs(7)),
        ("duplicate_window", |config| config.duplicate_window = Duration::from_secs(7)),
        ("deny_delete", |config| config.deny_delete ^= true),
        ("deny_purge", |config| config.deny_purge ^= true),
        ("allow_direct", |config| config.allow_direct ^= true),
        ("allow_atomic", |config| config.allow_atomic_publish ^= true),
        ("sealed", |config| config.sealed ^= true),
        ("no_ack", |config| config.no_ack ^= true),
        ("mirror", |config| config.mirror = Some(Source::default())),
        ("sources", |config| config.sources = Some(vec![Source::default()])),
        ("subject_transform", |config| {
            let (source, destination) = (">".to_owned(), "other.>".to_owned());
            config.subject_transform = Some(SubjectTransform { source, destination });
        }),
        ("persist_mode async", |config| config.persist_mode = Some(PersistenceMode::Async)),
    ];

    #[test]
    fn created_stream_passes_the_verification() {
        for config in definitions(2, 1) {
            assert_eq!(difference(&config, &config), None);
        }
    }

    #[test]
    fn every_setting_that_a_promise_needs_is_compared() {
        for needed in definitions(2, 1) {
            let names: Vec<_> = settings(&needed).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, CHANGES.map(|(name, _)| name));
            for (name, change) in CHANGES {
                let mut found = needed.clone();
                change(&mut found);
                let different = difference(&found, &needed).map(|difference| difference.setting);
                assert_eq!(different, Some(name), "{}", needed.name);
            }
        }
    }

    #[test]
    fn difference_names_the_setting_and_both_values() {
        let needed = jobs();
        let found = Config { retention: RetentionPolicy::Limits, ..needed.clone() };
        let expected = SettingDifference {
            setting: "retention",
            found: "Limits".to_owned(),
            needed: "WorkQueue".to_owned(),
        };
        assert_eq!(difference(&found, &needed), Some(expected));
    }

    #[test]
    fn settings_that_an_operator_may_tune_are_not_verified() {
        let needed = log(Partition(0));
        let found =
            Config { max_bytes: 1 << 30, description: Some("of the operator".to_owned()), ..needed.clone() };
        assert_eq!(difference(&found, &needed), None);
    }
}
