//! Filters of a request for a list of runs, with bounds on the number of their entries.
//!
//! A store may read an index for each status, and each run is compared with each label. So a list of statuses or labels is
//! refused while it is decoded if it has more entries than there can be different ones.

use std::collections::BTreeMap;
use std::fmt;

use longshore_proto::RunStatus;
use longshore_workflow::LABELS_LIMIT;
use serde::de::value::StrDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Number of different statuses of a run.
const STATUS_COUNT: usize = 7;

/// Statuses of the runs that a list shows: one, or a list. Without one, the list shows all runs.
#[derive(Debug, Default)]
pub(super) struct StatusFilter(Vec<RunStatus>);

impl StatusFilter {
    /// Returns the different statuses.
    pub(super) fn into_statuses(self) -> Vec<RunStatus> {
        self.0
    }
}

impl<'de> Deserialize<'de> for StatusFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor).map(Self)
    }
}

struct StatusVisitor;

impl<'de> Visitor<'de> for StatusVisitor {
    type Value = Vec<RunStatus>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "`status` to be the status of runs, or a list of statuses: `running`, `succeeded`, `failed`, ...",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let status = RunStatus::deserialize(StrDeserializer::<E>::new(text));
        let status =
            status.map_err(|_| E::invalid_value(serde::de::Unexpected::Other("another text"), &self))?;
        Ok(vec![status])
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut statuses = Vec::new();
        for _ in 0..STATUS_COUNT {
            match list.next_element::<RunStatus>()? {
                Some(status) if !statuses.contains(&status) => statuses.push(status),
                Some(_) => {}
                None => return Ok(statuses),
            }
        }
        match list.next_element::<RunStatus>()? {
            None => Ok(statuses),
            Some(_) => Err(A::Error::custom(format_args!(
                "`status` has more than {STATUS_COUNT} entries, and there are {STATUS_COUNT} statuses: name each once"
            ))),
        }
    }
}

/// Labels that the workflow of a run has to have, at most [`LABELS_LIMIT`], as many as a workflow can have.
#[derive(Debug, Default)]
pub(super) struct LabelFilter(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for LabelFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LabelVisitor).map(Self)
    }
}

struct LabelVisitor;

impl<'de> Visitor<'de> for LabelVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("`labels` to be an object of texts, as in {\"team\": \"billing\"}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut labels = BTreeMap::new();
        let mut count = 0;
        while let Some((name, value)) = entries.next_entry::<String, String>()? {
            count += 1;
            if count > LABELS_LIMIT {
                return Err(A::Error::custom(format_args!(
                    "`labels` has more than {LABELS_LIMIT} entries, and a workflow has at most {LABELS_LIMIT} labels"
                )));
            }
            labels.insert(name, value);
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of statuses of a filter, or the reason why it is refused.
    fn statuses(text: &str) -> Result<usize, String> {
        let filter: Result<StatusFilter, _> = serde_json::from_str(text);
        filter.map(|filter| filter.into_statuses().len()).map_err(|error| error.to_string())
    }

    #[test]
    fn statuses_are_kept_once_and_long_lists_are_refused() {
        assert_eq!(statuses(r#""failed""#), Ok(1));
        assert_eq!(statuses(r#"["failed", "running", "failed"]"#), Ok(2));
        assert_eq!(statuses("[]"), Ok(0));
        assert_eq!(statuses("null"), Ok(0));
        let long = format!("[{}\"failed\"]", "\"failed\",".repeat(100_000));
        for (text, reason) in [
            (long.as_str(), "`status` has more than 7 entries"),
            (r#""bogus""#, "`status` to be the status of runs"),
            (r#"["bogus"]"#, "unknown variant `bogus`"),
            ("7", "`status` to be the status of runs"),
        ] {
            let refused = statuses(text).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn all_statuses_fit_into_a_list() {
        let source = include_str!("../../../proto/src/view.rs");
        let (_, body) = source.split_once("pub enum RunStatus {").expect("the type");
        let (body, _) = body.split_once("\n}").expect("its end");
        let variants = body.lines().filter(|line| line.trim_end().ends_with(',')).count();
        assert_eq!(variants, STATUS_COUNT);
    }

    #[test]
    fn more_labels_than_a_workflow_can_have_are_refused() {
        let labels = |count: usize| {
            let entries: Vec<_> = (0..count).map(|number| format!(r#""l{number}": "x""#)).collect();
            serde_json::from_str::<LabelFilter>(&format!("{{{}}}", entries.join(",")))
                .map(|filter| filter.0.len())
        };
        assert_eq!(labels(LABELS_LIMIT).expect("as many as a workflow can have"), LABELS_LIMIT);
        let refused = labels(LABELS_LIMIT + 1).expect_err("one more").to_string();
        assert!(refused.contains("`labels` has more than 16 entries"), "{refused}");
    }
}
